// Depthwise_Parallel_Batch: a kernel of its own for each channel, several kernel positions a cycle; finn-hlslib's
// Vector_Vector_Activate_Batch works on one.
#ifndef GRAPHOPS_DEPTHWISE_PARALLEL_HPP
#define GRAPHOPS_DEPTHWISE_PARALLEL_HPP

#include <ap_int.h>
#include <hls_stream.h>

#include "mac.hpp"

// For `reps` pixels: PE channels at a time, whose Kernel_2 kernel positions come SIMD at once: PE channels of the
// first in the lowest bits, then PE channels of the next.
template<unsigned Channels, unsigned Kernel_2, unsigned SIMD, unsigned PE, typename TSrcI, typename TDstI,
         typename TWeightI, typename TI, typename TO, typename TW, typename TA, typename R>
void Depthwise_Parallel_Batch(hls::stream<TI> &in, hls::stream<TO> &out, TW const &weights, TA const &activation,
                              int const reps, R const &r) {
  static_assert(Channels % PE == 0 && Kernel_2 % SIMD == 0, "PE divides the channels and SIMD the kernel");
  constexpr unsigned FOLDS = Channels / PE, STEPS = Kernel_2 / SIMD;

  decltype(activation.init(0, 0)) sums[PE];
#pragma HLS ARRAY_PARTITION variable=sums complete dim=0

  unsigned fold = 0, step = 0;
  for (unsigned i = 0; i < reps * FOLDS * STEPS; i++) {
#pragma HLS pipeline style=flp II=1
    TI const word = in.read();
    auto const tile = weights.weights(fold * STEPS + step);
    auto const x = TSrcI()(word, 0);
    for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
      auto sum = step == 0 ? activation.init(fold, pe) : sums[pe];
      auto const weight = TWeightI()(tile[pe]);
      for (unsigned position = 0; position < SIMD; position++) {
#pragma HLS unroll
        sum += mul(weight[position], x(position * PE + pe, 0), r);
      }
      sums[pe] = sum;
    }
    if (++step == STEPS) {
      auto made = TDstI().template operator()<TO>();
      for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
        made(pe, 0, 1) = activation.activate(fold, pe, sums[pe]);
      }
      out.write(made);
      step = 0;
      if (++fold == FOLDS) fold = 0;
    }
  }
}

#endif
