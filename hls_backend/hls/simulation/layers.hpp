// How layers run in C simulation: one after another on streams without end; or, with GRAPHOPS_BOUNDED, each in a thread
// of its own on streams as deep as in hardware. These threads take turns (ucontext): a thread runs until it must wait.
// When none can run and not all have ended, the dataflow hangs, and would in hardware; that is known at once, by no
// clock, and the streams that everything waits for are named.
#ifndef GRAPHOPS_SIMULATION_LAYERS_HPP
#define GRAPHOPS_SIMULATION_LAYERS_HPP

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#ifdef GRAPHOPS_BOUNDED
#include <sys/mman.h>
#include <ucontext.h>
#endif

namespace simulation {

enum Exit { EQUAL = 0, DIFFERENT = 1, MISUSED = 3, HANGS = 4, NO_DATA = 5 };

class Channel;

inline std::vector<Channel *> &channels() {
  static std::vector<Channel *> all;
  return all;
}

// Of the streams by their names; a stream that is not among them has no end.
inline std::map<std::string, std::size_t> &depths() {
  static std::map<std::string, std::size_t> all;
  return all;
}

struct Thread;

// What all streams have in common.
class Channel {
 public:
  explicit Channel(char const *name) : m_name(name) {
    auto const found = depths().find(m_name);
    m_depth = found == depths().end() ? std::numeric_limits<std::size_t>::max() : found->second;
    channels().push_back(this);
  }
  virtual ~Channel() {
    for (auto &channel : channels()) {
      if (channel == this) channel = nullptr;
    }
  }
  std::string const &name() const { return m_name; }
  std::size_t depth() const { return m_depth; }
  virtual std::size_t size() const = 0;

 protected:
  void await_word();
  void await_room();
  void was_read() { wake(m_writer); }
  void was_written() { wake(m_reader); }

 private:
  static void wake(Thread *&thread);

  std::string m_name;
  std::size_t m_depth;
  friend class Threads;
  Thread *m_reader = nullptr;  // the thread that waits for a word
  Thread *m_writer = nullptr;  // the thread that waits for room
  Thread *m_consumer = nullptr;  // the thread that has read here
};

// Says which streams still hold words; none may when all layers have ended.
inline void check_all_empty() {
  bool left = false;
  for (Channel const *channel : channels()) {
    if (channel != nullptr && channel->size() != 0) {
      std::printf("stream %s: %zu words are left\n", channel->name().c_str(), channel->size());
      left = true;
    }
  }
  if (left) std::exit(MISUSED);
}

#ifndef GRAPHOPS_BOUNDED

inline void Channel::await_word() {
  if (size() == 0) {
    std::printf("stream %s: read while it is empty\n", m_name.c_str());
    std::exit(MISUSED);
  }
}
inline void Channel::await_room() {}
inline void Channel::wake(Thread *&) {}

#else

struct Thread {
  std::string name;
  std::function<void()> work;
  ucontext_t context;
  void *stack;
  bool ended;
  Channel const *awaited;  // the stream that it waits for
  bool reads;              // for a word there, or for room
};

// The threads of one call of the top, which run when it is over.
class Threads {
 public:
  static Threads &all() {
    static Threads threads;
    return threads;
  }

  void start(char const *name, std::function<void()> work) {
    m_threads.emplace_back(new Thread{name, std::move(work), {}, nullptr, false, nullptr, false});
    Thread &thread = *m_threads.back();
    thread.stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (thread.stack == MAP_FAILED) {
      std::printf("layer %s: no memory for its stack\n", name);
      std::exit(MISUSED);
    }
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack;
    thread.context.uc_stack.ss_size = STACK;
    thread.context.uc_link = &m_main;
    makecontext(&thread.context, &Threads::enter, 0);
    m_ready.push_back(&thread);
  }

  void run() {
    while (!m_ready.empty()) {
      m_now = m_ready.front();
      m_ready.pop_front();
      swapcontext(&m_main, &m_now->context);
    }
    bool hangs = false;
    for (auto const &thread : m_threads) {
      if (!thread->ended) {
        Channel const &channel = *thread->awaited;
        // A stream is too shallow when it is full and who should read it waits for another one.
        Thread const *consumer = channel.m_consumer;
        bool const shallow = !thread->reads && (consumer == nullptr || consumer->awaited != &channel) &&
                             (consumer == nullptr || consumer->reads);
        std::printf("waits %s: %s %s holds %zu of %zu%s\n", thread->name.c_str(),
                    thread->reads ? "to read" : "to write", channel.name().c_str(), channel.size(), channel.depth(),
                    shallow ? ", too shallow" : "");
        hangs = true;
      }
      munmap(thread->stack, STACK);
    }
    m_threads.clear();
    if (hangs) std::exit(HANGS);
  }

  // The running thread waits until it is resumed.
  Thread *wait(Channel const *channel, bool reads) {
    m_now->awaited = channel;
    m_now->reads = reads;
    return m_now;
  }
  void yield() { swapcontext(&m_now->context, &m_main); }
  void resume(Thread *thread) { m_ready.push_back(thread); }
  bool running() const { return m_now != nullptr; }
  Thread *now() const { return m_now; }

 private:
  static constexpr std::size_t STACK = std::size_t(64) << 20;  // of addresses; memory is taken as it is used

  static void enter() {
    Threads &threads = all();
    threads.m_now->work();
    threads.m_now->ended = true;
    threads.m_now = nullptr;
  }

  std::vector<std::unique_ptr<Thread>> m_threads;
  std::deque<Thread *> m_ready;
  Thread *m_now = nullptr;
  ucontext_t m_main;
};

inline void Channel::await_word() {
  m_consumer = Threads::all().now();
  while (size() == 0) {
    if (!Threads::all().running()) {
      std::printf("stream %s: read while it is empty\n", m_name.c_str());
      std::exit(MISUSED);
    }
    m_reader = Threads::all().wait(this, true);
    Threads::all().yield();
  }
}
inline void Channel::await_room() {
  while (size() >= m_depth) {
    m_writer = Threads::all().wait(this, false);
    Threads::all().yield();
  }
}
inline void Channel::wake(Thread *&thread) {
  if (thread != nullptr) Threads::all().resume(thread);
  thread = nullptr;
}

#endif

}  // namespace simulation

#endif
