// Copies panels of a matrix into the order in which the register tile of gemm.cpp reads them: k by k, the P rows (or columns) of the panel side by side.
//   to[k·P + i] = from[i·across + k·along],  i < P, k < K
// For products of bf16 pairs two neighbouring k share a word: to[(k/2)·P + i] holds (k, k + 1), and an odd K ends with a zero.
#pragma once
#include <utility>

#include "storage.h"

namespace qkv::QKV_ISA {

/// How the elements of a packed panel are kept.
enum class Packing { f32, rounded, pairs };  // rounded: to bf16, kept as f32

/// Words that a packed panel takes. Panels whose width is no multiple of W are written by whole vectors that overlap, so they end with some slack.
template <int P> constexpr int64_t panelWords(int64_t K, Packing packing) {
  return (packing == Packing::pairs ? (K + 1) / 2 : K) * P + (P % W == 0 ? 0 : W);
}

/// Two rows that lie b apart swap their off-diagonal b × b blocks.
template <int b, int... I> [[gnu::always_inline]] inline void exchange(Vec& low, Vec& high, std::integer_sequence<int, I...>) {
  const Vec a = low, c = high;
  low = __builtin_shufflevector(a, c, ((I & b) == 0 ? I : W + I - b)...);
  high = __builtin_shufflevector(a, c, ((I & b) == 0 ? I + b : W + I)...);
}
/// Turns each 4 × 4 block of four rows: the unpack instructions of every machine work on blocks of four lanes.
template <int... I> [[gnu::always_inline]] inline void turnFour(Vec* r, std::integer_sequence<int, I...>) {
  const Vec t0 = __builtin_shufflevector(r[0], r[1], ((I & ~3) + I % 4 / 2 + I % 2 * W)...), t1 = __builtin_shufflevector(r[0], r[1], ((I & ~3) + I % 4 / 2 + 2 + I % 2 * W)...);
  const Vec t2 = __builtin_shufflevector(r[2], r[3], ((I & ~3) + I % 4 / 2 + I % 2 * W)...), t3 = __builtin_shufflevector(r[2], r[3], ((I & ~3) + I % 4 / 2 + 2 + I % 2 * W)...);
  r[0] = __builtin_shufflevector(t0, t2, ((I & ~3) + I % 2 + I % 4 / 2 * W)...);
  r[1] = __builtin_shufflevector(t0, t2, ((I & ~3) + I % 2 + 2 + I % 4 / 2 * W)...);
  r[2] = __builtin_shufflevector(t1, t3, ((I & ~3) + I % 2 + I % 4 / 2 * W)...);
  r[3] = __builtin_shufflevector(t1, t3, ((I & ~3) + I % 2 + 2 + I % 4 / 2 * W)...);
}
/// Turns W rows of W elements: blocks of four, then the blocks change places (Eklundh 1972).
template <int... I> [[gnu::always_inline]] inline void turn(Vec (&r)[W], std::integer_sequence<int, I...> lanes) {
  ((I % 4 == 0 ? turnFour(r + I, lanes) : void()), ...);
  const auto step = [&r, lanes]<int b>() __attribute__((always_inline)) { (((I & b) == 0 ? exchange<b>(r[I], r[I | b], lanes) : void()), ...); };
  if constexpr (W > 4) step.template operator()<4>();
  if constexpr (W > 8) step.template operator()<8>();
}

/// Puts rows k and k + 1 (vector v of each) in their place; row k + 1 = K does not exist.
template <int P, Packing packing> [[gnu::always_inline]] inline void put(float* to, int64_t k, int64_t K, int v, Vec even, Vec odd) {
  if constexpr (packing == Packing::pairs) {
#if defined(__AVX512BF16__)
    const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(even)), high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(odd));
    const __m512i both = _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
    store(to + k / 2 * P + v * W, reinterpret_cast<Vec>(both));
#endif
  } else {
    store(to + k * P + v * W, packing == Packing::rounded ? roundBf16(even) : even);
    if (k + 1 < K) store(to + (k + 1) * P + v * W, packing == Packing::rounded ? roundBf16(odd) : odd);
  }
}

/// `panels` neighbours, `apart` words from each other, of a matrix whose rows (or columns) lie side by side: one pass over k reads long runs, whole lines of cache.
/// All panels are full, and the whole vectors that cover them may be read.
template <int P, Packing packing, class T> void packSideBySide(const T* from, int64_t along, int panels, int64_t apart, int64_t K, float* to) {
  constexpr int V = (P + W - 1) / W;
  for (int64_t k = 0; k < K; k += 2) {
    const T* p = from + k * along;
    const T* q = k + 1 < K ? p + along : p;
    float* t = to;
    for (int panel = 0; panel < panels; panel++, p += P, q += P, t += apart)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) put<P, packing>(t, k, K, v, loadAs(p + v * W), k + 1 < K ? loadAs(q + v * W) : Vec{});
  }
}

/// One panel. `width` ≤ P of its rows exist; `readable` ≥ width elements may be read across (the next panel's are there too).
template <int P, Packing packing, class T>
void packPanel(const T* from, int64_t across, int64_t along, int width, int64_t readable, int64_t K, float* to) {
  constexpr int V = (P + W - 1) / W;
  static_assert(P % W == 0 || V == 1);
  if (across == 1) {
    if (readable >= V * W && width == P) return packSideBySide<P, packing>(from, along, 1, 0, K, to);
    for (int64_t k = 0; k < K; k += 2)
      for (int v = 0; v < V; v++) {
        const int n = width - v * W < 0 ? 0 : width - v * W < W ? width - v * W : W;
        put<P, packing>(to, k, K, v, loadAs(from + k * along + v * W, n), k + 1 < K ? loadAs(from + (k + 1) * along + v * W, n) : Vec{});
      }
    return;
  }
  constexpr auto lanes = std::make_integer_sequence<int, W>();
  for (int64_t k = 0; k < K; k += W)
    for (int v = 0; v < V; v++) {
      Vec r[W];
      const T* p = from + v * W * across + k * along;
      const int n = K - k < W ? static_cast<int>(K - k) : W;
      const int rows = width - v * W;
      if (along == 1 && n == W && rows >= W) {
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) r[i] = loadAs(p + i * across);
      } else if (along == 1 && n == W && P < W && rows == P) {
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) r[i] = i < P ? loadAs(p + i * across) : Vec{};
      } else if (along == 1) {
        for (int i = 0; i < W; i++) r[i] = i < rows ? loadAs(p + i * across, n) : Vec{};
      } else {
        float block[W][W] = {};
        for (int i = 0; i < W && i < rows; i++)
          for (int q = 0; q < n; q++) block[i][q] = scalarAs(p + i * across + q * along);
        for (int i = 0; i < W; i++) r[i] = load(block[i]);
      }
      turn(r, lanes);
      if (n == W) {
#pragma GCC unroll 16
        for (int q = 0; q < W; q += 2) put<P, packing>(to, k + q, K, v, r[q], r[q + 1]);
      } else {
        for (int q = 0; q < n; q += 2) put<P, packing>(to, k + q, K, v, r[q], q + 1 < n ? r[q + 1] : Vec{});
      }
    }
}

}  // namespace qkv::QKV_ISA
