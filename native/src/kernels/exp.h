// eˣ for the arguments of a softmax: scores minus their maximum or minus their log-sum-exp, so never far above 0.
#pragma once
#include "../vector-math.h"

namespace qkv::QKV_ISA {

/// eˣ for −∞ ≤ x ≤ 80 with an error below 1.5 ulp (every f32 of [−87, 0] was tried). x ≤ −88 gives exactly 0, so a masked score (−∞) weighs
/// nothing; NaN stays NaN. Half the work of vexp: no upper clamp, one scale factor, degree 6.
///
///   n = round(x / ln 2), r = x − n·ln 2 (Cody & Waite),  eˣ = 2ⁿ·(1 + r + r²·q(r)),
///   q interpolates (eʳ − 1 − r)/r² at the five Chebyshev nodes of |r| ≤ ln 2 / 2: relative error 1.0e−8.
inline Vec expOfScore(Vec x) {
  x = vmax(set1(-88.f), x);  // n = −127 there, whose 2ⁿ is 0
  constexpr float kRound = 12582912.f + 127.f;  // 1.5·2²³ + bias: the sum's low bits hold n + 127, one shift away from the bits of 2ⁿ
  const Vec t = x * 1.44269504f + kRound;
  const Vec n = t - kRound;
  Vec r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Vec q = set1(1.39263251e-3f);
  q = q * r + 8.36329275e-3f;
  q = q * r + 4.16665538e-2f;
  q = q * r + 1.66665763e-1f;
  q = q * r + 0.5f;
  const Vec p = q * (r * r) + (r + 1.f);
  const Vec power = reinterpret_cast<Vec>(reinterpret_cast<UVec>(t) << 23);
  return p * power;
}

}  // namespace qkv::QKV_ISA
