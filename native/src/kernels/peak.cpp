// The machine's limits, measured: the denominators of every ratio in bench/.
#include <algorithm>
#include <atomic>
#include <chrono>

#include "kernel.h"
#include "simd.h"

namespace qkv::QKV_ISA {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

#if defined(__AVX512F__)
constexpr int kChains = 24;
#elif defined(__aarch64__)
constexpr int kChains = 20;
#else
constexpr int kChains = 12;
#endif

/// Independent chains of a·x + y, enough of them to hide the latency of an FMA.
float chains(long rounds) {
  Vec a[kChains];
  for (int i = 0; i < kChains; i++) a[i] = set1(static_cast<float>(i));
  Vec x = set1(0.999999f), y = set1(1e-7f);
  for (long r = 0; r < rounds; r++) {
#if defined(__x86_64__) && !defined(QKV_EMULATED)
    asm volatile("" : "+x"(x), "+x"(y));
#elif defined(__aarch64__)
    asm volatile("" : "+w"(x), "+w"(y));
#endif
#pragma GCC unroll 32
    for (int i = 0; i < kChains; i++) a[i] = a[i] * x + y;
  }
  Vec sum{};
  for (int i = 0; i < kChains; i++) sum += a[i];
  return hsum(sum);
}
#if defined(__AVX512BF16__)
float chainsBf16(long rounds) {
  __m512 a[kChains];
  for (int i = 0; i < kChains; i++) a[i] = _mm512_set1_ps(static_cast<float>(i));
  __m512 x = set1(1e-30f), y = set1(1e-30f);
  for (long r = 0; r < rounds; r++) {
#if !defined(QKV_EMULATED)  // there no register holds sixteen lanes
    asm volatile("" : "+v"(x), "+v"(y));
#endif
#pragma GCC unroll 32
    for (int i = 0; i < kChains; i++) a[i] = _mm512_dpbf16_ps(a[i], reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(y));
  }
  Vec sum{};
  for (int i = 0; i < kChains; i++) sum += a[i];
  return hsum(sum);
}
#endif

/// Four streams far apart: one stream does not fill a core's memory pipes.
float readAll(const float* p, int64_t floats) {
  constexpr int kStreams = 4;
  const int64_t part = floats / kStreams;
  Vec sum[kStreams * 2]{};
  for (int64_t i = 0; i + 2 * W <= part; i += 2 * W)
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; s++) {
      sum[2 * s] += load(p + s * part + i);
      sum[2 * s + 1] += load(p + s * part + i + W);
    }
  Vec all{};
  for (const Vec& v : sum) all += v;
  return hsum(all);
}

/// What an optimizer does to memory: four streams read, three of them written back in place.
void updateAll(float* p, int64_t floats) {
  const int64_t part = floats / 4;
  float *const m = p + part, *const v = m + part, *const g = v + part;
  const Vec half = set1(0.5f);
  for (int64_t i = 0; i + W <= part; i += W) {
    const Vec d = load(g + i), a = half * load(m + i) + d, b = half * load(v + i) + d;
    store(m + i, a);
    store(v + i, b);
    store(p + i, load(p + i) - a * b);
  }
}

std::atomic<float> sink;  // keeps the loops from being dropped

}  // namespace

/// Best of several runs, in flop/s. bf16: products of bf16 pairs where the machine has them (0 elsewhere).
double peakFlops(int threads, bool bf16) {
#if !defined(__AVX512BF16__)
  if (bf16) return 0;
#endif
  const int n = std::min(threads, threadCount());
  const long rounds = 2000000 * 8 / kChains;
  double best = 0;
  for (int run = 0; run < 9; run++) {
    const double start = now();
    // as many chunks as threads, each on its own core
    parallelFor(n, 1, [&](int64_t, int64_t, int) {
#if defined(__AVX512BF16__)
      sink = bf16 ? chainsBf16(rounds) : chains(rounds);
#else
      sink = chains(rounds);
#endif
    });
    const double flops = 2.0 * W * kChains * static_cast<double>(rounds) * n * (bf16 ? 2 : 1);
    best = std::max(best, flops / (now() - start));
  }
  return best;
}

/// Best of several runs, in bytes/s, over `megabytes` in all.
double readBandwidth(int threads, double megabytes) {
  const int n = std::min(threads, threadCount());
  const int64_t floats = static_cast<int64_t>(megabytes * 262144 / n) / 64 * 64;
  float* const p = sharedScratch(3, floats * n);
  std::fill(p, p + floats * n, 1.f);
  const int passes = static_cast<int>(std::max(1.0, 256 / megabytes));
  double best = 0;
  for (int run = 0; run < 7; run++) {
    const double start = now();
    parallelFor(n, 1, [&](int64_t begin, int64_t, int) {
      for (int pass = 0; pass < passes; pass++) sink = readAll(p + begin * floats, floats);
    });
    best = std::max(best, static_cast<double>(floats) * n * 4 * passes / (now() - start));
  }
  return best;
}

/// Best of several runs, in bytes/s read and written, over `megabytes` in all.
double updateBandwidth(int threads, double megabytes) {
  const int n = std::min(threads, threadCount());
  const int64_t floats = static_cast<int64_t>(megabytes * 262144 / n) / 64 * 64;
  float* const p = sharedScratch(3, floats * n);
  std::fill(p, p + floats * n, 0.f);
  double best = 0;
  for (int run = 0; run < 7; run++) {
    const double start = now();
    parallelFor(n, 1, [&](int64_t begin, int64_t, int) { updateAll(p + begin * floats, floats); });
    best = std::max(best, static_cast<double>(floats) * n * 4 * 7 / 4 / (now() - start));
  }
  return best;
}

}  // namespace qkv::QKV_ISA
