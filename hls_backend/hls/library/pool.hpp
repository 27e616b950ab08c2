// Pool_batch: one number of each channel's window.
#ifndef GRAPHOPS_POOL_HPP
#define GRAPHOPS_POOL_HPP

#include <hls_stream.h>

#include "activations.hpp"
#include "interpret.hpp"

// The largest; `size` is of no use to it.
template<typename T, unsigned size>
class MaxPoolFunction {
 public:
  T init() const {
#pragma HLS inline
    T least = 0;
    if (T(-1) < 0) least[T::width - 1] = 1;
    return least;
  }
  T pool(T const &value, T const &largest) const {
#pragma HLS inline
    return comp::max<T, T, T>()(value, largest);
  }
  T activate(T const &largest) const {
#pragma HLS inline
    return largest;
  }
};

// For `reps` pixels: PE channels at a time, whose TotalK window elements come one after another.
template<unsigned Channels, unsigned PE, unsigned TotalK, typename TSrcI = Identity, typename TDstI = Identity,
         typename TI, typename TO, typename TA>
void Pool_batch(hls::stream<TI> &in, hls::stream<TO> &out, TA const &function, int const reps) {
  static_assert(Channels % PE == 0, "PE divides the channels");
  decltype(function.init()) held[PE];
#pragma HLS ARRAY_PARTITION variable=held complete dim=0
  unsigned position = 0;
  for (unsigned i = 0; i < reps * (Channels / PE) * TotalK; i++) {
#pragma HLS pipeline style=flp II=1
    TI const word = in.read();
    auto const x = TSrcI()(word, 0);
    for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
      held[pe] = function.pool(x(pe, 0), position == 0 ? function.init() : held[pe]);
    }
    if (++position == TotalK) {
      auto made = TDstI().template operator()<TO>();
      for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
        made(pe, 0, 1) = function.activate(held[pe]);
      }
      out.write(made);
      position = 0;
    }
  }
}

#endif
