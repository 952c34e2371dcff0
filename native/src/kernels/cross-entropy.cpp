// Cross-entropy of logits and targets, alone and fused with the linear layer that makes the logits.   R rows · V vocabulary · C channels
//
//   lse = log Σ exp(l),   loss of a row = (1 − ε)(lse − l[t]) + ε(lse − mean l) + z·lse²
//   ∂loss/∂l[v] = p[v]·(1 + 2z·lse) − (1 − ε)·[v = t] − ε/V,   p = exp(l − lse)
//
// The loss is the mean over the rows whose target is not ignoreIndex (0 when there are none). A row is worked on by one thread while it lies in its cache; sums of
// f32 are kept short and added up in f64; the losses of the rows are added in order, so the bits do not depend on the number of threads.
#include <algorithm>
#include <cmath>

#include "../kernel.h"
#include "../simd.h"
#include "exp.h"
#include "gemm.h"
#include "storage.h"

namespace qkv::QKV_ISA {

namespace {

struct LossOptions {
  int32_t ignoreIndex;
  double smoothing, zLoss;
  explicit LossOptions(const double* opt) : ignoreIndex(static_cast<int32_t>(opt[0])), smoothing(opt[1]), zLoss(opt[2]) {}
};

int64_t countedRows(const int32_t* targets, int64_t R, int32_t ignoreIndex) { return R - std::count(targets, targets + R, ignoreIndex); }

constexpr int64_t kRun = 4096;  // elements summed in f32 before f64 takes over

/// f(place, x) for the vectors of a row; the last one is filled with −∞ and `lanes` says how many of its elements are real.
template <class F> inline void eachVec(const float* row, int64_t begin, int64_t end, F&& f) {
  int64_t i = begin;
  for (; i + W <= end; i += W) f(i, load(row + i), W);
  if (i < end) {
    const int lanes = static_cast<int>(end - i);
    f(i, firstLanes(loadPart(row + i, lanes), lanes, -INFINITY), lanes);
  }
}
inline void storeLanes(float* p, Vec x, int lanes) {
  if (lanes == W)
    store(p, x);
  else
    storePart(p, x, lanes);
}

/// max l; a NaN may be passed over, the sum of exponentials finds it.
float rowMax(const float* row, int64_t V) {
  Vec m[4];
  for (Vec& x : m) x = set1(-INFINITY);
  int64_t i = 0;
  for (; i + 4 * W <= V; i += 4 * W)
    for (int u = 0; u < 4; u++) m[u] = vmax(load(row + i + u * W), m[u]);
  eachVec(row, i, V, [&](int64_t, Vec x, int) { m[0] = vmax(x, m[0]); });
  return hmax(vmax(vmax(m[0], m[1]), vmax(m[2], m[3])));
}

/// Σ exp(l − m); with `keep` the exponentials replace the logits.
template <bool keep> double rowSumExp(float* row, int64_t V, float m) {
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kRun) {
    Vec sum{};
    eachVec(row, begin, std::min(V, begin + kRun), [&](int64_t i, Vec x, int lanes) {
      const Vec e = expOfScore(x - m);
      sum += e;
      if constexpr (keep) storeLanes(row + i, e, lanes);
    });
    total += static_cast<double>(hsum(sum));
  }
  return total;
}

double rowMean(const float* row, int64_t V) {
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kRun) {
    Vec sum{};
    const int64_t end = std::min(V, begin + kRun);
    int64_t i = begin;
    for (; i + W <= end; i += W) sum += load(row + i);
    if (i < end) sum += loadPart(row + i, static_cast<int>(end - i));
    total += static_cast<double>(hsum(sum));
  }
  return total / static_cast<double>(V);
}

/// lse of a row from its maximum and its sum. A row that holds +∞, or nothing but −∞, has that as its lse; one with a NaN has NaN.
double lseOf(const float* row, int64_t V, float m, double sum) {
  if (std::isfinite(m)) return static_cast<double>(m) + std::log(sum);
  for (int64_t v = 0; v < V; v++)
    if (row[v] != row[v]) return NAN;
  return static_cast<double>(m);
}

/// A term with weight 0 is left out, so that a logit of −∞ does no harm there.
double rowLoss(const LossOptions& o, double lse, double targetLogit, double meanLogit) {
  double loss = (1 - o.smoothing) * (lse - targetLogit);
  if (o.smoothing > 0) loss += o.smoothing * (lse - meanLogit);
  if (o.zLoss > 0) loss += o.zLoss * lse * lse;
  return loss;
}

/// to[v] = scale·∂loss/∂l[v], where p[v] = e(v)·share
template <class E> void rowGradient(const LossOptions& o, const float* from, float* to, int64_t V, int32_t target, double lse, double share, double scale, E&& e) {
  const double weight = o.zLoss > 0 ? 1 + 2 * o.zLoss * lse : 1;
  const float f = static_cast<float>(scale * weight * share), floor = static_cast<float>(scale * o.smoothing / static_cast<double>(V));
  eachVec(from, 0, V, [&](int64_t i, Vec x, int lanes) { storeLanes(to + i, e(x) * f - floor, lanes); });
  to[target] -= static_cast<float>(scale * (1 - o.smoothing));
}

/// Rows of one chunk of parallelFor: enough elements to be worth handing out.
int64_t rowGrain(int64_t V) { return std::max<int64_t>(1, 8192 / std::max<int64_t>(V, 1)); }

/// One f64 a row, in the shared scratch of slot 1.
double* rowLosses(int64_t R) { return reinterpret_cast<double*>(sharedScratch(1, 2 * std::max<int64_t>(R, 1))); }

double inOrder(const double* losses, int64_t R) {
  double total = 0;
  for (int64_t r = 0; r < R; r++) total += losses[r];
  return total;
}

struct LogitRows {
  const View& v;
  int64_t R, V;
  explicit LogitRows(const View& view) : v(view), R(1), V(view.shape[view.ndim - 1]) {
    for (int a = 0; a + 1 < view.ndim; a++) R *= view.shape[a];
  }
  float* operator[](int64_t r) const {
    float* p = v.f();
    for (int a = v.ndim - 2; a >= 0; a--) {
      p += r % v.shape[a] * v.stride[a];
      r /= v.shape[a];
    }
    return p;
  }
};

}  // namespace

void crossEntropy(const Args& args) {
  const LogitRows logits(args.in[0]);
  const int32_t* const targets = args.in[1].as<int32_t>();
  float* const lses = args.out[1].f();
  const LossOptions o(args.opt);
  const int64_t R = logits.R, V = logits.V;
  double* const losses = rowLosses(R);
  parallelFor(R, rowGrain(V), [&](int64_t r, int64_t end, int) {
    for (; r < end; r++) {
      float* const row = logits[r];
      const float m = rowMax(row, V);
      const double lse = lseOf(row, V, m, rowSumExp<false>(row, V, m));
      lses[r] = static_cast<float>(lse);
      const bool counts = targets[r] != o.ignoreIndex;
      losses[r] = counts ? rowLoss(o, lse, static_cast<double>(row[targets[r]]), o.smoothing > 0 ? rowMean(row, V) : 0) : 0;
    }
  });
  *args.out[0].f() = static_cast<float>(inOrder(losses, R) / static_cast<double>(std::max<int64_t>(1, countedRows(targets, R, o.ignoreIndex))));
}

void crossEntropyBackward(const Args& args) {
  const LogitRows logits(args.in[1]), dlogits(args.out[0]);
  const int32_t* const targets = args.in[2].as<int32_t>();
  const float* const lses = args.in[3].f();
  const LossOptions o(args.opt);
  const int64_t R = logits.R, V = logits.V;
  const double scale = static_cast<double>(*args.in[0].f()) / static_cast<double>(std::max<int64_t>(1, countedRows(targets, R, o.ignoreIndex)));
  parallelFor(R, rowGrain(V), [&](int64_t r, int64_t end, int) {
    for (; r < end; r++) {
      float* const to = dlogits[r];
      const float lse = lses[r];
      if (targets[r] == o.ignoreIndex)
        std::fill_n(to, V, 0.f);
      else
        rowGradient(o, logits[r], to, V, targets[r], static_cast<double>(lse), 1, scale, [&](Vec x) { return expOfScore(x - lse); });
    }
  });
}

// ---- linear + cross-entropy ----
// loss(x·wᵀ + bias) and, for dloss = 1, dx = dl·w, dw = dlᵀ·x, dbias = Σ_r dl. Chunks of rows: the logits of a chunk are made, turned in place into their own
// gradient, used for both products, and forgotten.

namespace {

constexpr int64_t kChunkFloats = 8 << 20;  // 32 MB of logits at most: about an L3; a smaller chunk would read and write dw, and pack w, more often
constexpr int64_t kMinRows = 64, kMaxRows = 1024;
constexpr int64_t kTerms = 2048;  // of dx at a time

}  // namespace

void linearCrossEntropy(const Args& args) {
  const View &x = args.in[0], &w = args.in[1], &bias = args.in[2];
  const int32_t* const targets = args.in[3].as<int32_t>();
  const auto output = [&](int i) { return i < args.nOut && args.out[i].present() ? args.out + i : nullptr; };
  const View *dx = output(1), *dw = output(2), *dbias = output(3);
  const bool gradients = dx || dw || dbias;
  const LossOptions o(args.opt);
  const bool bf16 = args.opt[3] != 0;
  const int64_t R = x.shape[0], C = x.shape[1], V = w.shape[0];
  const double scale = 1 / static_cast<double>(std::max<int64_t>(1, countedRows(targets, R, o.ignoreIndex)));

  // Chunks of equal size, a multiple of 8 rows.
  const int64_t most = std::clamp(kChunkFloats / std::max<int64_t>(V, 1), kMinRows, kMaxRows);
  const int64_t chunks = std::max<int64_t>(1, (R + most - 1) / most);
  const int64_t rows = std::max<int64_t>(8, ((R + chunks - 1) / chunks + 7) / 8 * 8);
  const int64_t ld = (V + 15) / 16 * 16;  // every row of logits begins on a cache line
  float* const logits = sharedScratch(0, std::min(rows, std::max<int64_t>(R, 1)) * ld);
  double* const losses = rowLosses(R);

  if (R == 0) {
    if (dw) std::fill_n(dw->f(), V * C, 0.f);
    if (dbias) std::fill_n(dbias->f(), V, 0.f);
  }
  for (int64_t r0 = 0; r0 < R; r0 += rows) {
    const int64_t n = std::min(rows, R - r0);
    const bool first = r0 == 0;
    const Matrix xRows{x.f() + r0 * x.stride[0], DType::f32, x.stride[0], 1};
    // 1. l = x·wᵀ + bias
    gemm({.M = n, .N = V, .K = C, .a = xRows, .b = {w.data, w.dtype, 1, w.stride[0]}, .y = logits, .ldy = ld, .bias = bias.present() ? bias.f() : nullptr, .bf16 = bf16});
    // 2. l ← scale·∂loss/∂l, row by row: maximum; exponentials and their sum; the exponentials become the gradient
    parallelFor(n, rowGrain(V), [&](int64_t i, int64_t end, int) {
      for (; i < end; i++) {
        float* const row = logits + i * ld;
        const int32_t target = targets[r0 + i];
        losses[r0 + i] = 0;
        if (target == o.ignoreIndex) {
          if (gradients) std::fill_n(row, V, 0.f);
          continue;
        }
        const float m = rowMax(row, V);
        const double targetLogit = static_cast<double>(row[target]), mean = o.smoothing > 0 ? rowMean(row, V) : 0;
        if (!gradients || !std::isfinite(m)) {
          const double lse = lseOf(row, V, m, rowSumExp<false>(row, V, m));
          losses[r0 + i] = rowLoss(o, lse, targetLogit, mean);
          const float l = static_cast<float>(lse);
          if (gradients) rowGradient(o, row, row, V, target, lse, 1, scale, [&](Vec z) { return expOfScore(z - l); });
          continue;
        }
        const double sum = rowSumExp<true>(row, V, m), lse = static_cast<double>(m) + std::log(sum);
        losses[r0 + i] = rowLoss(o, lse, targetLogit, mean);
        rowGradient(o, row, row, V, target, lse, 1 / sum, scale, [](Vec e) { return e; });
      }
    });
    // 3. dx = l·w   4. dw (+)= lᵀ·x: the first chunk writes, the others add   5. dbias (+)= Σ l
    if (dx)
      for (int64_t v = 0; v < V; v += kTerms)  // a product would pack all of the logits at once: as much memory again
        gemm({.M = n, .N = C, .K = std::min(kTerms, V - v), .a = {logits + v, DType::f32, ld, 1}, .b = {static_cast<const char*>(w.data) + v * w.stride[0] * storageBytes(w.dtype), w.dtype, w.stride[0], 1},
              .y = dx->f() + r0 * dx->stride[0], .ldy = dx->stride[0], .accumulate = v > 0, .bf16 = bf16});
    if (dw)
      gemm({.M = V, .N = C, .K = n, .a = {logits, DType::f32, 1, ld}, .b = xRows, .y = dw->f(), .ldy = dw->stride[0], .accumulate = !first, .bf16 = bf16});
    if (dbias)
      parallelFor(V, 1024, [&](int64_t begin, int64_t end, int) {
        float* const to = dbias->f();
        if (first) std::fill(to + begin, to + end, 0.f);
        for (int64_t i = 0; i < n; i++)
          eachVec(logits + i * ld, begin, end, [&](int64_t at, Vec l, int lanes) {
            if (lanes == W)
              store(to + at, load(to + at) + l);
            else
              storePart(to + at, loadPart(to + at, lanes) + l, lanes);
          });
      });
  }
  *args.out[0].f() = static_cast<float>(inOrder(losses, R) * scale);
}

}  // namespace qkv::QKV_ISA
