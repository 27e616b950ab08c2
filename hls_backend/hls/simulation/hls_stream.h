// hls::stream for C simulation, stricter than Vitis HLS's own: reading what is not there, and leaving what is, are
// errors. With GRAPHOPS_BOUNDED, streams are as deep as in hardware, and the layers take turns (see layers.hpp).
#ifndef GRAPHOPS_HLS_STREAM_H
#define GRAPHOPS_HLS_STREAM_H

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "layers.hpp"

namespace hls {

template<typename T>
class stream : public simulation::Channel {
 public:
  stream() : simulation::Channel("without a name") {}
  explicit stream(char const *name) : simulation::Channel(name) {}
  stream(stream const &) = delete;
  stream &operator=(stream const &) = delete;

  T read() {
    await_word();
    T const word = m_words.front();
    m_words.pop_front();
    was_read();
    return word;
  }
  void read(T &word) { word = read(); }
  void write(T const &word) {
    await_room();
    m_words.push_back(word);
    was_written();
  }
  bool empty() const { return m_words.empty(); }
  bool full() const { return m_words.size() >= depth(); }
  std::size_t size() const override { return m_words.size(); }
  void operator>>(T &word) { word = read(); }
  void operator<<(T const &word) { write(word); }

 private:
  std::deque<T> m_words;
};

}  // namespace hls

#endif
