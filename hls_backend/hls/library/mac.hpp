// Multiply and accumulate, in what the resource argument says.
#ifndef GRAPHOPS_MAC_HPP
#define GRAPHOPS_MAC_HPP

#include "utils.hpp"

template<typename TC, typename TD>
auto mul(TC const &c, TD const &d, ap_resource_dflt const &) -> decltype(c * d) {
#pragma HLS inline
  return c * d;
}

template<typename TC, typename TD>
auto mul(TC const &c, TD const &d, ap_resource_lut const &) -> decltype(c * d) {
#pragma HLS inline
  decltype(c * d) const product = c * d;
#pragma HLS BIND_OP variable=product op=mul impl=fabric
  return product;
}

template<typename TC, typename TD>
auto mul(TC const &c, TD const &d, ap_resource_dsp const &) -> decltype(c * d) {
#pragma HLS inline
  decltype(c * d) const product = c * d;
#pragma HLS BIND_OP variable=product op=mul impl=dsp
  return product;
}

// a plus the sum of N products; `d` is read as d(i, mmv).
template<unsigned N, typename T, typename TC, typename TD, typename R>
T mac(T const &a, TC const &c, TD const &d, R const &r, unsigned mmv) {
#pragma HLS inline
  T sum = a;
  for (unsigned i = 0; i < N; i++) {
#pragma HLS unroll
    sum += mul(c[i], d(i, mmv), r);
  }
  return sum;
}

#endif
