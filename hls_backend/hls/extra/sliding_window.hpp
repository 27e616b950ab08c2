// SlidingWindow_Batch: the windows of an image of any shape, with any kernel and stride that fit in it.
// finn-hlslib's own forms leave some out: images that the stride does not divide, strides larger than the kernel,
// strides in images or kernels that are not square.
#ifndef GRAPHOPS_SLIDING_WINDOW_HPP
#define GRAPHOPS_SLIDING_WINDOW_HPP

#include <ap_int.h>
#include <hls_stream.h>

#include "utils.hpp"

namespace graphops {

template<typename T>
void bind_memory(T &buffer, ap_resource_dflt const &) {
#pragma HLS inline
#pragma HLS BIND_STORAGE variable=buffer type=RAM_2P
}
template<typename T>
void bind_memory(T &buffer, ap_resource_lutram const &) {
#pragma HLS inline
#pragma HLS BIND_STORAGE variable=buffer type=RAM_S2P impl=LUTRAM
}
template<typename T>
void bind_memory(T &buffer, ap_resource_bram const &) {
#pragma HLS inline
#pragma HLS BIND_STORAGE variable=buffer type=RAM_S2P impl=BRAM
}
template<typename T>
void bind_memory(T &buffer, ap_resource_uram const &) {
#pragma HLS inline
#pragma HLS BIND_STORAGE variable=buffer type=RAM_S2P impl=URAM
}

}  // namespace graphops

// Windows come pixel by pixel; within one, kernel rows, kernel columns, channels, SIMD of them at once. A depthwise
// window brings the first SIMD channels of every kernel position, then the next ones.
//
// The buffer is a ring of KernelRows + 1 rows. A row of windows starts when its last image row is there. While it goes
// out, the image rows that the next one needs come in, one word for each that leaves, as far as there is room; and no
// word beyond them, as in finn-hlslib: what a window reads too early, a skip beside it has to hold.
template<unsigned KernelRows, unsigned KernelColumns, unsigned Channels, unsigned Precision, unsigned Rows,
         unsigned Columns, unsigned OutRows, unsigned OutColumns, unsigned SIMD, unsigned StrideRows,
         unsigned StrideColumns, bool Depthwise, typename R>
void SlidingWindow_Batch(hls::stream<ap_uint<SIMD * Precision>> &in, hls::stream<ap_uint<SIMD * Precision>> &out,
                         unsigned const numReps, R const &r) {
  static_assert(Channels % SIMD == 0, "SIMD divides the channels");
  static_assert((Rows - KernelRows) / StrideRows + 1 == OutRows, "rows of windows");
  static_assert((Columns - KernelColumns) / StrideColumns + 1 == OutColumns, "columns of windows");
  constexpr unsigned FOLDS = Channels / SIMD;
  constexpr unsigned ROW = Columns * FOLDS;       // words of an image row
  constexpr unsigned SLOTS = KernelRows + 1;      // rows in the ring
  constexpr unsigned STEP = StrideRows % SLOTS;   // slots from one row of windows to the next

  ap_uint<SIMD * Precision> ring[SLOTS][ROW];
#pragma HLS ARRAY_PARTITION variable=ring complete dim=1
// No word is read in the cycle after it came: windows start with the oldest row.
#pragma HLS DEPENDENCE variable=ring inter false
  graphops::bind_memory(ring, r);

  for (unsigned image = 0; image < numReps; image++) {
    unsigned taken = 0, slot = 0, place = 0;          // words that came, and where the next one goes
    unsigned y = 0, x = 0, ky = 0, kx = 0, fold = 0;  // the word that leaves next
    unsigned top = 0;                                 // slot of its window's first row
    unsigned needed = KernelRows * ROW;               // words that must be there for this row of windows
    unsigned oldest = 0;                              // the first word that is still needed
    while (y < OutRows || taken < Rows * ROW) {
#pragma HLS pipeline style=flp II=1
      if (y < OutRows && taken >= needed) {
        unsigned const from = top + ky < SLOTS ? top + ky : top + ky - SLOTS;
        out.write(ring[from][(x * StrideColumns + kx) * FOLDS + fold]);
        bool const channels_done = fold == FOLDS - 1, column_done = kx == KernelColumns - 1;
        bool const row_done = ky == KernelRows - 1;
        bool const step_fold = Depthwise ? column_done && row_done : true;
        bool const step_column = Depthwise ? true : channels_done;
        if (step_fold) fold = channels_done ? 0 : fold + 1;
        if (step_column) kx = column_done ? 0 : kx + 1;
        if (step_column && column_done) ky = row_done ? 0 : ky + 1;
        if (channels_done && column_done && row_done) {
          oldest += StrideColumns * FOLDS;
          if (++x == OutColumns) {
            x = 0;
            y++;
            oldest = y * StrideRows * ROW;
            needed += StrideRows * ROW;
            top = top + STEP < SLOTS ? top + STEP : top + STEP - SLOTS;
          }
        }
      }
      if (taken < Rows * ROW && taken < oldest + SLOTS * ROW && taken < needed + StrideRows * ROW) {
        ring[slot][place] = in.read();
        taken++;
        if (++place == ROW) {
          place = 0;
          slot = slot == SLOTS - 1 ? 0 : slot + 1;
        }
      }
    }
  }
}

#endif
