// y[i] = f(x[i], …): unary, unaryBackward, binary, affine, where, swiglu and its backward.
// NaN passes through everything, max, min and relu included, as in the reference; comparisons with NaN are false (ne: true).
#include "strided.h"
#include "vector-math.h"

namespace qkv::QKV_ISA {
namespace {

constexpr int64_t kLibmGrain = 2048;  // a scalar call a lane

/// y = f(x) or y = f(a, b), whichever f takes. f must be a lambda: a function by its name would be called through a pointer, vector by vector.
template <class F> void apply(const Args& a, F f, int64_t grain = kGrain) {
  if constexpr (std::is_invocable_v<F, Vec>)
    forBlocks({&a.out[0]}, {&a.in[0]}, grain, [&](const Block& b) { map(b.out[0], b.n, b.stream, f, b.in[0]); });
  else
    forBlocks({&a.out[0]}, {&a.in[0], &a.in[1]}, grain, [&](const Block& b) { map(b.out[0], b.n, b.stream, f, b.in[0], b.in[1]); });
}

/// f of the C library, lane by lane.
template <class F> Vec eachLane(F f, Vec x) {
  Vec y;
  for (int i = 0; i < W; i++) y[i] = f(x[i]);
  return y;
}
Vec vsin(Vec x) {
  return eachLane([](float v) { return std::sin(v); }, x);
}
Vec vcos(Vec x) {
  return eachLane([](float v) { return std::cos(v); }, x);
}
/// aᵇ with JavaScript's two differences from C: 1 or −1 to ±∞, and anything to NaN, are NaN.
float power(float a, float b) { return b != b || (std::isinf(b) && std::fabs(a) == 1.f) ? NAN : std::pow(a, b); }
Vec vpow(Vec a, Vec b) {
  Vec y;
  for (int i = 0; i < W; i++) y[i] = power(a[i], b[i]);
  return y;
}
Vec truth(IVec mask) { return mask ? set1(1.f) : Vec{}; }

}  // namespace

void unary(const Args& a) {
  switch (static_cast<int>(a.opt[0])) {  // the order of unaryFns in backend.ts
    case 0: return apply(a, [](Vec x) { return -x; });
    case 1: return apply(a, [](Vec x) { return vabs(x); });
    case 2: return apply(a, [](Vec x) { return vexp(x); });
    case 3: return apply(a, [](Vec x) { return vlog(x); });
    case 4: return apply(a, [](Vec x) { return vsqrt(x); });
    case 5: return apply(a, [](Vec x) { return 1.f / vsqrt(x); });
    case 6: return apply(a, [](Vec x) { return x * x; });
    case 7: return apply(a, [](Vec x) { return 1.f / x; });
    case 8: return apply(a, [](Vec x) { return vsin(x); }, kLibmGrain);
    case 9: return apply(a, [](Vec x) { return vcos(x); }, kLibmGrain);
    case 10: return apply(a, [](Vec x) { return tanh(x); });
    case 11: return apply(a, [](Vec x) { return sigmoid(x); });
    case 12: return apply(a, [](Vec x) { return x < 0.f ? Vec{} : x; });
    case 13: return apply(a, [](Vec x) { return silu(x); });
    case 14: return apply(a, [](Vec x) { return gelu(x); });
    case 15: return apply(a, [](Vec x) { return geluTanh(x); });
    case 16: return apply(a, [](Vec x) { return erf(x); });
    case 17: return apply(a, [](Vec x) { return vsign(x); });
    case 18: return apply(a, [](Vec x) { return vfloor(x); });
  }
}

/// dx = dy·f′(x)
void unaryBackward(const Args& a) {
  switch (static_cast<int>(a.opt[0])) {
    case 0: return apply(a, [](Vec dy, Vec) { return -dy; });
    case 1: return apply(a, [](Vec dy, Vec x) { return dy * vsign(x); });
    case 2: return apply(a, [](Vec dy, Vec x) { return dy * vexp(x); });
    case 3: return apply(a, [](Vec dy, Vec x) { return dy / x; });
    case 4: return apply(a, [](Vec dy, Vec x) { return dy * 0.5f / vsqrt(x); });
    case 5: return apply(a, [](Vec dy, Vec x) { return dy * -0.5f / (x * vsqrt(x)); });
    case 6: return apply(a, [](Vec dy, Vec x) { return dy * 2.f * x; });
    case 7: return apply(a, [](Vec dy, Vec x) { return -dy / (x * x); });
    case 8: return apply(a, [](Vec dy, Vec x) { return dy * vcos(x); }, kLibmGrain);
    case 9: return apply(a, [](Vec dy, Vec x) { return -dy * vsin(x); }, kLibmGrain);
    case 10:
      return apply(a, [](Vec dy, Vec x) {  // 1 − tanh² = 4e/(1 + e)², e = exp(−2|x|): no digits cancel
        const Vec e = expTo88(vabs(x) * -2.f), d = 1.f + e;
        return dy * 4.f * e / (d * d);
      });
    case 11:
      return apply(a, [](Vec dy, Vec x) {  // σ(1 − σ) = e/(1 + e)², e = exp(−|x|)
        const Vec e = expTo88(-vabs(x)), d = 1.f + e;
        return dy * e / (d * d);
      });
    case 12: return apply(a, [](Vec dy, Vec x) { return dy * (x > 0.f ? set1(1.f) : Vec{}); });
    case 13: return apply(a, [](Vec dy, Vec x) { return dy * siluSlope(x); });
    case 14: return apply(a, [](Vec dy, Vec x) { return dy * geluSlope(x); });
    case 15: return apply(a, [](Vec dy, Vec x) { return dy * geluTanhSlope(x); });
    case 16: return apply(a, [](Vec dy, Vec x) { return dy * 1.12837917f * expTo88(-x * x); });  // 2/√π
    case 17:
    case 18: return apply(a, [](Vec dy, Vec) { return dy * 0.f; });
  }
}

void binary(const Args& args) {
  switch (static_cast<int>(args.opt[0])) {  // the order of binaryFns in backend.ts
    case 0: return apply(args, [](Vec a, Vec b) { return a + b; });
    case 1: return apply(args, [](Vec a, Vec b) { return a - b; });
    case 2: return apply(args, [](Vec a, Vec b) { return a * b; });
    case 3: return apply(args, [](Vec a, Vec b) { return a / b; });
    case 4: return apply(args, [](Vec a, Vec b) { return vpow(a, b); }, kLibmGrain);
    case 5: return apply(args, [](Vec a, Vec b) { return maxNaN(a, b); });
    case 6: return apply(args, [](Vec a, Vec b) { return minNaN(a, b); });
    case 7: return apply(args, [](Vec a, Vec b) { return truth(a == b); });
    case 8: return apply(args, [](Vec a, Vec b) { return truth(a != b); });
    case 9: return apply(args, [](Vec a, Vec b) { return truth(a < b); });
    case 10: return apply(args, [](Vec a, Vec b) { return truth(a <= b); });
    case 11: return apply(args, [](Vec a, Vec b) { return truth(a > b); });
    case 12: return apply(args, [](Vec a, Vec b) { return truth(a >= b); });
  }
}

void affine(const Args& a) {
  const Vec scale = set1(static_cast<float>(a.opt[0])), shift = set1(static_cast<float>(a.opt[1]));
  apply(a, [=](Vec x) { return scale * x + shift; });
}

void where(const Args& a) {
  // The condition arrives as 32-bit words: an f32's sign bit is dropped, so that −0 is false.
  const IVec mask = iset1(a.in[0].dtype == DType::f32 ? 0x7fffffff : -1);
  forBlocks({&a.out[0]}, {&a.in[0], &a.in[1], &a.in[2]}, kGrain, [&](const Block& b) {
    map(b.out[0], b.n, b.stream, [=](Vec c, Vec x, Vec y) { return (floatToBits(c) & mask) != 0 ? x : y; }, b.in[0], b.in[1], b.in[2]);
  });
}

/// y = silu(gate)·up.  Shazeer 2020
void swiglu(const Args& a) {
  forBlocks({&a.out[0]}, {&a.in[0], &a.in[1]}, kGrain, [](const Block& b) {
    map(b.out[0], b.n, b.stream, [](Vec gate, Vec up) { return silu(gate) * up; }, b.in[0], b.in[1]);
  });
}
/// dgate = dy·up·silu′(gate), dup = dy·silu(gate)
void swigluBackward(const Args& a) {
  forBlocks({&a.out[0], &a.out[1]}, {&a.in[0], &a.in[1], &a.in[2]}, kGrain, [](const Block& b) {
    eachVector(b.n, [&](int64_t i, auto vector) {
      const Vec dy = vector.get(b.in[0] + i), gate = vector.get(b.in[1] + i), up = vector.get(b.in[2] + i), s = sigmoid(gate);
      vector.put(b.out[0] + i, dy * up * (s * (1.f + gate * (1.f - s))));
      vector.put(b.out[1] + i, dy * (gate * s));
    });
  });
}

}  // namespace qkv::QKV_ISA
