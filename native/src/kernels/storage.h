// Reading f32, bf16 and f16 storage as vectors of f32, and rounding to bf16.
#pragma once
#include <type_traits>

#include "kernel.h"
#include "simd.h"

namespace qkv::QKV_ISA {

struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};
typedef uint32_t UVecBits __attribute__((vector_size(W * 4)));
typedef uint16_t Halves __attribute__((vector_size(W * 2)));

inline UVecBits widen(const uint16_t* p, int n) {
  Halves h{};
  std::memcpy(&h, p, static_cast<size_t>(n) * 2);
  return __builtin_convertvector(h, UVecBits);
}
inline Vec bf16Bits(UVecBits u) { return reinterpret_cast<Vec>(u << 16); }
/// Denormal halves become normal floats through an integer: arithmetic on the bit pattern would flush them to zero.
inline Vec f16Bits(UVecBits u) {
  const UVecBits sign = (u & 0x8000u) << 16, rest = u & 0x7fffu;
  const UVecBits normal = (rest << 13) + (112u << 23);
  const UVecBits special = (rest << 13) | 0x7f800000u;
  const UVecBits small = reinterpret_cast<UVecBits>(__builtin_convertvector(reinterpret_cast<IVec>(rest), Vec) * 0x1p-24f);
  const UVecBits magnitude = rest < 0x400u ? small : rest >= 0x7c00u ? special : normal;
  return reinterpret_cast<Vec>(magnitude | sign);
}

inline Vec loadAs(const float* p) { return load(p); }
inline Vec loadAs(const float* p, int n) { return loadPart(p, n); }
inline Vec loadAs(const Bf16* p) { return bf16Bits(widen(&p->bits, W)); }
inline Vec loadAs(const Bf16* p, int n) { return bf16Bits(widen(&p->bits, n)); }
inline Vec loadAs(const F16* p) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  return f16Bits(widen(&p->bits, W));
#endif
}
inline Vec loadAs(const F16* p, int n) { return f16Bits(widen(&p->bits, n)); }

/// To the nearest bf16, ties to even, kept as f32. NaN stays NaN.
inline Vec roundBf16(Vec v) {
  const UVecBits u = reinterpret_cast<UVecBits>(v);
  const UVecBits rounded = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
  return reinterpret_cast<Vec>(v != v ? (u | 0x400000u) & 0xffff0000u : rounded);
}

inline float scalarAs(const float* p) { return *p; }
inline float scalarAs(const Bf16* p) { return bf16ToF32(p->bits); }
inline float scalarAs(const F16* p) { return f16Bits(UVecBits{} + p->bits)[0]; }

/// Calls f with a pointer of the view's storage type.
template <class F> decltype(auto) withStorage(DType dtype, const void* data, F&& f) {
  if (dtype == DType::bf16) return f(static_cast<const Bf16*>(data));
  if (dtype == DType::f16) return f(static_cast<const F16*>(data));
  return f(static_cast<const float*>(data));
}
inline int64_t storageBytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

}  // namespace qkv::QKV_ISA
