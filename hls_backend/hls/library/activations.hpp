// What becomes of a number: nothing, the count of thresholds that it reaches, a constant added or multiplied.
#ifndef GRAPHOPS_ACTIVATIONS_HPP
#define GRAPHOPS_ACTIVATIONS_HPP

#include <ap_int.h>

namespace comp {

template<typename A, typename B>
struct less {
  ap_uint<1> operator()(A const &a, B const &b) const {
#pragma HLS inline
    return a < b;
  }
};

template<typename A, typename B>
struct less_equal {
  ap_uint<1> operator()(A const &a, B const &b) const {
#pragma HLS inline
    return a <= b;
  }
};

template<typename A, typename B, typename Result>
struct add {
  Result operator()(A const &a, B const &b) const {
#pragma HLS inline
    return a + b;
  }
};

template<typename A, typename B, typename Result>
struct mul {
  Result operator()(A const &a, B const &b) const {
#pragma HLS inline
    return a * b;
  }
};

template<typename A, typename B, typename Result>
struct max {
  Result operator()(A const &a, B const &b) const {
#pragma HLS inline
    return a > b ? a : b;
  }
};

}  // namespace comp

// An accumulator that leaves as it is.
template<typename T>
class PassThroughActivation {
 public:
  T init(unsigned, unsigned) const {
#pragma HLS inline
    return T(0);
  }
  T activate(unsigned, unsigned, T const &sum) const {
#pragma HLS inline
    return sum;
  }
};

// ActVal plus the number of a channel's thresholds for which Compare(threshold, value) holds.
template<unsigned NF, unsigned PE, unsigned NumTH, typename TA, typename TR, int ActVal = 0,
         typename Compare = comp::less<TA, TA>>
class ThresholdsActivation {
 public:
  TA m_thresholds[PE][NF][NumTH];

  TA init(unsigned, unsigned) const {
#pragma HLS inline
    return TA(0);
  }
  TR activate(unsigned fold, unsigned pe, TA const &value) const {
#pragma HLS inline
    TR reached = ActVal;
    for (unsigned i = 0; i < NumTH; i++) {
#pragma HLS unroll
      reached += Compare()(m_thresholds[pe][fold][i], value);
    }
    return reached;
  }
};

// Fxn(parameter of the channel, value).
template<unsigned NF, unsigned PE, typename TI, typename TP, typename TR, typename Fxn = comp::mul<TI, TP, TR>>
class ChannelWiseOperation {
 public:
  TP parameters[PE][NF];

  TI init(unsigned, unsigned) const {
#pragma HLS inline
    return TI(0);
  }
  TR activate(unsigned fold, unsigned pe, TI const &value) const {
#pragma HLS inline
    return Fxn()(parameters[pe][fold], value);
  }
};

#endif
