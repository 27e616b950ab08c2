// Thresholding_Batch: an activation for each element of a stream.
#ifndef GRAPHOPS_THRESHOLDING_HPP
#define GRAPHOPS_THRESHOLDING_HPP

#include <hls_stream.h>

#include "activations.hpp"
#include "interpret.hpp"

// ImgDim pixels of NumChannels channels an image, PE channels a cycle.
template<unsigned ImgDim, unsigned NumChannels, unsigned PE, typename TSrcI = Identity, typename TDstI = Identity,
         typename TI, typename TO, typename TA>
void Thresholding_Batch(hls::stream<TI> &in, hls::stream<TO> &out, TA const &activation, int const reps) {
  static_assert(NumChannels % PE == 0, "PE divides the channels");
  constexpr unsigned FOLDS = NumChannels / PE;
  unsigned fold = 0;
  for (unsigned i = 0; i < reps * ImgDim * FOLDS; i++) {
#pragma HLS pipeline style=flp II=1
    auto const x = TSrcI()(in.read());
    auto made = TDstI().template operator()<TO>();
    for (unsigned pe = 0; pe < PE; pe++) {
#pragma HLS unroll
      made(pe, 0, 1) = activation.activate(fold, pe, x(pe, 0));
    }
    out.write(made);
    if (++fold == FOLDS) fold = 0;
  }
}

#endif
