// SumPixels_Batch: the sum of all pixels of each channel; finn-hlslib's AccPool_Batch takes square images alone.
#ifndef GRAPHOPS_SUM_PIXELS_HPP
#define GRAPHOPS_SUM_PIXELS_HPP

#include <ap_int.h>
#include <hls_stream.h>

template<unsigned Pixels, unsigned NumChannels, typename ActType, unsigned PECount, typename AccType>
void SumPixels_Batch(hls::stream<ap_uint<PECount * ActType::width>> &in,
                     hls::stream<ap_uint<PECount * AccType::width>> &out, unsigned const numReps) {
  static_assert(NumChannels % PECount == 0, "PE divides the channels");
  constexpr unsigned FOLDS = NumChannels / PECount;
  ap_uint<PECount * AccType::width> sums[FOLDS];
#pragma HLS BIND_STORAGE variable=sums type=RAM_2P impl=LUTRAM
  unsigned fold = 0, pixel = 0;
  for (unsigned i = 0; i < numReps * (Pixels + 1) * FOLDS; i++) {
#pragma HLS pipeline style=flp II=1
    if (pixel == Pixels) {
      out.write(sums[fold]);
    } else {
      ap_uint<PECount * ActType::width> const word = in.read();
      ap_uint<PECount * AccType::width> const before = sums[fold];
      ap_uint<PECount * AccType::width> after;
      for (unsigned pe = 0; pe < PECount; pe++) {
#pragma HLS unroll
        ActType const value = word((pe + 1) * ActType::width - 1, pe * ActType::width);
        AccType sum = before((pe + 1) * AccType::width - 1, pe * AccType::width);
        sum = pixel == 0 ? AccType(value) : AccType(sum + value);
        after((pe + 1) * AccType::width - 1, pe * AccType::width) = sum;
      }
      sums[fold] = after;
    }
    if (++fold == FOLDS) {
      fold = 0;
      pixel = pixel == Pixels ? 0 : pixel + 1;
    }
  }
}

#endif
