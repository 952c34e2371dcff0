// Rows of x in 8 bits a number, so that a product with a quantised matrix sums whole numbers (quantised.h).
#pragma once
#include <algorithm>
#include <cmath>

#include "quantised.h"

namespace qkv::QKV_ISA {

/// Rows of x in 8 bits: codes (T, K), and for each block its scale and 8·Σ codes, which is what codes of four bits, kept 8 too large, add too much.
struct Rounded {
  int8_t* codes;
  float* scales;
  int32_t* eights;
  int64_t ld;  // codes a row
  int8_t* row(int64_t t) const { return codes + t * ld; }
};

inline Rounded roundedRoom(int64_t rows, int64_t K, float* area) {
  const int64_t blocks = rows * K / kBlock;
  return {reinterpret_cast<int8_t*>(area + 2 * blocks), area, reinterpret_cast<int32_t*>(area + blocks), K};
}
inline int64_t roundedFloats(int64_t rows, int64_t K) { return rows * (K / kBlock * 2 + K / 4); }

/// The nearest whole numbers, ties to even. (Not by adding 1.5·2²³: the compiler would join that addition with the product before it on some machines only.)
inline IVec nearest(Vec v) {
#if defined(__AVX512F__)
  return reinterpret_cast<IVec>(_mm512_cvtps_epi32(v));
#elif defined(__AVX2__)
  return reinterpret_cast<IVec>(_mm256_cvtps_epi32(v));
#elif defined(__x86_64__)
  return reinterpret_cast<IVec>(_mm_cvtps_epi32(v));
#elif defined(__aarch64__)
  return vcvtnq_s32_f32(v);
#else
  IVec n;
  for (int i = 0; i < W; i++) n[i] = static_cast<int32_t>(std::nearbyint(v[i]));
  return n;
#endif
}

/// Below this the largest number of a block counts as zero.
constexpr float kLeast = 1e-30f;

/// code = round(x·127/max|x|), ties to even; scale = max|x|/127. A block with a NaN or ∞ gets a NaN for a scale, so that the product tells.
inline void roundRow(const float* x, int64_t K, const Rounded& to, int64_t t) {
  const int64_t blocks = K / kBlock;
  for (int64_t b = 0; b < blocks; b++) {
    const float* const v = x + b * kBlock;
    float& scale = to.scales[t * blocks + b];
    int32_t& eight = to.eights[t * blocks + b];
    int8_t* const codes = to.row(t) + b * kBlock;
    Vec top{}, wrong{};
    for (int i = 0; i < kBlock; i += W) {
      const Vec a = load(v + i);
      top = vmax(top, vabs(a));
      wrong += a - a;  // 0, or NaN
    }
    const float most = hmax(top);
    const bool bad = hsum(wrong) != 0.f;
    if (bad || most < kLeast) {
      scale = bad ? NAN : 0.f;
      eight = 0;
      std::fill_n(codes, kBlock, int8_t{0});
      continue;
    }
    const float inverse = 127.f / most;
    int32_t whole[kBlock];
    for (int i = 0; i < kBlock; i += W) *reinterpret_cast<IVecU*>(whole + i) = nearest(load(v + i) * inverse);
    int32_t sum = 0;
    for (int i = 0; i < kBlock; i++) {
      codes[i] = static_cast<int8_t>(whole[i]);
      sum += whole[i];
    }
    scale = most / 127.f;
    eight = 8 * sum;
  }
}

}  // namespace qkv::QKV_ISA
