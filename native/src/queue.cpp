#include "queue.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "futex.h"
#include "machine.h"
#include "pool.h"

namespace qkv {
namespace {

constexpr uint64_t kRing = uint64_t{1} << 18;       // words of 8 bytes
constexpr uint64_t kLargest = kRing / 4;            // a longer command goes through the heap
constexpr int kDriverSpinUs = 200, kWaiterSpinUs = 20;

struct Header {
  Op op;
  uint32_t words;  // that follow
};
static_assert(sizeof(Header) == 8);

struct Queue {
  const KernelTable* kernels = nullptr;
  char* memory = nullptr;
  std::unique_ptr<double[]> ring{new double[kRing]};
  SpinLock producers;
  uint64_t submitted = 0;                            // commands, under `producers`
  alignas(64) std::atomic<uint64_t> head{0};         // words written
  alignas(64) std::atomic<uint64_t> tail{0};         // words consumed
  alignas(64) std::atomic<uint64_t> completed{0};    // commands
  alignas(64) std::atomic<uint32_t> asleep{0};       // 1: the driver sleeps on this word
  alignas(64) std::atomic<uint32_t> finishes{0};     // changes when a command that someone waits for is finished
  std::atomic<uint32_t> waiters{0};
  std::mutex failureLock;
  std::string failure;
  SpinLock clockLock;
  Clocks clocks;  // under clockLock
  // the driver's own
  std::vector<View> views;
};
Queue& queue() {
  static Queue* const q = new Queue;  // never destroyed: the driver may outlive main
  return *q;
}

void fail(const std::string& what) {
  Queue& q = queue();
  std::lock_guard hold(q.failureLock);
  if (q.failure.empty()) q.failure = what;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

#define QKV_NAME(name) k_##name,
enum : int { QKV_KERNELS(QKV_NAME) };
#undef QKV_NAME
/// Kernels whose first option says which function they compute.
bool hasVariants(int kernel) { return kernel == k_unary || kernel == k_unaryBackward || kernel == k_binary || kernel == k_reduce; }

/// words: kernel, inputs, outputs, options, then each view (ndim, byte offset, dtype, shape…, strides…; absent: −1), then the options.
void runKernel(const double* w) {
  Queue& q = queue();
  const int kernel = static_cast<int>(w[0]), nIn = static_cast<int>(w[1]), nOut = static_cast<int>(w[2]), nOpt = static_cast<int>(w[3]);
  w += 4;
  q.views.resize(static_cast<size_t>(nIn + nOut));
  for (View& v : q.views) {
    v.ndim = static_cast<int>(*w++);
    if (v.ndim < 0) {
      v.data = nullptr;
      continue;
    }
    v.data = q.memory + static_cast<int64_t>(*w++);
    v.dtype = static_cast<DType>(static_cast<int>(*w++));
    for (int a = 0; a < v.ndim; a++) v.shape[a] = static_cast<int64_t>(*w++);
    for (int a = 0; a < v.ndim; a++) v.stride[a] = static_cast<int64_t>(*w++);
  }
  const Args args{q.views.data(), nIn, q.views.data() + nIn, nOut, w, nOpt};
  const double start = now();
  try {
    q.kernels->kernel[kernel](args);
  } catch (const std::exception& e) {
    fail(e.what());
  }
  const int variant = hasVariants(kernel) ? std::clamp(static_cast<int>(*w), 0, kVariants - 1) : 0;
  const double seconds = now() - start;
  std::lock_guard hold(q.clockLock);
  Clock& clock = q.clocks.kernel[kernel][variant];
  clock.calls++;
  clock.seconds += seconds;
}

void execute(const Header& header, const double* w) {
  switch (header.op) {
    case Op::kernel:
      runKernel(w);
      break;
    case Op::write: {
      int64_t place[2];
      std::memcpy(place, w, sizeof place);
      std::memcpy(queue().memory + place[0], w + 2, static_cast<size_t>(place[1]));
      break;
    }
    case Op::call: {
      void* call[2];
      std::memcpy(call, w, sizeof call);
      reinterpret_cast<void (*)(void*)>(call[0])(call[1]);
      break;
    }
    case Op::skip:
      break;
  }
}

void drive() {
  useAllCores();
  flushDenormals();
  Queue& q = queue();
  uint64_t at = 0, number = 0;
  for (;;) {
    const auto ready = [&] { return q.head.load(std::memory_order_acquire) != at; };
    if (!ready()) {
      const double since = now();
      if (!spinUntil(kDriverSpinUs, ready)) {
        q.asleep.store(1);
        while (q.head.load() == at && q.asleep.load() == 1) sleepWhile(q.asleep, 1);
        q.asleep.store(0);
      }
      const double idle = now() - since;
      std::lock_guard hold(q.clockLock);
      q.clocks.idleSeconds += idle;
      continue;
    }
    const double* w = q.ring.get() + at % kRing;
    Header header;
    std::memcpy(&header, w, sizeof header);
    execute(header, w + 1);
    at += 1 + header.words;
    q.tail.store(at, std::memory_order_release);
    if (header.op == Op::skip) continue;
    q.completed.store(++number);
    if (q.waiters.load() > 0) {
      q.finishes.fetch_add(1);
      wakeAll(q.finishes);
    }
  }
}

/// Room for a command of `words`; the caller fills it and calls publish. Holds the producers' lock in between.
double* reserve(Op op, uint64_t words) {
  Queue& q = queue();
  q.producers.lock();
  uint64_t at = q.head.load(std::memory_order_relaxed);
  const auto room = [&](uint64_t need) {
    const auto enough = [&] { return at + need - q.tail.load(std::memory_order_acquire) <= kRing; };
    while (!spinUntil(50, enough)) std::this_thread::sleep_for(std::chrono::microseconds(50));
  };
  const uint64_t left = kRing - at % kRing;
  if (left < words + 1) {  // not in one piece: skip to the start
    room(left);
    const Header skip{Op::skip, static_cast<uint32_t>(left - 1)};
    std::memcpy(q.ring.get() + at % kRing, &skip, sizeof skip);
    at += left;
    q.head.store(at);
    if (q.asleep.exchange(0) == 1) wakeAll(q.asleep);  // or it could not make room
  }
  room(words + 1);
  const Header header{op, static_cast<uint32_t>(words)};
  std::memcpy(q.ring.get() + at % kRing, &header, sizeof header);
  return q.ring.get() + at % kRing + 1;
}
uint64_t publish(uint64_t words) {
  Queue& q = queue();
  const uint64_t number = ++q.submitted;
  q.head.store(q.head.load(std::memory_order_relaxed) + words + 1);
  const bool wake = q.asleep.exchange(0) == 1;
  q.producers.unlock();
  if (wake) wakeAll(q.asleep);
  return number;
}

void runFromHeap(void* p) {
  const std::unique_ptr<std::vector<double>> words(static_cast<std::vector<double>*>(p));
  runKernel(words->data());
}

}  // namespace

void startQueue(const KernelTable* kernels, int threads, char* memory) {
  Queue& q = queue();
  q.kernels = kernels;
  q.memory = memory;
  startPool(threads);
  std::thread(drive).detach();
}

uint64_t submitKernel(const double* words, size_t count) {
  if (count > kLargest) return submitCall(runFromHeap, new std::vector<double>(words, words + count));
  std::memcpy(reserve(Op::kernel, count), words, count * sizeof(double));
  return publish(count);
}

uint64_t submitWrite(int64_t offset, const void* data, size_t bytes) {
  const uint64_t words = 2 + (bytes + 7) / 8;
  double* const w = reserve(Op::write, words);
  const int64_t place[2] = {offset, static_cast<int64_t>(bytes)};
  std::memcpy(w, place, sizeof place);
  std::memcpy(w + 2, data, bytes);
  return publish(words);
}

uint64_t submitCall(void (*f)(void*), void* context) {
  double* const w = reserve(Op::call, 2);
  void* const call[2] = {reinterpret_cast<void*>(f), context};
  std::memcpy(w, call, sizeof call);
  return publish(2);
}

uint64_t lastSubmitted() {
  Queue& q = queue();
  std::lock_guard hold(q.producers);
  return q.submitted;
}

void waitFor(uint64_t number) {
  Queue& q = queue();
  const auto finished = [&] { return q.completed.load() >= number; };
  if (spinUntil(kWaiterSpinUs, finished)) return;
  q.waiters.fetch_add(1);
  for (;;) {
    const uint32_t seen = q.finishes.load();
    if (finished()) break;
    sleepWhile(q.finishes, seen);
  }
  q.waiters.fetch_sub(1);
}

Clocks readClocks() {
  Queue& q = queue();
  std::lock_guard hold(q.clockLock);
  return q.clocks;
}

std::string takeFailure() {
  Queue& q = queue();
  std::lock_guard hold(q.failureLock);
  return std::exchange(q.failure, {});
}

}  // namespace qkv
