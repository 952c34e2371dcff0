// Elementary functions on Vec. Coefficients without a source are minimax fits made for this file (weighted least squares, Lawson's weights); the error
// given beside them is the fit's own, relative, and f32 rounding adds 1 to 3 units in the last place.
#pragma once
#include "simd.h"

namespace qkv::QKV_ISA {

typedef uint32_t UVec __attribute__((vector_size(W * 4)));

inline Vec bitsToFloat(IVec v) { return reinterpret_cast<Vec>(v); }
inline IVec floatToBits(Vec v) { return reinterpret_cast<IVec>(v); }
inline IVec lanes() {  // 0, 1, 2 …
  IVec v{};
  for (int i = 0; i < W; i++) v[i] = i;
  return v;
}
/// The first n lanes of v; the others are `fill`.
inline Vec firstLanes(Vec v, int n, float fill) { return lanes() < iset1(n) ? v : set1(fill); }
/// The larger one; NaN when either is. (vmax gives b when either is NaN.)
inline Vec maxNaN(Vec a, Vec b) {
  const Vec m = vmax(a, b);
  return a != a ? a : m;
}
inline Vec minNaN(Vec a, Vec b) {
  const Vec m = vmin(a, b);
  return a != a ? a : m;
}
/// −1, 0 or 1; NaN stays.
inline Vec vsign(Vec x) {
  const Vec s = x > 0.f ? set1(1.f) : x;
  return x < 0.f ? set1(-1.f) : s;
}
inline Vec vfloor(Vec x) {
#if defined(__AVX512F__)
  return _mm512_maskz_roundscale_ps(static_cast<__mmask16>(-1), x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return _mm256_floor_ps(x);
#elif defined(__aarch64__)
  return vrndmq_f32(x);
#else
  Vec y;
  for (int i = 0; i < W; i++) y[i] = std::floor(x[i]);
  return y;
#endif
}

/// Any lane set?
inline bool anyLane(IVec mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(bitsToFloat(mask)) != 0;
#elif defined(__x86_64__)
  return _mm_movemask_ps(bitsToFloat(mask)) != 0;
#else
  return vmaxvq_u32(reinterpret_cast<uint32x4_t>(mask)) != 0;
#endif
}

/// e^(x·s) for −88 ≤ x·s ≤ 88, exactly 0 at −88; NaN stays. 1e-7, and where there is no FMA |x·s|·6e-8.
/// n = round(x·s / ln 2) appears, with the exponent's bias, in the low bits of a float near 1.5·2²³: shifted left by 23 they are 2ⁿ, or 0 for n = −127.
inline Vec expScaled(Vec x, float s) {
  const Vec magic = set1(12582912.f + 127.f);
  const float k = s * 1.44269504f;
  const Vec t = x * k + magic;
  const Vec r = x * k - (t - magic), r2 = r * r;  // |r| ≤ 1/2
  const Vec low = r * 0.240222421f + 0.693146978f, high = r * 0.00967151136f + 0.055507336f;  // (2ʳ − 1) / r
  const Vec p = ((r2 * 0.00132647663f + high) * r2 + low) * r + 1.f;
  return p * bitsToFloat(floatToBits(t) << 23);
}
/// eˣ for x ≤ 88 (not checked: see vexp of simd.h for any x). Exactly 0 from −88 down, −∞ included; NaN stays.
inline Vec expTo88(Vec x) { return expScaled(vmax(set1(-88.f), x), 1.f); }

/// 1 / (1 + e⁻ˣ)
inline Vec sigmoid(Vec x) { return 1.f / (1.f + expScaled(vmin(set1(88.f), vmax(set1(-88.f), x)), -1.f)); }

/// tanh x = x·P(x²)/Q(x²) for |x| ≤ 9, ±1 beyond. 2e-8
inline Vec tanh(Vec x) {
  const Vec c = vmin(set1(9.f), vmax(set1(-9.f), x)), t = c * c;
  Vec p = set1(1.33546819e-8f), q = set1(7.77656739e-7f);
  p = p * t + 2.06090995e-5f;
  q = q * t + 0.000328563662f;
  p = p * t + 0.00349558927f;
  q = q * t + 0.0258769867f;
  p = p * t + 0.133810266f;
  q = q * t + 0.467143422f;
  p = p * t + 0.999999979f;
  q = q * t + 1.f;
  return vmin(set1(1.f), vmax(set1(-1.f), c * p / q));
}

/// ln x. x = m·2ᵉ with m in [√½, √2), f = m − 1: ln m = f − f²/2 + f³·P(f), 6e-9. Denormals count as zero.
inline Vec vlog(Vec x) {
  const IVec shifted = reinterpret_cast<IVec>(reinterpret_cast<UVec>(x) - 0x3f3504f3u);  // √½; unsigned: any bits may come, and wrap
  const IVec exponent = shifted >> 23;
  const Vec e = __builtin_convertvector(exponent, Vec);
  const Vec f = reinterpret_cast<Vec>(reinterpret_cast<UVec>(x) - (reinterpret_cast<UVec>(exponent) << 23)) - 1.f;
  Vec p = set1(-0.0763449302f);
  p = p * f + 0.127615756f;
  p = p * f + -0.131601831f;
  p = p * f + 0.142017582f;
  p = p * f + -0.166233573f;
  p = p * f + 0.200012269f;
  p = p * f + -0.25000821f;
  p = p * f + 0.333333317f;
  const Vec f2 = f * f;
  Vec y = (f2 * f) * p + e * -2.12194440e-4f;
  y = y - 0.5f * f2;
  y = (y + f) + e * 0.693359375f;
  y = x < INFINITY ? y : x;
  y = x < 0.f ? set1(NAN) : y;
  return x == 0.f ? set1(-INFINITY) : y;
}

/// x·P(x²)/Q(x²), x² cut at `limit`², the result at ±½: a sigmoid curve through 0. P = p₀ + p₁t + …, Q = 1 + q₁t + …
struct Sigmoidal {
  float limit, p[6], q[6];
  Vec operator()(Vec x) const {
    const Vec t = vmin(set1(limit * limit), x * x);
    Vec above = set1(p[5]), below = set1(q[5]);
#pragma GCC unroll 5
    for (int i = 4; i >= 0; i--) {
      above = above * t + p[i];
      below = below * t + q[i];
    }
    return vmin(set1(0.5f), vmax(set1(-0.5f), x * above / below));
  }
};
/// Φ(x) − ½, 2e-8
constexpr Sigmoidal gaussianHalf{5.5f,
                                 {0.398942274f, 0.0334585856f, 0.00465146266f, 0.000164570586f, 6.30156419e-6f, 2.29313567e-8f},
                                 {1.f, 0.250534638f, 0.0284159529f, 0.00186062798f, 7.21660009e-5f, 1.19903231e-6f}};
/// ½·tanh(√(2/π)·(x + 0.044715 x³)), 2e-8
constexpr Sigmoidal tanhHalf{5.2f,
                             {0.398942287f, 0.0307165884f, 0.00364341888f, 0.000135615702f, 6.9865008e-6f, 2.33158264e-8f},
                             {1.f, 0.244486969f, 0.0245097691f, 0.00131012686f, 7.60422346e-5f, 1.28945592e-6f}};

inline Vec erf(Vec x) { return 2.f * gaussianHalf(x * 1.41421356f); }
/// x·Φ(x).  Hendrycks & Gimpel 2016
inline Vec gelu(Vec x) { return x * gaussianHalf(x) + 0.5f * x; }
/// Φ(x) + x·φ(x)
inline Vec geluSlope(Vec x) {
  const Vec t = vmin(set1(13.26f * 13.26f), x * x);                          // e^(−t/2) is 0 there
  return 0.5f + gaussianHalf(x) + x * (expScaled(t, -0.5f) * 0.398942280f);  // 1/√(2π)
}
/// x·(½ + h), h = ½ tanh u, u = √(2/π)·(x + 0.044715 x³)
inline Vec geluTanh(Vec x) { return x * tanhHalf(x) + 0.5f * x; }
/// ½ + h + x·h′, h′ = (½ − 2h²)·u′
inline Vec geluTanhSlope(Vec x) {
  const Vec h = tanhHalf(x);
  return 0.5f + h + x * (0.25f - h * h) * (1.59576912f + 0.214064449f * (x * x));  // 2u′
}

inline Vec silu(Vec x) { return x * sigmoid(x); }
inline Vec siluSlope(Vec x) {
  const Vec s = sigmoid(x);
  return s * (1.f + x * (1.f - s));
}

}  // namespace qkv::QKV_ISA
