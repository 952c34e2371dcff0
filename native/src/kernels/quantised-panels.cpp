// y = x Wᵀ + b with W in 8 or 4 bits (quantised.h) and more than a few rows of x: two groups of W at a time are unpacked into the cache, where all rows of
// x pass by, four at a time.
//
//   8 bits  W and x in 16 bits: a lane holds the codes of two columns of one row, and one instruction makes both products and their sum.
//   4 bits  W in bytes without sign (code + 8), four columns a lane; eight sums of two products of 15·127 at most fit 16 bits. Machines without products of
//           bytes take them as 8 bits.
// Sums of whole numbers are exact, and blocks are added in order: each row of y has the bits that quantised.cpp gives it.
#include <algorithm>
#include <type_traits>

#include "rounded-rows.h"

namespace qkv::QKV_ISA {
namespace {

constexpr int kRowsAtOnce = 4, kGroupsAtOnce = 2;
constexpr int64_t kRowsOfX = 1024;  // that are rounded at a time
typedef int16_t Pairs __attribute__((vector_size(32), may_alias));
typedef int16_t PairsU __attribute__((vector_size(32), aligned(1), may_alias));

#if defined(__AVX2__)
constexpr bool kByteProducts = true;
#else
constexpr bool kByteProducts = false;
#endif
constexpr bool inBytes(int bits) { return kByteProducts && bits == 4; }

/// Vectors that one block of one group takes in the panel.
template <int bits> constexpr int kSteps = inBytes(bits) ? 8 : 16;

/// The same two codes of x in every lane.
inline Pairs spread(const void* x) {
  int32_t two;
  std::memcpy(&two, x, 4);
  return reinterpret_cast<Pairs>(Ints{} + two);
}
/// sum + w₀x₀ + w₁x₁ in every lane
inline Ints addPairs(Ints sum, Pairs w, Pairs x) {
#if defined(__AVX2__)
  return sum + reinterpret_cast<Ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(w), reinterpret_cast<__m256i>(x)));
#elif defined(__x86_64__)
  __m128i a[2], b[2];
  std::memcpy(a, &w, 32);
  std::memcpy(b, &x, 32);
  const __m128i products[2] = {_mm_madd_epi16(a[0], b[0]), _mm_madd_epi16(a[1], b[1])};
  Ints p;
  std::memcpy(&p, products, 32);
  return sum + p;
#else
  const Ints a = reinterpret_cast<Ints>(w), b = reinterpret_cast<Ints>(x);
  return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}
#if defined(__AVX2__)
/// sum + Σ of four products, in two halves of 16 bits
inline Pairs addBytes(Pairs sum, Pairs w, Pairs x) {
  return sum + reinterpret_cast<Pairs>(_mm256_maddubs_epi16(reinterpret_cast<__m256i>(w), reinterpret_cast<__m256i>(x)));
}
inline Ints halvesTogether(Pairs sum) { return reinterpret_cast<Ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(sum), _mm256_set1_epi16(1))); }
#endif

/// One group in vectors: block by block kSteps of them, `apart` vectors from each other, and its scales as f32.
template <int bits> void unpack(const GroupFormat& f, const uint8_t* group, Pairs* to, int64_t apart, Floats* scales) {
  const uint8_t* from = group + f.scaleBytes();
  for (int64_t b = 0; b < f.blocks(); b++) {
    scales[b * apart] = scalesOf(group, b);
    for (int j = 0; j < f.blockBytes() / 32; j++, from += 32) {
      const Pairs w = *reinterpret_cast<const PairsU*>(from);
      // Bytes 0 and 2 of every lane, and bytes 1 and 3; `low` and `high` halves of a byte are columns far apart.
      Pairs* const at = to + b * kSteps<bits> * apart;
      const auto put = [&](int vector, Pairs v) { at[vector * apart] = v; };
      if constexpr (bits == 8) {
        put(2 * j, (w << 8) >> 8);
        put(2 * j + 1, w >> 8);
      } else if constexpr (inBytes(bits)) {
        put(j, w & 0x0f0f);
        put(4 + j, (w >> 4) & 0x0f0f);
      } else {
        put(2 * j, (w & 15) - 8);
        put(2 * j + 1, ((w >> 8) & 15) - 8);
        put(8 + 2 * j, ((w >> 4) & 15) - 8);
        put(8 + 2 * j + 1, ((w >> 12) & 15) - 8);
      }
    }
  }
}
/// Codes of x in 16 bits, in the order of the panel: of four columns 0, 2, 1, 3.
void widen(const int8_t* x, int64_t K, int16_t* to) {
  for (int64_t k = 0; k < K; k += 4) to[k] = x[k], to[k + 1] = x[k + 2], to[k + 2] = x[k + 1], to[k + 3] = x[k + 3];
}

/// Rounded rows of x, and where the panel finds their codes: `bytes` a row.
struct Rows {
  Rounded x;
  const char* codes;
  int64_t bytes, blocks;
};

/// T rows of x from row t0 on, against the R groups in the panel.
template <int T, int R, int bits> [[gnu::always_inline]] inline void tile(const Rows& rows, int64_t t0, const Pairs* w, const Floats* scales, Floats (&sum)[T][R]) {
  const char* x = rows.codes + t0 * rows.bytes;
  const float* const xScales = rows.x.scales + t0 * rows.blocks;
  for (int64_t b = 0; b < rows.blocks; b++) {
    Ints dot[T][R];
#if defined(__AVX2__)
    if constexpr (inBytes(bits)) {
      const int32_t* const eights = rows.x.eights + t0 * rows.blocks + b;
      Pairs halves[T][R] = {};
#pragma GCC unroll 2
      for (int step = 0; step < kSteps<bits>; step++, w += R, x += 4)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          const Pairs v = spread(x + t * rows.bytes);
#pragma GCC unroll 2
          for (int r = 0; r < R; r++) halves[t][r] = addBytes(halves[t][r], w[r], v);
        }
#pragma GCC unroll 4
      for (int t = 0; t < T; t++)
#pragma GCC unroll 2
        for (int r = 0; r < R; r++) dot[t][r] = halvesTogether(halves[t][r]) - eights[t * rows.blocks];
    } else
#endif
    {
#pragma GCC unroll 4
      for (int t = 0; t < T; t++)
#pragma GCC unroll 2
        for (int r = 0; r < R; r++) dot[t][r] = Ints{};
#pragma GCC unroll 2
      for (int step = 0; step < kSteps<bits>; step++, w += R, x += 4)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          const Pairs v = spread(x + t * rows.bytes);
#pragma GCC unroll 2
          for (int r = 0; r < R; r++) dot[t][r] = addPairs(dot[t][r], w[r], v);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; t++)
#pragma GCC unroll 2
      for (int r = 0; r < R; r++) {
        const Floats both = scales[b * R + r] * xScales[t * rows.blocks + b];
        sum[t][r] += __builtin_convertvector(dot[t][r], Floats) * both;
      }
  }
}

/// R groups of W from group g on, against all rows.
template <int R, int bits> void panel(const QuantisedProduct& p, const Rows& rows, int64_t t0, int64_t T, int64_t g, int thread) {
  const int64_t vectors = rows.blocks * kSteps<bits> * R;
  auto* const w = reinterpret_cast<Pairs*>(scratch(thread, 1, (vectors + rows.blocks * R) * 8));
  auto* const scales = reinterpret_cast<Floats*>(w + vectors);
  for (int r = 0; r < R; r++) unpack<bits>(p.format, p.w + (g + r) * p.format.bytes(), w + r, R, scales + r);
  const auto some = [&]<int n>(int64_t t, std::integral_constant<int, n>) __attribute__((always_inline)) {
    Floats sum[n][R] = {};
    tile<n, R, bits>(rows, t, w, scales, sum);
#pragma GCC unroll 4
    for (int i = 0; i < n; i++)
#pragma GCC unroll 2
      for (int r = 0; r < R; r++) p.put(t0 + t + i, g + r, sum[i][r]);
  };
  int64_t t = 0;
  for (; t + kRowsAtOnce <= T; t += kRowsAtOnce) some(t, std::integral_constant<int, kRowsAtOnce>());
  for (; t < T; t++) some(t, std::integral_constant<int, 1>());
}

template <int bits> void panels(const QuantisedProduct& p) {
  const int64_t K = p.format.K, groups = (p.N + kGroup - 1) / kGroup, runs = (groups + kGroupsAtOnce - 1) / kGroupsAtOnce;
  for (int64_t t0 = 0; t0 < p.T; t0 += kRowsOfX) {
    const int64_t T = std::min(kRowsOfX, p.T - t0), room = roundedFloats(T, K);
    float* const area = sharedScratch(0, room + (inBytes(bits) ? 0 : T * K / 2));
    const Rounded x = roundedRoom(T, K, area);
    auto* const wide = reinterpret_cast<int16_t*>(area + room);
    parallelFor(T, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) {
        roundRow(p.x + (t0 + t) * p.ldx, K, x, t);
        if (!inBytes(bits)) widen(x.row(t), K, wide + t * K);
      }
    });
    const Rows rows{x, inBytes(bits) ? reinterpret_cast<const char*>(x.codes) : reinterpret_cast<const char*>(wide), inBytes(bits) ? K : 2 * K, K / kBlock};
    parallelFor(runs, std::max<int64_t>(1, runs / (threadCount() * 8)), [&](int64_t begin, int64_t end, int thread) {
      for (int64_t g = begin * kGroupsAtOnce; g < std::min(groups, end * kGroupsAtOnce); g += kGroupsAtOnce)
        if (g + 1 < groups) panel<2, bits>(p, rows, t0, T, g, thread);
        else panel<1, bits>(p, rows, t0, T, g, thread);
    });
  }
}

}  // namespace

void quantisedPanels(const QuantisedProduct& p) { p.format.bits == 8 ? panels<8>(p) : panels<4>(p); }

}  // namespace qkv::QKV_ISA
