// StreamingDataWidthConverter_Batch: more, or fewer, bits at once.
#ifndef GRAPHOPS_WIDTHCONVERTER_HPP
#define GRAPHOPS_WIDTHCONVERTER_HPP

#include <ap_int.h>
#include <hls_stream.h>

// NumInWords words of InWidth bits an image become words of OutWidth bits, the lowest bits first.
template<unsigned InWidth, unsigned OutWidth, unsigned NumInWords>
void StreamingDataWidthConverter_Batch(hls::stream<ap_uint<InWidth>> &in, hls::stream<ap_uint<OutWidth>> &out,
                                       unsigned const numReps) {
  static_assert(InWidth % OutWidth == 0 || OutWidth % InWidth == 0, "one width is a multiple of the other");
  constexpr unsigned WIDE = InWidth > OutWidth ? InWidth : OutWidth;
  constexpr unsigned SPLIT = InWidth > OutWidth ? InWidth / OutWidth : 1;
  constexpr unsigned JOIN = OutWidth > InWidth ? OutWidth / InWidth : 1;
  ap_uint<WIDE> held = 0;
  unsigned part = 0;
  for (unsigned i = 0; i < numReps * NumInWords * SPLIT; i++) {
#pragma HLS pipeline style=flp II=1
    if (SPLIT > 1) {
      if (part == 0) {
        held = in.read();
      } else {
        held >>= OutWidth;
      }
      out.write(ap_uint<OutWidth>(held));
      if (++part == SPLIT) part = 0;
    } else {
      held >>= InWidth;  // nothing is left of it where the widths are the same
      held(WIDE - 1, WIDE - InWidth) = in.read();
      if (++part == JOIN) {
        part = 0;
        out.write(ap_uint<OutWidth>(held));
      }
    }
  }
}

#endif
