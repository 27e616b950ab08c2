// DuplicateStreams_Batch: a fork.
#ifndef GRAPHOPS_DUPLICATESTREAMS_HPP
#define GRAPHOPS_DUPLICATESTREAMS_HPP

#include <ap_int.h>
#include <hls_stream.h>

// NumTotal words an image.
template<unsigned DataWidth, unsigned NumTotal>
void DuplicateStreams_Batch(hls::stream<ap_uint<DataWidth>> &in, hls::stream<ap_uint<DataWidth>> &out1,
                            hls::stream<ap_uint<DataWidth>> &out2, unsigned const numReps) {
  for (unsigned i = 0; i < numReps * NumTotal; i++) {
#pragma HLS pipeline style=flp II=1
    ap_uint<DataWidth> const word = in.read();
    out1.write(word);
    out2.write(word);
  }
}

#endif
