// Rotary position embedding: each pair of channels (a, b) is turned by its position's angle to (a·cos − b·sin, b·cos + a·sin).  Su et al. 2021, §3.4.2
#include "strided.h"

namespace qkv::QKV_ISA {
namespace {

/// Pairs (i, i + P).
void turnHalves(const float* x, float* y, const float* cosine, const float* sine, float sign, int64_t P) {
  eachVector(P, [&](int64_t i, auto vector) {
    const Vec a = vector.get(x + i), b = vector.get(x + P + i), c = vector.get(cosine + i), s = vector.get(sine + i) * sign;
    vector.put(y + i, a * c - b * s);
    vector.put(y + P + i, b * c + a * s);
  });
}
/// Pairs (2i, 2i + 1).
void turnNeighbours(const float* x, float* y, const float* cosine, const float* sine, float sign, int64_t P) {
  for (int64_t i = 0; i < P; i++) {
    const float a = x[2 * i], b = x[2 * i + 1], c = cosine[i], s = sine[i] * sign;
    y[2 * i] = a * c - b * s;
    y[2 * i + 1] = b * c + a * s;
  }
}

}  // namespace

void rope(const Args& args) {
  const Rows x(args.in[0]), y(args.out[0]);
  const float *cosine = args.in[1].f(), *sine = args.in[2].f();
  const int64_t T = args.in[0].shape[2], D = x.C, P = args.in[1].shape[1];
  const bool interleaved = args.opt[0] != 0;
  const float sign = args.opt[1] != 0 ? -1.f : 1.f;
  parallelFor(x.R, x.grain(2), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const float* from = x[r];
      float* to = y[r];
      const int64_t t = r % T;
      (interleaved ? turnNeighbours : turnHalves)(from, to, cosine + t * P, sine + t * P, sign, P);
      if (to != from && D > 2 * P) std::memcpy(to + 2 * P, from + 2 * P, static_cast<size_t>(D - 2 * P) * 4);
    }
  });
}

}  // namespace qkv::QKV_ISA
