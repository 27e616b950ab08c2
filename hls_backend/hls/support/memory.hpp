// Constant memories. Their words stand once, in nested braces, in a file that is included where it is needed. Synthesis
// makes a ROM of the array that they initialise; a C++ compiler would take minutes over so many ap_uint, so there they
// are plain numbers, which `copy` turns into words before main.
#ifndef GRAPHOPS_MEMORY_HPP
#define GRAPHOPS_MEMORY_HPP

#include <ap_int.h>

#include <cstddef>

namespace graphops {

template<typename Word, typename Number>
void copy(Word &to, Number const &from) {
  to = from;
}
// A word of more than 64 bits is a hexadecimal string.
template<int Bits>
void copy(ap_uint<Bits> &to, char const *const &from) {
  to = ap_uint<Bits>(from, 16);
}
template<typename Word, typename Number, std::size_t Size>
void copy(Word (&to)[Size], Number const (&from)[Size]) {
  for (std::size_t i = 0; i < Size; i++) copy(to[i], from[i]);
}

}  // namespace graphops

#endif
