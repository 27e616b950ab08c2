// AccPool_Batch: the sum of all pixels of a square image.
#ifndef GRAPHOPS_ACCPOOL_HPP
#define GRAPHOPS_ACCPOOL_HPP

#include "sum_pixels.hpp"

template<unsigned ImgDim, unsigned NumChannels, typename ActType, unsigned PECount, typename AccType>
void AccPool_Batch(hls::stream<ap_uint<PECount * ActType::width>> &in,
                   hls::stream<ap_uint<PECount * AccType::width>> &out, unsigned const numReps) {
#pragma HLS inline
  SumPixels_Batch<ImgDim * ImgDim, NumChannels, ActType, PECount, AccType>(in, out, numReps);
}

#endif
