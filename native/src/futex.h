// Sleeping on a 32-bit word until it changes, and waking who sleeps there; how to wait for a moment without sleeping.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace qkv {

/// Returns when the word is no longer `value` (or for no reason: call it in a loop).
inline void sleepWhile(std::atomic<uint32_t>& word, uint32_t value) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
#else
  word.wait(value);
#endif
}
inline void wakeAll(std::atomic<uint32_t>& word) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
#else
  word.notify_all();
#endif
}
inline void cpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
/// Spins until ready() or until `us` microseconds have passed; says whether ready() came true.
template <class Ready> bool spinUntil(int us, Ready&& ready) {
  for (int i = 0; i < 64; i++) {
    if (ready()) return true;
    cpuRelax();
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(us);
  do {
    for (int i = 0; i < 32; i++) {
      if (ready()) return true;
      cpuRelax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

/// A lock for a few instructions at a time.
class SpinLock {
 public:
  void lock() {
    while (held_.exchange(true, std::memory_order_acquire))
      while (held_.load(std::memory_order_relaxed)) cpuRelax();
  }
  void unlock() { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace qkv
