// ConvolutionInputGenerator and its forms: an image in, its sliding windows out.
#ifndef GRAPHOPS_SLIDINGWINDOW_H
#define GRAPHOPS_SLIDINGWINDOW_H

#include <ap_int.h>
#include <hls_stream.h>

#include "sliding_window.hpp"
#include "utils.hpp"

// Square images and kernels; the kernel is a multiple of the stride.
template<unsigned ConvKernelDim, unsigned IFMChannels, unsigned Input_precision, unsigned IFMDim, unsigned OFMDim,
         unsigned SIMD, unsigned Stride, typename R>
void ConvolutionInputGenerator(hls::stream<ap_uint<SIMD * Input_precision>> &in,
                               hls::stream<ap_uint<SIMD * Input_precision>> &out, unsigned const numReps, R const &r) {
#pragma HLS inline
  static_assert(ConvKernelDim % Stride == 0, "the kernel is a multiple of the stride");
  SlidingWindow_Batch<ConvKernelDim, ConvKernelDim, IFMChannels, Input_precision, IFMDim, IFMDim, OFMDim, OFMDim, SIMD,
                      Stride, Stride, false>(in, out, numReps, r);
}

template<unsigned ConvKernelDim, unsigned IFMChannels, unsigned Input_precision, unsigned IFMDim, unsigned OFMDim,
         unsigned SIMD, unsigned Stride, typename R>
void ConvolutionInputGenerator_dws(hls::stream<ap_uint<SIMD * Input_precision>> &in,
                                   hls::stream<ap_uint<SIMD * Input_precision>> &out, unsigned const numReps,
                                   R const &r) {
#pragma HLS inline
  static_assert(ConvKernelDim % Stride == 0, "the kernel is a multiple of the stride");
  SlidingWindow_Batch<ConvKernelDim, ConvKernelDim, IFMChannels, Input_precision, IFMDim, IFMDim, OFMDim, OFMDim, SIMD,
                      Stride, Stride, true>(in, out, numReps, r);
}

// The kernel is no multiple of the stride.
template<unsigned ConvKernelDim, unsigned IFMChannels, unsigned Input_precision, unsigned IFMDim, unsigned OFMDim,
         unsigned SIMD, unsigned Stride, typename R>
void ConvolutionInputGenerator_kernel_stride(hls::stream<ap_uint<SIMD * Input_precision>> &in,
                                             hls::stream<ap_uint<SIMD * Input_precision>> &out, unsigned const numReps,
                                             R const &r) {
#pragma HLS inline
  static_assert(ConvKernelDim % Stride != 0, "the kernel is no multiple of the stride");
  SlidingWindow_Batch<ConvKernelDim, ConvKernelDim, IFMChannels, Input_precision, IFMDim, IFMDim, OFMDim, OFMDim, SIMD,
                      Stride, Stride, false>(in, out, numReps, r);
}

template<unsigned ConvKernelDim, unsigned IFMChannels, unsigned Input_precision, unsigned IFMDim, unsigned OFMDim,
         unsigned SIMD, unsigned Stride, typename R>
void ConvolutionInputGenerator_kernel_stride_dws(hls::stream<ap_uint<SIMD * Input_precision>> &in,
                                                 hls::stream<ap_uint<SIMD * Input_precision>> &out,
                                                 unsigned const numReps, R const &r) {
#pragma HLS inline
  static_assert(ConvKernelDim % Stride != 0, "the kernel is no multiple of the stride");
  SlidingWindow_Batch<ConvKernelDim, ConvKernelDim, IFMChannels, Input_precision, IFMDim, IFMDim, OFMDim, OFMDim, SIMD,
                      Stride, Stride, true>(in, out, numReps, r);
}

// A kernel of one pixel: rows and columns are left out.
template<unsigned IFMChannels, unsigned Input_precision, unsigned IFMDim, unsigned SIMD, unsigned Stride>
void ConvolutionInputGenerator_2D_kernel1(hls::stream<ap_uint<SIMD * Input_precision>> &in,
                                          hls::stream<ap_uint<SIMD * Input_precision>> &out, unsigned const numReps) {
  static_assert(IFMChannels % SIMD == 0, "SIMD divides the channels");
  constexpr unsigned FOLDS = IFMChannels / SIMD;
  unsigned fold = 0, x = 0, y = 0, step_x = 0, step_y = 0;
  for (unsigned i = 0; i < numReps * IFMDim * IFMDim * FOLDS; i++) {
#pragma HLS pipeline style=flp II=1
    ap_uint<SIMD * Input_precision> const word = in.read();
    if (step_x == 0 && step_y == 0) out.write(word);
    if (++fold == FOLDS) {
      fold = 0;
      if (++step_x == Stride) step_x = 0;
      if (++x == IFMDim) {
        x = step_x = 0;
        if (++step_y == Stride) step_y = 0;
        if (++y == IFMDim) y = step_y = 0;
      }
    }
  }
}

// Any image and kernel; x counts columns and y rows.
template<unsigned ConvKernelDim_x, unsigned ConvKernelDim_y, unsigned IFMChannels, unsigned Input_precision,
         unsigned IFMDim_x, unsigned IFMDim_y, unsigned OFMDim_x, unsigned OFMDim_y, unsigned SIMD, unsigned Stride_x,
         unsigned Stride_y, typename R>
void ConvolutionInputGenerator_NonSquare(hls::stream<ap_uint<SIMD * Input_precision>> &in,
                                         hls::stream<ap_uint<SIMD * Input_precision>> &out, unsigned const numReps,
                                         R const &r) {
#pragma HLS inline
  SlidingWindow_Batch<ConvKernelDim_y, ConvKernelDim_x, IFMChannels, Input_precision, IFMDim_y, IFMDim_x, OFMDim_y,
                      OFMDim_x, SIMD, Stride_y, Stride_x, false>(in, out, numReps, r);
}

template<unsigned ConvKernelDim_x, unsigned ConvKernelDim_y, unsigned IFMChannels, unsigned Input_precision,
         unsigned IFMDim_x, unsigned IFMDim_y, unsigned OFMDim_x, unsigned OFMDim_y, unsigned SIMD, unsigned Stride_x,
         unsigned Stride_y, typename R>
void ConvolutionInputGenerator_NonSquare_dws(hls::stream<ap_uint<SIMD * Input_precision>> &in,
                                             hls::stream<ap_uint<SIMD * Input_precision>> &out, unsigned const numReps,
                                             R const &r) {
#pragma HLS inline
  SlidingWindow_Batch<ConvKernelDim_y, ConvKernelDim_x, IFMChannels, Input_precision, IFMDim_y, IFMDim_x, OFMDim_y,
                      OFMDim_x, SIMD, Stride_y, Stride_x, true>(in, out, numReps, r);
}

#endif
