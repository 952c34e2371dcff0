// The AVX-512 instructions that the kernels name, spelt out for a machine without them: `node native/check.mjs emulated` compiles the sixteen-lane kernels
// with this file in front and runs them with AVX2. Not a fast path, and no part of the addon that users load: build.mjs includes it under --emulate alone.
// Semantics: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace qkv::emulated {

typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));
typedef uint16_t U16 __attribute__((vector_size(32)));

template <class V, class F> [[gnu::always_inline]] inline V eachLane(F&& f) {
  V v{};
  for (int i = 0; i < 16; i++) v[i] = f(i);
  return v;
}

/// Lanes without a bit of the mask are zero, and their memory is not touched.
inline __m512 maskzLoad(uint16_t mask, const void* from) {
  return eachLane<F16>([&](int i) {
    float x = 0;
    if (mask >> i & 1) std::memcpy(&x, static_cast<const char*>(from) + 4 * i, 4);
    return x;
  });
}
inline void maskStore(void* to, uint16_t mask, __m512 v) {
  for (int i = 0; i < 16; i++) {
    const float x = v[i];
    if (mask >> i & 1) std::memcpy(static_cast<char*>(to) + 4 * i, &x, 4);
  }
}
/// a > b ? a : b: the second operand when either is NaN.
inline __m512 maskzMax(uint16_t mask, __m512 a, __m512 b) {
  return eachLane<F16>([&](int i) { return mask >> i & 1 ? (a[i] > b[i] ? a[i] : b[i]) : 0.f; });
}
inline __m512 maskzMin(uint16_t mask, __m512 a, __m512 b) {
  return eachLane<F16>([&](int i) { return mask >> i & 1 ? (a[i] < b[i] ? a[i] : b[i]) : 0.f; });
}
inline __m512 maskzSqrt(uint16_t mask, __m512 a) {
  return eachLane<F16>([&](int i) { return mask >> i & 1 ? std::sqrt(a[i]) : 0.f; });
}
/// Rounded down, the one rounding that the kernels ask for.
template <int rounding> inline __m512 maskzRound(uint16_t mask, __m512 a) {
  static_assert(rounding == (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
  return eachLane<F16>([&](int i) { return mask >> i & 1 ? std::floor(a[i]) : 0.f; });
}
/// To the nearest whole number, ties to even.
inline __m512i toWhole(__m512 a) {
  return reinterpret_cast<__m512i>(eachLane<I16>([&](int i) { return _mm_cvtss_si32(_mm_set_ss(a[i])); }));
}
inline uint16_t signs(__m512i a) {
  const I16 lanes = reinterpret_cast<I16>(a);
  uint16_t mask = 0;
  for (int i = 0; i < 16; i++) mask |= static_cast<uint16_t>((lanes[i] < 0) << i);
  return mask;
}
/// The hardware wants 64-byte alignment here, and so do we.
inline void stream(void* to, __m512 v) {
  if (reinterpret_cast<uintptr_t>(to) % 64 != 0) __builtin_trap();
  std::memcpy(to, &v, 64);
}
inline __m512 fromHalf(__m256i halves) {
  const U16 h = reinterpret_cast<U16>(halves);
  return eachLane<F16>([&](int i) { return _cvtsh_ss(h[i]); });
}
inline __m512 fill(float x) { return F16{} + x; }
inline __m512i widen(__m256i a) {
  return reinterpret_cast<__m512i>(__builtin_convertvector(reinterpret_cast<U16>(a), I16));
}
inline __m512i shiftLeft(__m512i a, int bits) { return reinterpret_cast<__m512i>(reinterpret_cast<I16>(a) << bits); }
inline __m512i either(__m512i a, __m512i b) { return a | b; }

/// Four products of a byte without and a byte with a sign, added to each lane; no sum is cut on the way.
inline __m256i addByteProducts(__m256i sum, __m256i without, __m256i with) {
  int32_t s[8];
  uint8_t a[32];
  int8_t b[32];
  std::memcpy(s, &sum, 32);
  std::memcpy(a, &without, 32);
  std::memcpy(b, &with, 32);
  for (int i = 0; i < 32; i++) s[i / 4] += a[i] * b[i];
  std::memcpy(&sum, s, 32);
  return sum;
}

typedef __m512i Pairs;    // sixteen pairs of bf16
typedef __m256i Rounded;  // sixteen bf16

/// A denormal counts as zero.
inline float bf16(uint32_t bits) {
  float x;
  bits = bits << 16;
  if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
  std::memcpy(&x, &bits, 4);
  return x;
}
/// To the nearest bf16, ties to even; denormals to zero, NaN stays NaN.
inline Rounded toBf16(__m512 v) {
  return reinterpret_cast<Rounded>(eachLane<U16>([&](int i) {
    uint32_t u;
    const float x = v[i];
    std::memcpy(&u, &x, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(u >> 16 | 0x40u);
    if ((u & 0x7f800000u) == 0) return static_cast<uint16_t>(u >> 16 & 0x8000u);
    return static_cast<uint16_t>((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
  }));
}
/// sum + the product of the upper halves, then that of the lower ones.
inline __m512 addPairs(__m512 sum, Pairs a, Pairs b) {
  const I16 x = reinterpret_cast<I16>(a), y = reinterpret_cast<I16>(b);
  return eachLane<F16>([&](int i) {
    const auto p = static_cast<uint32_t>(x[i]), q = static_cast<uint32_t>(y[i]);
    const float upper = std::fma(bf16(p >> 16), bf16(q >> 16), sum[i]);
    return std::fma(bf16(p & 0xffffu), bf16(q & 0xffffu), upper);
  });
}

}  // namespace qkv::emulated

#define __AVX512F__ 1
#define __AVX512BW__ 1
#define __AVX512DQ__ 1
#define __AVX512VL__ 1
#define __AVX512VNNI__ 1
#define __mmask16 uint16_t
#define _mm512_maskz_loadu_ps qkv::emulated::maskzLoad
#define _mm512_mask_storeu_ps qkv::emulated::maskStore
#define _mm512_maskz_max_ps qkv::emulated::maskzMax
#define _mm512_maskz_min_ps qkv::emulated::maskzMin
#define _mm512_maskz_sqrt_ps qkv::emulated::maskzSqrt
#undef _mm512_maskz_roundscale_ps
#define _mm512_maskz_roundscale_ps(mask, a, rounding) qkv::emulated::maskzRound<(rounding)>(mask, a)
#define _mm512_cvtps_epi32 qkv::emulated::toWhole
#define _mm512_movepi32_mask qkv::emulated::signs
#define _mm512_stream_ps qkv::emulated::stream
#define _mm512_cvtph_ps qkv::emulated::fromHalf
#define _mm512_set1_ps qkv::emulated::fill
#define _mm512_cvtepu16_epi32 qkv::emulated::widen
#define _mm512_slli_epi32 qkv::emulated::shiftLeft
#define _mm512_or_si512 qkv::emulated::either
#undef _mm256_dpbusd_epi32
#define _mm256_dpbusd_epi32 qkv::emulated::addByteProducts
#if defined(QKV_EMULATE_BF16)
#define __AVX512BF16__ 1
#define __m512bh qkv::emulated::Pairs
#define _mm512_cvtneps_pbh qkv::emulated::toBf16
#define _mm512_dpbf16_ps qkv::emulated::addPairs
#endif
