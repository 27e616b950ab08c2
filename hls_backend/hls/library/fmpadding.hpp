// FMPadding_Batch: zeros around each image.
#ifndef GRAPHOPS_FMPADDING_HPP
#define GRAPHOPS_FMPADDING_HPP

#include <ap_int.h>
#include <hls_stream.h>

// x counts columns and y rows, of the image that comes out; SIMD channels a cycle.
template<unsigned OutputDim_x, unsigned OutputDim_y, unsigned PaddingLeft, unsigned PaddingRight, unsigned PaddingTop,
         unsigned PaddingBottom, unsigned NumChannels, unsigned SIMD, typename In_t>
void FMPadding_nonsquare_Batch(hls::stream<ap_uint<SIMD * In_t::width>> &in,
                               hls::stream<ap_uint<SIMD * In_t::width>> &out, unsigned const numReps) {
  static_assert(NumChannels % SIMD == 0, "SIMD divides the channels");
  constexpr unsigned FOLDS = NumChannels / SIMD;
  constexpr unsigned FIRST_X = PaddingLeft, END_X = OutputDim_x - PaddingRight;
  constexpr unsigned FIRST_Y = PaddingTop, END_Y = OutputDim_y - PaddingBottom;
  unsigned x = 0, y = 0, fold = 0;
  for (unsigned i = 0; i < numReps * OutputDim_y * OutputDim_x * FOLDS; i++) {
#pragma HLS pipeline style=flp II=1
    bool const inside = FIRST_Y <= y && y < END_Y && FIRST_X <= x && x < END_X;
    ap_uint<SIMD * In_t::width> word = 0;
    if (inside) word = in.read();
    out.write(word);
    if (++fold == FOLDS) {
      fold = 0;
      if (++x == OutputDim_x) {
        x = 0;
        if (++y == OutputDim_y) y = 0;
      }
    }
  }
}

// For square images, with as many zeros above as left, and below as right.
template<unsigned ImgDim, unsigned OutputDim, unsigned PaddingBefore, unsigned PaddingBehind, unsigned NumChannels,
         unsigned SIMD, typename In_t>
void FMPadding_Batch(hls::stream<ap_uint<SIMD * In_t::width>> &in, hls::stream<ap_uint<SIMD * In_t::width>> &out,
                     unsigned const numReps) {
#pragma HLS inline
  FMPadding_nonsquare_Batch<OutputDim, OutputDim, PaddingBefore, PaddingBehind, PaddingBefore, PaddingBehind,
                            NumChannels, SIMD, In_t>(in, out, numReps);
}

#endif
