// One vector type for every instruction set. The file is compiled once per ISA (build.mjs passes the flags and QKV_ISA, the namespace);
// W lanes of f32: 16 with AVX-512, 8 with AVX2, 4 with SSE2 and NEON. Arithmetic is GCC's vector extension: + - * / < ?: work lane by lane,
// and a*b + c becomes one FMA where the machine has it.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef QKV_ISA
#error "compile with -DQKV_ISA=<name>"
#endif

namespace qkv::QKV_ISA {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float Vec __attribute__((vector_size(W * 4)));
typedef float VecU __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef int32_t IVec __attribute__((vector_size(W * 4)));
typedef int32_t IVecU __attribute__((vector_size(W * 4), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const VecU*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecU*>(p) = v; }
inline Vec set1(float x) { return x - Vec{}; }  // x − 0 = x to the bit, −0 too: a bare broadcast (x + 0 would be an add)
inline IVec iset1(int32_t x) { return IVec{} + x; }

/// The first n lanes (0 ≤ n ≤ W); the rest are zero, and their memory is not touched.
inline Vec loadPart(const float* p, int n) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
#else
  Vec v{};
  std::memcpy(&v, p, static_cast<size_t>(n) * 4);
  return v;
#endif
}
inline void storePart(float* p, Vec v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), v);
#else
  std::memcpy(p, &v, static_cast<size_t>(n) * 4);
#endif
}

/// a > b ? a : b, so b when either is NaN. (Spelled out: with a constant GCC makes two instructions of it.)
inline Vec vmax(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(static_cast<__mmask16>(-1), a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__x86_64__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}
inline Vec vmin(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_maskz_min_ps(static_cast<__mmask16>(-1), a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#elif defined(__x86_64__)
  return _mm_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}
inline Vec vabs(Vec a) { return reinterpret_cast<Vec>(reinterpret_cast<IVec>(a) & 0x7fffffff); }
inline Vec vsqrt(Vec a) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(static_cast<__mmask16>(-1), a);  // not _mm512_sqrt_ps: GCC 12 warns about its undefined operand
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(a);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(a);
#else
  return vsqrtq_f32(a);
#endif
}
/// The sum of all lanes by a fixed tree: the upper half is added to the lower one until one lane is left. The same bits every time.
inline float hsum(Vec v) {
#if defined(__AVX512F__)
  const auto v8 = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  const Vec v8 = v;
#endif
#if defined(__AVX2__)
  const auto v4 = __builtin_shufflevector(v8, v8, 0, 1, 2, 3) + __builtin_shufflevector(v8, v8, 4, 5, 6, 7);
#else
  const Vec v4 = v8;
#endif
  const auto v2 = v4 + __builtin_shufflevector(v4, v4, 2, 3, 2, 3);
  return v2[0] + v2[1];
}
inline float hmax(Vec v) {
  float s[W];
  std::memcpy(s, &v, sizeof s);
  float m = s[0];
  for (int i = 1; i < W; i++) m = s[i] > m ? s[i] : m;
  return m;
}

/// eˣ to about 1 ulp·2: n = round(x / ln 2), r = x − n ln 2 in two steps (Cody & Waite), a degree-6 polynomial, then the exponent is added. x ≤ −87.3 gives 0-ish, x ≥ 88.7 gives +∞.
inline Vec vexp(Vec x) {
  const Vec high = set1(88.72284f), low = set1(-87.33655f);
  const IVec over = x > high, under = x < low, nan = x != x;
  const Vec input = x;
  x = vmin(vmax(x, low), high);
  const Vec shift = set1(12582912.f);  // 1.5·2²³: adding it rounds to the nearest whole number
  const Vec n = (x * 1.44269504f + shift) - shift;
  Vec r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Vec p = set1(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.f);
  const IVec e = __builtin_convertvector(n, IVec);
  const IVec half = e >> 1;  // 2ⁿ in two factors, so that n = 128 and −126 stay in range
  const Vec s1 = reinterpret_cast<Vec>((half + 127) << 23), s2 = reinterpret_cast<Vec>((e - half + 127) << 23);
  Vec y = p * s1 * s2;
  y = under ? Vec{} : y;
  y = over ? set1(INFINITY) : y;
  return nan ? input : y;
}
/// 1 / (1 + e⁻ˣ)
inline Vec vsigmoid(Vec x) { return 1.f / (1.f + vexp(-x)); }
/// tanh x = 1 − 2 / (e²ˣ + 1); near zero the odd series keeps the relative accuracy.
inline Vec vtanh(Vec x) {
  const Vec big = 1.f - 2.f / (vexp(x + x) + 1.f);
  const Vec x2 = x * x;
  const Vec small = x + x * x2 * (-0.333333333f + x2 * (0.133333333f + x2 * (-0.053968254f + x2 * 0.021869489f)));
  return (vabs(x) < 0.25f) ? small : big;
}

inline float bf16ToF32(uint16_t h) {
  const uint32_t u = static_cast<uint32_t>(h) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
/// Round to nearest even; NaN stays NaN.
inline uint16_t f32ToBf16(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

}  // namespace qkv::QKV_ISA
