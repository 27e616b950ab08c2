// How a word of a stream is read as numbers, side by side, the first in the lowest bits.
#ifndef GRAPHOPS_INTERPRET_HPP
#define GRAPHOPS_INTERPRET_HPP

#include <ap_int.h>

// One bit that stands for -1 or +1; a product with it is a change of sign.
class Binary {
 public:
  explicit Binary(ap_uint<1> bit) : m_val(bit) {
#pragma HLS inline
  }
  operator ap_int<2>() const {
#pragma HLS inline
    return m_val ? ap_int<2>(1) : ap_int<2>(-1);
  }
  template<typename T>
  auto operator*(T const &factor) const -> decltype(ap_int<2>(1) * factor) {
#pragma HLS inline
    typedef decltype(ap_int<2>(1) * factor) Product;
    return m_val ? Product(factor) : Product(-factor);
  }
  ap_uint<1> const m_val;
};

// A word that is used as it is.
struct Identity {
  static unsigned const width = 1;
  template<typename T>
  T const &operator()(T const &word) const {
#pragma HLS inline
    return word;
  }
  template<typename T>
  T operator()() const {
#pragma HLS inline
    return T();
  }
};

// A word whose bits are numbers of type T: Recast<Binary> for weights of one bit.
template<typename T>
class Recast {
  template<typename Word>
  class Bits {
   public:
    Bits(Word const &word) : m_word(word) {
#pragma HLS inline
    }
    T operator[](unsigned index) const {
#pragma HLS inline
      return T(m_word[index]);
    }
    T operator()(unsigned index, unsigned) const {
#pragma HLS inline
      return T(m_word[index]);
    }

   private:
    Word m_word;
  };

 public:
  static unsigned const width = 1;
  template<typename Word>
  Bits<Word> operator()(Word const &word, unsigned = 0) const {
#pragma HLS inline
    return Bits<Word>(word);
  }
};

// A word that holds numbers of type T, STRIDE bits apart: lane(i, 0) reads number i, lane(i, 0, 1) can be assigned to.
template<typename T, unsigned STRIDE = T::width>
class Slice {
  template<typename Word>
  class Lanes {
   public:
    Lanes() {
#pragma HLS inline
    }
    Lanes(Word const &word) : m_word(word) {
#pragma HLS inline
    }
    T operator()(unsigned lane, unsigned) const {
#pragma HLS inline
      ap_uint<STRIDE> const bits = m_word((lane + 1) * STRIDE - 1, lane * STRIDE);
      return T(bits);
    }
    auto operator()(unsigned lane, unsigned, bool) {
#pragma HLS inline
      return m_word((lane + 1) * STRIDE - 1, lane * STRIDE);
    }
    operator Word const &() const {
#pragma HLS inline
      return m_word;
    }

   private:
    Word m_word;
  };

 public:
  static unsigned const width = STRIDE;
  template<typename Word>
  Lanes<Word> operator()(Word const &word, unsigned = 0) const {
#pragma HLS inline
    return Lanes<Word>(word);
  }
  template<typename Word>
  Lanes<Word> operator()() const {
#pragma HLS inline
    return Lanes<Word>();
  }
};

#endif
