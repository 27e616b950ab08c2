// Vector_Vector_Activate_Batch: a kernel of its own for each channel.
#ifndef GRAPHOPS_VVAU_HPP
#define GRAPHOPS_VVAU_HPP

#include <hls_stream.h>

#include "interpret.hpp"
#include "mac.hpp"
#include "weights.hpp"

// For `reps` pixels: PE channels at a time, whose Kernel_2 kernel positions come one after another.
template<unsigned Channels, unsigned Kernel_2, unsigned SIMD, unsigned PE, unsigned MMV, typename TSrcI = Identity,
         typename TDstI = Identity, typename TWeightI = Identity, typename TI, typename TO, typename TW, typename TA,
         typename R>
void Vector_Vector_Activate_Batch(hls::stream<TI> &in, hls::stream<TO> &out, TW const &weights, TA const &activation,
                                  int const reps, R const &r) {
  static_assert(SIMD == 1 && MMV == 1, "one kernel position of one pixel at a time");
  static_assert(Channels % PE == 0, "PE divides the channels");
  constexpr unsigned FOLDS = Channels / PE;

  decltype(activation.init(0, 0)) sums[PE];
#pragma HLS ARRAY_PARTITION variable=sums complete dim=0

  unsigned fold = 0, position = 0;
  for (unsigned i = 0; i < reps * FOLDS * Kernel_2; i++) {
#pragma HLS pipeline style=flp II=1
    TI const word = in.read();
    auto const tile = weights.weights(fold * Kernel_2 + position);
    auto const x = TSrcI()(word, 0);
    for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
      auto const start = position == 0 ? activation.init(fold, pe) : sums[pe];
      auto const weight = TWeightI()(tile[pe]);
      sums[pe] = start + mul(weight[0], x(pe, 0), r);
    }
    if (++position == Kernel_2) {
      auto made = TDstI().template operator()<TO>();
      for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
        made(pe, 0, 1) = activation.activate(fold, pe, sums[pe]);
      }
      out.write(made);
      position = 0;
      if (++fold == FOLDS) fold = 0;
    }
  }
}

#endif
