// Kernels over all parameters at once: globalNorm and adamW. The tensors are cut into pieces, and one parallel loop runs over the pieces of all of them.
#include <vector>

#include "strided.h"

namespace qkv::QKV_ISA {
namespace {

constexpr int64_t kPiece = 65536;  // long enough for the prefetcher to run, short enough to share a small model between threads

struct Piece {
  int tensor;
  int64_t begin, end;
};
/// Pieces of the tensors views[0], views[step], …
std::vector<Piece> piecesOf(const View* views, int count, int step) {
  std::vector<Piece> pieces;
  for (int t = 0; t < count; t++) {
    const int64_t n = views[t * step].size();
    for (int64_t i = 0; i < n; i += kPiece) pieces.push_back({t, i, std::min(n, i + kPiece)});
  }
  return pieces;
}
/// Pieces a chunk: many small tensors (biases, norms) go together.
int64_t grainOf(const std::vector<Piece>& pieces) {
  int64_t total = 0;
  for (const Piece& p : pieces) total += p.end - p.begin;
  return std::max<int64_t>(1, kGrain * static_cast<int64_t>(pieces.size()) / std::max<int64_t>(1, total));
}

}  // namespace

/// √Σ x² over all tensors: f32 within a block, f64 between blocks, pieces in order.
void globalNorm(const Args& a) {
  const std::vector<Piece> pieces = piecesOf(a.in, a.nIn, 1);
  std::vector<double> sums(pieces.size());
  parallelFor(static_cast<int64_t>(pieces.size()), grainOf(pieces), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const Piece& p = pieces[static_cast<size_t>(i)];
      const float* x = a.in[p.tensor].f() + p.begin;
      double s = sumOf(p.end - p.begin, [](Vec v) { return v * v; }, x);
      if (std::isinf(s)) {  // squares past 3·10³⁸: once more, wide
        s = 0;
        for (int64_t k = 0; k < p.end - p.begin; k++) s += static_cast<double>(x[k]) * static_cast<double>(x[k]);
      }
      sums[static_cast<size_t>(i)] = s;
    }
  });
  double total = 0;
  for (const double s : sums) total += s;
  *a.out[0].f() = static_cast<float>(std::sqrt(total));
}

/// m = β₁m + (1−β₁)g;  v = β₂v + (1−β₂)g²;  p −= lr·(m/c₁ / (√(v/c₂) + ε) + decay·p),  c = 1 − βᵗ.  Loshchilov & Hutter 2019, alg. 2
void adamW(const Args& a) {
  const double lr = a.opt[0], beta1 = a.opt[1], beta2 = a.opt[2], eps = a.opt[3], weightDecay = a.opt[4], step = a.opt[5], clip = a.opt[6];
  const bool hasNorm = a.opt[7] != 0;
  const double* decays = a.opt + 8;
  const int groups = a.nOpt - 8;
  const double norm = hasNorm ? static_cast<double>(*a.in[a.nIn - 1].f()) : 0;
  if (!std::isfinite(norm)) return;
  const double clipping = clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1;
  const double c1 = 1 - std::pow(beta1, step), c2 = 1 - std::pow(beta2, step);

  const auto f = [](double x) { return set1(static_cast<float>(x)); };
  const Vec scale = f(clipping), b1 = f(beta1), b2 = f(beta2), a1 = f(1 - beta1), a2 = f(1 - beta2);
  const Vec rate = f(lr / c1), root = f(1 / std::sqrt(c2)), epsilon = f(eps);
  const std::vector<Piece> pieces = piecesOf(a.in, groups, 4);
  parallelFor(static_cast<int64_t>(pieces.size()), grainOf(pieces), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const Piece& piece = pieces[static_cast<size_t>(i)];
      const View* group = a.in + 4 * piece.tensor;
      float *p = group[0].f() + piece.begin, *m = group[2].f() + piece.begin, *v = group[3].f() + piece.begin;
      const float* g = group[1].f() + piece.begin;
      const Vec decay = f(decays[piece.tensor] != 0 ? lr * weightDecay : 0);
      eachVector(piece.end - piece.begin, [&](int64_t k, auto vector) {
        const Vec gradient = vector.get(g + k) * scale, x = vector.get(p + k);
        const Vec first = b1 * vector.get(m + k) + a1 * gradient, second = b2 * vector.get(v + k) + a2 * (gradient * gradient);
        vector.put(m + k, first);
        vector.put(v + k, second);
        vector.put(p + k, x - rate * first / (vsqrt(second) * root + epsilon) - decay * x);
      });
    }
  });
}

}  // namespace qkv::QKV_ISA
