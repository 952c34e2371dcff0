// Counter-based random numbers, bit for bit those of src/tensor/random.ts: element i is a pure function of (seed, i), so any thread may draw any stretch.
#include "strided.h"
#include "vector-math.h"

namespace qkv::QKV_ISA {
namespace {

constexpr uint32_t kGolden = 0x9e3779b9u;

template <class U> inline U mix(U x) {
  x ^= x >> 16;
  x *= 0x21f0aaadu;
  x ^= x >> 15;
  x *= 0x735a2d97u;
  return x ^ (x >> 15);
}

struct Stream {
  uint32_t low, high;  // of the seed, mixed
  explicit Stream(double seed) {
    const uint64_t s = static_cast<uint64_t>(seed);
    low = mix(static_cast<uint32_t>(s));
    high = mix(static_cast<uint32_t>(s >> 32) ^ 0x85ebca6bu);
  }
  /// bits(seed, i) >> 8 of the counters i whose low halves are given and whose high half is the same for all.
  UVec draw(UVec low32, uint32_t high32) const { return mix(mix(low32 ^ low) + (high32 * kGolden + high)) >> 8; }
};

/// Calls body(done, m, low, high) for stretches of 0 … n whose counters start + step·k share their high half.
template <class F> void eachStretch(uint64_t start, int64_t n, int64_t step, F&& body) {
  for (int64_t done = 0; done < n;) {
    const uint64_t at = start + static_cast<uint64_t>(done * step), left = (uint64_t{1} << 32) - (at & 0xffffffffu);
    const int64_t m = std::min<int64_t>(n - done, static_cast<int64_t>(left) / step);
    body(done, m, static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32));
    done += m;
  }
}

inline UVec counters(uint32_t first, uint32_t step) { return reinterpret_cast<UVec>(lanes()) * step + first; }
inline Vec uniform(UVec draw) { return __builtin_convertvector(reinterpret_cast<IVec>(draw), Vec) * 0x1p-24f; }

/// cos 2πu for 0 ≤ u < 1: the nearest quarter turn is taken off exactly, then |r| ≤ 1/8.  sin 3e-9 relative, cos 5e-11
inline Vec cosTurn(Vec u) {
  const Vec magic = set1(12582912.f);
  const Vec shifted = u * 4.f + magic;
  const Vec r = u - (shifted - magic) * 0.25f, t = r * r;
  const IVec quarter = floatToBits(shifted) & 3;
  Vec c = set1(59.2204072f), s = set1(-75.3935628f);
  c = c * t + -85.4428521f;
  c = c * t + 64.9393162f;
  c = c * t + -19.7392087f;
  c = c * t + 1.f;
  s = s * t + 81.5923536f;
  s = s * t + -41.3416615f;
  s = (s * t + 6.28318529f) * r;
  const Vec y = (quarter & 1) != 0 ? s : c;  // cos, −sin, −cos, sin
  return quarter == 1 || quarter == 2 ? -y : y;
}

/// √(−2 ln(1 − u₁))·cos 2πu₂.  Box & Muller 1958
inline Vec normal(Vec u1, Vec u2) { return vsqrt(-2.f * vlog(1.f - u1)) * cosTurn(u2); }

inline void put(float* y, Vec v, int64_t n) { n >= W ? store(y, v) : storePart(y, v, static_cast<int>(n)); }

}  // namespace

void random(const Args& a) {
  const bool gaussian = a.opt[0] != 0;
  const Stream stream(a.opt[1]);
  const Vec scale = set1(static_cast<float>(a.opt[2])), shift = set1(static_cast<float>(a.opt[3]));
  float* y = a.out[0].f();
  parallelFor(a.out[0].size(), kGrain, [&](int64_t begin, int64_t end, int) {
    const int64_t step = gaussian ? 2 : 1;
    eachStretch(static_cast<uint64_t>(begin * step), end - begin, step, [&](int64_t done, int64_t m, uint32_t low, uint32_t high) {
      float* to = y + begin + done;
      for (int64_t i = 0; i < m; i += W) {
        const uint32_t at = low + static_cast<uint32_t>(i * step);
        Vec v;
        if (gaussian) v = normal(uniform(stream.draw(counters(at, 2), high)), uniform(stream.draw(counters(at + 1, 2), high)));
        else v = uniform(stream.draw(counters(at, 1), high));
        put(to + i, v * scale + shift, m - i);
      }
    });
  });
}

void dropout(const Args& a) {
  const double p = a.opt[0];
  const Stream stream(a.opt[1]);
  const Vec scale = set1(static_cast<float>(1 / (1 - p)));
  const IVec least = iset1(static_cast<int32_t>(std::ceil(std::clamp(p, 0.0, 1.0) * 0x1p24)));  // k·2⁻²⁴ ≥ p  ⇔  k ≥ ⌈p·2²⁴⌉
  forBlocks({&a.out[0]}, {&a.in[0]}, kGrain, [&](const Block& b) {
    eachStretch(static_cast<uint64_t>(b.at), b.n, 1, [&](int64_t done, int64_t m, uint32_t low, uint32_t high) {
      UVec counter = counters(low, 1);
      map(b.out[0] + done, m, b.stream, [&](Vec v) {
        const Vec kept = reinterpret_cast<IVec>(stream.draw(counter, high)) >= least ? v * scale : Vec{};
        counter += W;
        return kept;
      }, b.in[0] + done);
    });
  });
}

/// y[i] = start + i·step, in f64
void arange(const Args& a) {
  const double start = a.opt[0], step = a.opt[1];
  const View& y = a.out[0];
  parallelFor(y.size(), kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const double v = start + static_cast<double>(i) * step;
      if (y.dtype == DType::i32) y.as<int32_t>()[i] = v != v ? 0 : static_cast<int32_t>(std::nearbyint(std::clamp(v, -2147483648.0, 2147483647.0)));
      else y.f()[i] = static_cast<float>(v);
    }
  });
}

}  // namespace qkv::QKV_ISA
