// LabelSelect_Batch: the places of the largest values.
#ifndef GRAPHOPS_LABELSELECT_HPP
#define GRAPHOPS_LABELSELECT_HPP

#include <ap_int.h>
#include <hls_stream.h>

#include "utils.hpp"

// Of NumClasses values, PECount a cycle, the places of the NumTop largest, the largest first, the earlier of equals.
template<unsigned NumClasses, unsigned PECount, unsigned NumTop, typename In_T, typename Out_T>
void LabelSelect_Batch(hls::stream<ap_uint<PECount * In_T::width>> &in, hls::stream<Out_T> &out,
                       unsigned const numReps) {
  static_assert(NumClasses % PECount == 0, "PE divides the classes");
  static_assert(clog2(NumClasses) <= Out_T::width - Out_T::sign_flag, "labels fit the output");
  In_T values[NumTop];  // falling
#pragma HLS ARRAY_PARTITION variable=values complete dim=0
  Out_T labels[NumTop];
#pragma HLS ARRAY_PARTITION variable=labels complete dim=0
  for (unsigned image = 0; image < numReps; image++) {
    for (unsigned block = 0; block < NumClasses / PECount; block++) {
#pragma HLS pipeline style=flp II=1
      ap_uint<PECount * In_T::width> const word = in.read();
      for (unsigned pe = 0; pe < PECount; pe++) {
#pragma HLS unroll
        In_T value = word((pe + 1) * In_T::width - 1, pe * In_T::width);
        Out_T label = block * PECount + pe;
        bool moved = false;  // whether it took a place, so that the others move on by one
        for (unsigned place = 0; place < NumTop; place++) {
#pragma HLS unroll
          bool const empty = block * PECount + pe <= place;
          if (moved || empty || value > values[place]) {
            In_T const value_here = values[place];
            Out_T const label_here = labels[place];
            values[place] = value;
            labels[place] = label;
            value = value_here;
            label = label_here;
            moved = true;
          }
        }
      }
    }
    for (unsigned place = 0; place < NumTop; place++) out.write(labels[place]);
  }
}

#endif
