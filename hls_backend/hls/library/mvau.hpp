// Matrix_Vector_Activate_Batch: a matrix times each vector of a stream.
#ifndef GRAPHOPS_MVAU_HPP
#define GRAPHOPS_MVAU_HPP

#include <hls_stream.h>

#include "interpret.hpp"
#include "mac.hpp"
#include "weights.hpp"

// MatrixH rows times MatrixW columns, PE rows and SIMD columns a cycle; `reps` vectors. TSrcI and TDstI say how words
// of the streams are read, TWeightI how weights are; MMV, vectors side by side in a word, is 1 here.
template<unsigned MatrixW, unsigned MatrixH, unsigned SIMD, unsigned PE, unsigned MMV, typename TSrcI = Identity,
         typename TDstI = Identity, typename TWeightI = Identity, typename TI, typename TO, typename TW, typename TA,
         typename R>
void Matrix_Vector_Activate_Batch(hls::stream<TI> &in, hls::stream<TO> &out, TW const &weights, TA const &activation,
                                  int const reps, R const &r) {
  static_assert(MMV == 1, "one vector at a time");
  static_assert(MatrixW % SIMD == 0 && MatrixH % PE == 0, "SIMD divides the columns and PE the rows");
  constexpr unsigned COLUMNS = MatrixW / SIMD, ROWS = MatrixH / PE;

  TI vector[COLUMNS];  // comes with the first rows and is used again for the others
  decltype(activation.init(0, 0)) sums[PE];
#pragma HLS ARRAY_PARTITION variable=sums complete dim=0

  unsigned row = 0, column = 0;
  for (unsigned i = 0; i < reps * ROWS * COLUMNS; i++) {
#pragma HLS pipeline style=flp II=1
    TI word;
    if (row == 0) {
      word = in.read();
      vector[column] = word;
    } else {
      word = vector[column];
    }
    auto const tile = weights.weights(row * COLUMNS + column);
    auto const x = TSrcI()(word, 0);
    for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
      auto const start = column == 0 ? activation.init(row, pe) : sums[pe];
      sums[pe] = mac<SIMD>(start, TWeightI()(tile[pe]), x, r, 0);
    }
    if (++column == COLUMNS) {
      auto made = TDstI().template operator()<TO>();
      for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
        made(pe, 0, 1) = activation.activate(row, pe, sums[pe]);
      }
      out.write(made);
      column = 0;
      if (++row == ROWS) row = 0;
    }
  }
}

#endif
