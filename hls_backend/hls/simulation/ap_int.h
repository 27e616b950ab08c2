// The open ap_int headers lack ap_int<>::sign_flag, which Vitis HLS's have and finn-hlslib asks for: it is put into the
// class that they all descend from.
#ifndef GRAPHOPS_AP_INT_H
#define GRAPHOPS_AP_INT_H

#define __AP_INT_H__  // what the headers want to see before they are read piece by piece
#include <ap_common.h>
#undef __AP_INT_H__

#ifdef _AP_ROOT_TYPE
template<int Width, bool Signed>
struct graphops_int : _AP_ROOT_TYPE<Width, Signed> {
  static const int sign_flag = Signed;
};
#undef _AP_ROOT_TYPE
#define _AP_ROOT_TYPE graphops_int
#endif

#include_next <ap_int.h>

#endif
