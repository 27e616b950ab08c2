// DuplicateToAll_Batch: a fork into any number of streams; finn-hlslib's DuplicateStreams_Batch has two.
#ifndef GRAPHOPS_DUPLICATE_TO_ALL_HPP
#define GRAPHOPS_DUPLICATE_TO_ALL_HPP

#include <ap_int.h>
#include <hls_stream.h>

// NumTotal words an image.
template<unsigned DataWidth, unsigned NumTotal, typename... Outs>
void DuplicateToAll_Batch(hls::stream<ap_uint<DataWidth>> &in, unsigned const numReps, Outs &...outs) {
  for (unsigned i = 0; i < numReps * NumTotal; i++) {
#pragma HLS pipeline style=flp II=1
    ap_uint<DataWidth> const word = in.read();
    int const each[] = {(outs.write(word), 0)...};
    (void)each;
  }
}

#endif
