// Small things that several layers need.
#ifndef GRAPHOPS_UTILS_HPP
#define GRAPHOPS_UTILS_HPP

#include <cstddef>

// Bits that count so many states.
constexpr unsigned clog2(std::size_t states) {
  return states < 2 ? 0 : 1 + clog2((states + 1) / 2);
}

// What a multiplier or a memory is made of: passed as an argument, for overloads to choose their pragma by.
struct ap_resource_dflt {};
struct ap_resource_lut {};
struct ap_resource_dsp {};
struct ap_resource_lutram {};
struct ap_resource_bram {};
struct ap_resource_uram {};

#endif
