// LayerNorm and RMSNorm. Forward: a row at a time, in the cache between its passes. Backward: the weight's gradient is a sum over all rows; every group of
// rows (cut by the shape alone) leaves a partial row in scratch, and these are added in order: the same bits for any number of threads.
#include "strided.h"
#include "vector-math.h"

namespace qkv::QKV_ISA {
namespace {

bool large(const Rows& y) { return y.R * y.C * 4 >= kStreamBytes; }
void fence([[maybe_unused]] bool stream) {
#if defined(__x86_64__)
  if (stream) _mm_sfence();
#endif
}

/// Rows of one partial sum: about 32 groups, none of more than 256 rows or of too little work.
int64_t groupRows(int64_t R, int64_t C) { return std::max<int64_t>({1, kGrain / std::max<int64_t>(1, C), std::min<int64_t>(256, R / 32)}); }

/// Sums that grow by a row at a time: `partial` in f32, moved into f64 before it has taken too many rows to be exact.
class Accumulator {
 public:
  Accumulator(int thread, float* row, int64_t width) : partial(row), total(reinterpret_cast<double*>(scratch(thread, 0, 2 * width))), n(width) {
    std::fill_n(partial, n, 0.f);
    std::fill_n(total, n, 0.0);
  }
  void rowAdded() {
    if (++rows % 32 != 0) return;
    for (int64_t i = 0; i < n; i++) total[i] += static_cast<double>(partial[i]);
    std::fill_n(partial, n, 0.f);
  }
  void finish() {
    for (int64_t i = 0; i < n; i++) partial[i] = static_cast<float>(total[i] + static_cast<double>(partial[i]));
  }

 private:
  float* partial;
  double* total;
  int64_t n, rows = 0;
};

/// y[c] = Σ partial[g][c] over the groups in order, in f64.
void addGroups(const float* partial, int64_t groups, int64_t stride, int64_t C, float* y) {
  parallelFor(C, std::max<int64_t>(64, kGrain / std::max<int64_t>(1, groups)), [&](int64_t begin, int64_t end, int) {
    constexpr int64_t kBlock = 256;
    double total[kBlock];
    for (int64_t c = begin; c < end; c += kBlock) {
      const int64_t n = std::min(kBlock, end - c);
      std::fill_n(total, n, 0.0);
      for (int64_t g = 0; g < groups; g++)
        for (int64_t i = 0; i < n; i++) total[i] += static_cast<double>(partial[g * stride + c + i]);
      for (int64_t i = 0; i < n; i++) y[c + i] = static_cast<float>(total[i]);
    }
  });
}

}  // namespace

/// Ba, Kiros & Hinton 2016
void layerNorm(const Args& a) {
  const Rows x(a.in[0]), y(a.out[0]);
  const float *w = a.in[1].f(), *b = a.nIn > 2 && a.in[2].present() ? a.in[2].f() : nullptr;
  float *mean = a.out[1].f(), *rstd = a.out[2].f();
  const double eps = a.opt[0], C = static_cast<double>(x.C);
  const bool stream = large(y);
  parallelFor(x.R, x.grain(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x[r];
      if (r + 1 < end) prefetch(x[r + 1], x.C);
      const float m = static_cast<float>(sumOf(x.C, [](Vec v) { return v; }, row) / C);
      const double variance = sumOf(x.C, [=](Vec v) { return (v - m) * (v - m); }, row) / C;
      const float s = static_cast<float>(1 / std::sqrt(variance + eps));
      if (b) map(y[r], x.C, stream, [=](Vec v, Vec g, Vec h) { return (v - m) * s * g + h; }, row, w, b);
      else map(y[r], x.C, stream, [=](Vec v, Vec g) { return (v - m) * s * g; }, row, w);
      mean[r] = m;
      rstd[r] = s;
    }
    fence(stream);
  });
}

/// x̂ = (x − mean)·rstd, g = dy·weight:  dx = rstd·(g − mean(g) − x̂·mean(g·x̂)),  dweight = Σ dy·x̂,  dbias = Σ dy
void layerNormBackward(const Args& a) {
  const Rows dy(a.in[0]), x(a.in[1]), dx(a.out[0]);
  const float *w = a.in[2].f(), *mean = a.in[3].f(), *rstd = a.in[4].f();
  const bool hasBias = a.nOut > 2 && a.out[2].present();
  const int64_t R = x.R, C = x.C, perGroup = groupRows(R, C), groups = (R + perGroup - 1) / perGroup;
  float* partial = sharedScratch(0, groups * 2 * C);  // (groups, 2, C): dweight, dbias
  parallelFor(groups, 1, [&](int64_t first, int64_t last, int thread) {
    for (int64_t group = first; group < last; group++) {
      float *dw = partial + group * 2 * C, *db = dw + C;
      Accumulator sums(thread, dw, 2 * C);
      for (int64_t r = group * perGroup; r < std::min(R, (group + 1) * perGroup); r++) {
        const float *d = dy[r], *v = x[r];
        const float *nextD = dy[std::min(r + 1, R - 1)], *nextX = x[std::min(r + 1, R - 1)];
        float* to = dx[r];
        const float m = mean[r], s = rstd[r], inverse = 1.f / static_cast<float>(C);
        // 1. The two means.
        const float meanG = static_cast<float>(sumOf(C, [](Vec e, Vec g) { return e * g; }, d, w)) * inverse;
        const float meanGx = static_cast<float>(sumOf(C, [=](Vec e, Vec g, Vec u) { return e * g * (u - m); }, d, w, v)) * s * inverse;
        // 2. dx, and this row's share of dweight and dbias.
        eachVector(C, [&](int64_t k, auto vector) {
          __builtin_prefetch(nextD + k);
          __builtin_prefetch(nextX + k);
          const Vec e = vector.get(d + k), n = (vector.get(v + k) - m) * s;
          vector.put(to + k, s * (e * vector.get(w + k) - meanG - n * meanGx));
          vector.put(dw + k, vector.get(dw + k) + e * n);
          vector.put(db + k, vector.get(db + k) + e);
        });
        sums.rowAdded();
      }
      sums.finish();
    }
  });
  addGroups(partial, groups, 2 * C, C, a.out[1].f());
  if (hasBias) addGroups(partial + C, groups, 2 * C, C, a.out[2].f());
}

/// Zhang & Sennrich 2019
void rmsNorm(const Args& a) {
  const Rows x(a.in[0]), y(a.out[0]);
  const float *w = a.in[1].f(), offset = static_cast<float>(a.opt[1]);
  float* rstd = a.out[1].f();
  const double eps = a.opt[0], C = static_cast<double>(x.C);
  const bool stream = large(y);
  parallelFor(x.R, x.grain(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x[r];
      if (r + 1 < end) prefetch(x[r + 1], x.C);
      const float s = static_cast<float>(1 / std::sqrt(sumOf(x.C, [](Vec v) { return v * v; }, row) / C + eps));
      map(y[r], x.C, stream, [=](Vec v, Vec g) { return v * s * (g + offset); }, row, w);
      rstd[r] = s;
    }
    fence(stream);
  });
}

/// x̂ = x·rstd, g = dy·(weight + offset):  dx = rstd·(g − x̂·mean(g·x̂)),  dweight = Σ dy·x̂
void rmsNormBackward(const Args& a) {
  const Rows dy(a.in[0]), x(a.in[1]), dx(a.out[0]);
  const float *w = a.in[2].f(), *rstd = a.in[3].f(), offset = static_cast<float>(a.opt[0]);
  const int64_t R = x.R, C = x.C, perGroup = groupRows(R, C), groups = (R + perGroup - 1) / perGroup;
  float* partial = sharedScratch(0, groups * C);
  parallelFor(groups, 1, [&](int64_t first, int64_t last, int thread) {
    for (int64_t group = first; group < last; group++) {
      float* dw = partial + group * C;
      Accumulator sums(thread, dw, C);
      for (int64_t r = group * perGroup; r < std::min(R, (group + 1) * perGroup); r++) {
        const float *d = dy[r], *v = x[r], s = rstd[r];
        const float *nextD = dy[std::min(r + 1, R - 1)], *nextX = x[std::min(r + 1, R - 1)];
        float* to = dx[r];
        const double dot = sumOf(C, [=](Vec e, Vec u, Vec g) { return e * u * (g + offset); }, d, v, w);
        const float pull = static_cast<float>(dot * static_cast<double>(s) / static_cast<double>(C)) * s;  // rstd·mean(g·x̂)
        eachVector(C, [&](int64_t k, auto vector) {
          __builtin_prefetch(nextD + k);
          __builtin_prefetch(nextX + k);
          const Vec e = vector.get(d + k), u = vector.get(v + k);
          vector.put(to + k, s * (e * (vector.get(w + k) + offset) - u * pull));
          vector.put(dw + k, vector.get(dw + k) + e * (u * s));
        });
        sums.rowAdded();
      }
      sums.finish();
    }
  });
  addGroups(partial, groups, C, C, a.out[1].f());
}

}  // namespace qkv::QKV_ISA
