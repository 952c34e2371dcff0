// A job is (body, n, grain); its chunks are claimed one by one from `ticket`, which holds the job's number in its high half, so that a worker
// that wakes too late claims nothing. The driver waits for finished chunks, never for workers: a worker that the system has put aside costs nothing
// unless it holds a chunk. Workers spin for a while, then sleep.
#include "pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "futex.h"
#include "kernel.h"
#include "machine.h"

namespace qkv {
namespace {

using Body = void (*)(void*, int64_t, int64_t, int);
constexpr int kWorkerSpinUs = 200;  // longer than the gap between two kernels of a step, shorter than anyone notices
constexpr int kSlots = 4;

struct Area {
  void* data = nullptr;
  int64_t bytes = 0;
};
/// At least `floats`, on huge pages when it is large. Never shrinks.
float* grow(Area& area, int64_t floats) {
  constexpr int64_t huge = int64_t{2} << 20;
  const int64_t need = std::max<int64_t>(floats * 4, 64);
  if (need > area.bytes) {
    if (area.data) munmap(area.data, static_cast<size_t>(area.bytes));
    const int64_t unit = need >= huge ? huge : 4096;
    area.bytes = (need + need / 4 + unit - 1) / unit * unit;
    area.data = mmap(nullptr, static_cast<size_t>(area.bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area.data == MAP_FAILED) {
      std::fprintf(stderr, "qkv: no memory for %lld bytes of kernel scratch\n", static_cast<long long>(area.bytes));
      std::abort();
    }
#if defined(MADV_HUGEPAGE)
    if (unit == huge) madvise(area.data, static_cast<size_t>(area.bytes), MADV_HUGEPAGE);
#endif
  }
  return static_cast<float*>(area.data);
}

struct alignas(64) ThreadAreas {
  Area slot[kSlots];
};

struct Pool {
  int threads = 1;
  std::vector<ThreadAreas> areas{1};
  Area shared[kSlots];

  alignas(64) std::atomic<uint64_t> ticket{0};  // (job << 32) | next chunk
  alignas(64) std::atomic<int64_t> done{0};     // finished chunks
  alignas(64) std::atomic<uint32_t> job{0};     // the word that idle workers sleep on
  std::atomic<int> sleepers{0};
  // The job; atomics because a late worker may read them while the next job is written (its claim then fails).
  std::atomic<Body> body{nullptr};
  std::atomic<void*> context{nullptr};
  std::atomic<int64_t> n{0}, grain{1}, chunks{0};

  void work(uint32_t number, int thread) {
    constexpr auto relaxed = std::memory_order_relaxed;
    const Body f = body.load(relaxed);
    void* const c = context.load(relaxed);
    const int64_t size = n.load(relaxed), step = grain.load(relaxed), count = chunks.load(relaxed);
    uint64_t t = ticket.load(std::memory_order_acquire);
    for (;;) {
      const int64_t chunk = static_cast<int64_t>(t & 0xffffffffu);
      if (static_cast<uint32_t>(t >> 32) != number || chunk >= count) return;
      if (!ticket.compare_exchange_weak(t, t + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      f(c, chunk * step, std::min(size, (chunk + 1) * step), thread);
      done.fetch_add(1, std::memory_order_release);
      t = ticket.load(std::memory_order_acquire);
    }
  }
  void run(int64_t size, int64_t step, int64_t count, Body f, void* c) {
    constexpr auto relaxed = std::memory_order_relaxed;
    const uint32_t number = job.load(relaxed) + 1;
    body.store(f, relaxed);
    context.store(c, relaxed);
    n.store(size, relaxed);
    grain.store(step, relaxed);
    chunks.store(count, relaxed);
    done.store(0, relaxed);
    ticket.store(static_cast<uint64_t>(number) << 32, std::memory_order_release);
    job.store(number);
    if (sleepers.load() > 0) wakeAll(job);
    work(number, 0);
    const auto finished = [&] { return done.load(std::memory_order_acquire) == count; };
    while (!spinUntil(50, finished)) std::this_thread::yield();
  }
};

Pool& pool() {
  static Pool* const p = new Pool;  // never destroyed: workers may outlive main
  return *p;
}
thread_local int tThread = 0;
thread_local bool tInside = false;  // in a body: a nested parallelFor runs serially

void worker(int thread) {
  useAllCores();
  flushDenormals();
  tThread = thread;
  tInside = true;
  Pool& p = pool();
  for (uint32_t seen = 0;;) {
    const auto fresh = [&] { return p.job.load(std::memory_order_acquire) != seen; };
    if (!spinUntil(kWorkerSpinUs, fresh)) {
      p.sleepers.fetch_add(1);
      while (!fresh()) sleepWhile(p.job, seen);
      p.sleepers.fetch_sub(1);
    }
    seen = p.job.load(std::memory_order_acquire);
    p.work(seen, thread);
  }
}

}  // namespace

void startPool(int threads) {
  Pool& p = pool();
  p.threads = threads;
  p.areas = std::vector<ThreadAreas>(static_cast<size_t>(threads));
  for (int t = 1; t < threads; t++) std::thread(worker, t).detach();
}

int threadCount() { return pool().threads; }

void parallelFor(int64_t n, int64_t grain, Body body, void* context) {
  if (n <= 0) return;
  Pool& p = pool();
  grain = std::max<int64_t>({grain, 1, (n >> 31) + 1});
  const int64_t chunks = (n + grain - 1) / grain;
  if (chunks == 1 || tInside || p.threads == 1) {
    for (int64_t c = 0; c < chunks; c++) body(context, c * grain, std::min(n, (c + 1) * grain), tThread);
    return;
  }
  tInside = true;
  p.run(n, grain, chunks, body, context);
  tInside = false;
}

float* scratch(int thread, int slot, int64_t floats) { return grow(pool().areas[static_cast<size_t>(thread)].slot[slot], floats); }
float* sharedScratch(int slot, int64_t floats) { return grow(pool().shared[slot], floats); }

}  // namespace qkv
