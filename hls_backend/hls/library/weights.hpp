// Matrices of weights as memories: word [pe][tile] holds the SIMD weights that a PE needs in a cycle.
#ifndef GRAPHOPS_WEIGHTS_HPP
#define GRAPHOPS_WEIGHTS_HPP

#include <ap_int.h>

#include <array>

// Weights of one bit; read them through Recast<Binary>.
template<unsigned SIMD, unsigned PE, unsigned TILES>
class BinaryWeights {
  class Tile {
   public:
    Tile(BinaryWeights const &memory, unsigned tile) : m_memory(memory), m_tile(tile) {
#pragma HLS inline
    }
    ap_uint<SIMD> operator[](unsigned pe) const {
#pragma HLS inline
      return m_memory.m_weights[pe][m_tile];
    }

   private:
    BinaryWeights const &m_memory;
    unsigned const m_tile;
  };

 public:
  ap_uint<SIMD> m_weights[PE][TILES];

  Tile weights(unsigned tile) const {
#pragma HLS inline
    return Tile(*this, tile);
  }
};

// Weights of any integer type.
template<unsigned SIMD, typename WT, unsigned PE, unsigned TILES>
class FixedPointWeights {
  class Tile {
   public:
    Tile(FixedPointWeights const &memory, unsigned tile) : m_memory(memory), m_tile(tile) {
#pragma HLS inline
    }
    std::array<WT, SIMD> operator[](unsigned pe) const {
#pragma HLS inline
      ap_uint<SIMD * WT::width> const word = m_memory.m_weights[pe][m_tile];
      std::array<WT, SIMD> weights;
      for (unsigned i = 0; i < SIMD; i++) {
#pragma HLS unroll
        ap_uint<WT::width> const bits = word((i + 1) * WT::width - 1, i * WT::width);
        weights[i] = WT(bits);
      }
      return weights;
    }

   private:
    FixedPointWeights const &m_memory;
    unsigned const m_tile;
  };

 public:
  ap_uint<SIMD * WT::width> m_weights[PE][TILES];

  Tile weights(unsigned tile) const {
#pragma HLS inline
    return Tile(*this, tile);
  }
};

#endif
