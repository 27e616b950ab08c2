// AddStreams_Batch: a join.
#ifndef GRAPHOPS_ADDSTREAMS_HPP
#define GRAPHOPS_ADDSTREAMS_HPP

#include <ap_int.h>
#include <hls_stream.h>

// NumTotal words an image, each of NumChannels numbers.
template<unsigned NumChannels, typename In1_t, typename In2_t, typename Out_t, unsigned NumTotal, int offset = 0>
void AddStreams_Batch(hls::stream<ap_uint<NumChannels * In1_t::width>> &in1,
                      hls::stream<ap_uint<NumChannels * In2_t::width>> &in2,
                      hls::stream<ap_uint<NumChannels * Out_t::width>> &out, unsigned const numReps) {
  for (unsigned i = 0; i < numReps * NumTotal; i++) {
#pragma HLS pipeline style=flp II=1
    ap_uint<NumChannels * In1_t::width> const word1 = in1.read();
    ap_uint<NumChannels * In2_t::width> const word2 = in2.read();
    ap_uint<NumChannels * Out_t::width> made;
    for (unsigned c = 0; c < NumChannels; c++) {
#pragma HLS unroll
      In1_t const a = word1((c + 1) * In1_t::width - 1, c * In1_t::width);
      In2_t const b = word2((c + 1) * In2_t::width - 1, c * In2_t::width);
      Out_t const sum = a + b + offset;
      made((c + 1) * Out_t::width - 1, c * Out_t::width) = sum;
    }
    out.write(made);
  }
}

#endif
