// Products with at most eight rows or columns: every element of the large matrix is used so few times that only the speed of memory counts.
//
// Both cases are one: X (T, K) with T ≤ 8 against a matrix Z (N, K), y[t, n] = Σₖ X[t, k]·Z[n, k].
//   dots:  k is contiguous in Z.  A few rows of Z far apart are read at once: one stream does not fill a core's memory pipes.
//   lanes: the same for five to eight rows of X in f32: X is turned, so that a vector holds one k of all of them, and meets a dozen rows of Z; no sum across lanes.
//   axpys: n is contiguous in Z.  Eight rows of Z (eight k) at once, added to sums that stay in the first-level cache.
// The order of the additions depends only on T, K and the strides, never on the threads.
#include <algorithm>
#include <utility>

#include "gemm.h"
#include "storage.h"

namespace qkv::QKV_ISA {
namespace {

constexpr int kThin = 8;

struct Thin {
  int T;
  int64_t N, K;
  Matrix x;               // rows t, columns k
  Matrix z;               // rows n, columns k
  int64_t yT, yN;         // strides of y
  int64_t biasT, biasN;   // strides of the bias: one of them is 0
};
Thin thinOf(const Product& p) {
  if (p.M <= kThin) return {static_cast<int>(p.M), p.N, p.K, p.a, {p.b.data, p.b.dtype, p.b.columnStride, p.b.rowStride}, p.ldy, 1, 0, 1};
  return {static_cast<int>(p.N), p.M, p.K, {p.b.data, p.b.dtype, p.b.columnStride, p.b.rowStride}, p.a, 1, p.ldy, 1, 0};
}

struct Job {
  const Product* p;
  Thin thin;
  const float* x;  // (T padded, K padded to a multiple of W) f32, rounded when bf16 is asked for; turned, (K, 8), for `lanes`
  int64_t ldx;
  bool turned;
  void put(int t, int64_t n, float value) const {
    if (t >= thin.T) return;
    float& y = p->y[t * thin.yT + n * thin.yN];
    if (p->accumulate) value += y;
    if (p->bias) value += p->bias[t * thin.biasT + n * thin.biasN];
    y = value;
  }
};

template <bool rounded, class... A> inline Vec fetch(A... a) {
  const Vec v = loadAs(a...);
  return rounded ? roundBf16(v) : v;
}

/// Rows of Z read at once.
template <int T> constexpr int streams() { return T <= 2 ? 4 : T <= 4 ? 2 : 1; }

/// R rows of Z, `apart` rows from each other, against all T rows of X.
template <int T, int R, bool rounded, class S> void dotRows(const Job& job, const S* z, int64_t n, int64_t apart) {
  // Chains enough to hide the latency of an FMA. The same for the rows that are left over: which ones they are depends on the threads, their bits must not.
  constexpr int U = T * streams<T>() < 6 ? 2 : 1;
  const int64_t K = job.thin.K, stride = job.thin.z.rowStride;
  const S* row[R];
  for (int r = 0; r < R; r++) row[r] = z + (n + r * apart) * stride;
  Vec sum[U][T][R] = {};
  int64_t k = 0;
  for (; k + U * W <= K; k += U * W)
#pragma GCC unroll 2
    for (int u = 0; u < U; u++) {
      Vec w[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) w[r] = fetch<rounded>(row[r] + k + u * W);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        const Vec x = load(job.x + t * job.ldx + k + u * W);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) sum[u][t][r] += x * w[r];
      }
    }
  // Every loop over the sums is unrolled: one that is not keeps them in memory, also in the loop above, which is then three times slower.
  for (; k < K; k += W) {
    const int part = static_cast<int>(std::min<int64_t>(W, K - k));
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const Vec w = fetch<rounded>(row[r] + k, part);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) sum[0][t][r] += load(job.x + t * job.ldx + k) * w;
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++)
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) job.put(t, n + r * apart, hsum(U == 2 ? sum[0][t][r] + sum[U - 1][t][r] : sum[0][t][r]));
}
template <int T, bool rounded, class S> void dots(const Job& job, const S* z, int64_t begin, int64_t end, int) {
  constexpr int R = streams<T>();
  const int64_t apart = (end - begin) / R;
  for (int64_t n = begin; n < begin + apart; n++) dotRows<T, R, rounded>(job, z, n, apart);
  for (int64_t n = begin + apart * R; n < end; n++) dotRows<T, 1, rounded>(job, z, n, 0);
}

// Where a vector has at most as many lanes as X has rows; wider ones would be half empty.
constexpr bool kLanes = W <= kThin;
constexpr int kLaneVectors = kLanes ? kThin / W : 1, kLaneRows = kLaneVectors == 1 ? 12 : 6;

/// R rows of Z, one after the other, against all rows of X, turned: job.x (K, 8).
template <int R> void laneRows(const Job& job, const float* z, int64_t n) {
  const int64_t K = job.thin.K, stride = job.thin.z.rowStride;
  Vec sum[R][kLaneVectors] = {};
  const float *w = z + n * stride, *x = job.x;
  const auto step = [&]() __attribute__((always_inline)) {
    Vec row[kLaneVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kLaneVectors; v++) row[v] = load(x + v * W);
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
      const Vec one = set1(w[r * stride]);
#pragma GCC unroll 2
      for (int v = 0; v < kLaneVectors; v++) sum[r][v] += one * row[v];
    }
    w++;
    x += kThin;
  };
  constexpr int64_t kLine = 16;
  int64_t k = 0;
  for (; k + kLine <= K; k += kLine) {
    // A line of each of the rows after these: rows are too short for the machine to see the next ones coming.
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) __builtin_prefetch(w + (R + r) * stride, 0, 2);
#pragma GCC unroll 2
    for (int i = 0; i < kLine; i++) step();
  }
  for (; k < K; k++) step();
  float sums[R * kLaneVectors * W];
#pragma GCC unroll 12
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < kLaneVectors; v++) store(sums + (r * kLaneVectors + v) * W, sum[r][v]);
  for (int r = 0; r < R; r++)
    for (int t = 0; t < job.thin.T; t++) job.put(t, n + r, sums[r * kThin + t]);
}
void lanes(const Job& job, const float* z, int64_t begin, int64_t end) {
  int64_t n = begin;
  for (; n + kLaneRows <= end; n += kLaneRows) laneRows<kLaneRows>(job, z, n);
  for (; n < end; n++) laneRows<1>(job, z, n);
}

constexpr int kTogether = 8;
template <int T> constexpr int64_t sumColumns() { return T == 1 ? 2048 : T <= 4 ? 1024 : 512; }

/// sum[t][j] += Σ over `rows` ≤ 8 values of k of X[t, k]·Z[k, j]
template <int T, int rows, bool rounded, class S> void addRows(const Job& job, const S* z, int64_t k, int64_t columns, float* sums) {
  const int64_t stride = job.thin.z.columnStride;
  const auto step = [&](int64_t j, auto... part) __attribute__((always_inline)) {
    Vec sum[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) sum[t] = load(sums + t * sumColumns<T>() + j);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      const Vec w = fetch<rounded>(z + (k + r) * stride + j, part...);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) sum[t] += job.x[t * job.ldx + k + r] * w;
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) store(sums + t * sumColumns<T>() + j, sum[t]);
  };
  int64_t j = 0;
  for (; j + W <= columns; j += W) step(j);
  if (j < columns) step(j, static_cast<int>(columns - j));
}
template <int T, bool rounded, class S> void axpys(const Job& job, const S* z, int64_t begin, int64_t end, int thread) {
  constexpr int64_t most = sumColumns<T>();
  float* const sums = scratch(thread, 3, T * most + W);
  for (int64_t n = begin; n < end; n += most) {
    const int64_t columns = std::min(most, end - n), K = job.thin.K;
    std::fill(sums, sums + T * most, 0.f);
    int64_t k = 0;
    for (; k + kTogether <= K; k += kTogether) addRows<T, kTogether, rounded>(job, z + n, k, columns, sums);
    for (; k < K; k++) addRows<T, 1, rounded>(job, z + n, k, columns, sums);
    for (int t = 0; t < job.thin.T; t++)
      for (int64_t j = 0; j < columns; j++) job.put(t, n + j, sums[t * most + j]);
  }
}

template <int T, bool rounded, class S> void run(const Job& job, const S* z, int64_t begin, int64_t end, int thread) {
  if (job.thin.z.columnStride == 1) dots<T, rounded>(job, z, begin, end, thread);
  else axpys<T, rounded>(job, z, begin, end, thread);
}
template <int T> void runStorage(const Job& job, int64_t begin, int64_t end, int thread) {
  const Matrix& z = job.thin.z;
  if (job.turned) lanes(job, static_cast<const float*>(z.data), begin, end);
  else if (z.dtype == DType::bf16) run<T, false>(job, static_cast<const Bf16*>(z.data), begin, end, thread);
  else if (z.dtype == DType::f16 && job.p->bf16) run<T, true>(job, static_cast<const F16*>(z.data), begin, end, thread);
  else if (z.dtype == DType::f16) run<T, false>(job, static_cast<const F16*>(z.data), begin, end, thread);
  else if (job.p->bf16) run<T, true>(job, static_cast<const float*>(z.data), begin, end, thread);
  else run<T, false>(job, static_cast<const float*>(z.data), begin, end, thread);
}

}  // namespace

bool isThin(const Product& p) {
  if (p.M > kThin && p.N > kThin) return false;
  const Thin t = thinOf(p);
  return t.z.columnStride == 1 || t.z.rowStride == 1;
}

void thinProduct(const Product& p, int thread) {
  Job job{&p, thinOf(p), nullptr, (p.K + W - 1) / W * W, false};
  const Thin& thin = job.thin;
  // A dozen rows a multiple of 4 KB apart do not fit the first-level cache together: they all fall into the same places.
  job.turned = kLanes && thin.T > 4 && thin.z.columnStride == 1 && thin.z.rowStride % 1024 != 0 && thin.z.dtype == DType::f32 && !p.bf16;
  const int padded = thin.T <= 4 ? thin.T : thin.T <= 6 && !job.turned ? 6 : kThin;
  float* const x = thread < 0 ? sharedScratch(2, padded * job.ldx) : scratch(thread, 2, padded * job.ldx);
  job.x = x;
  withStorage(thin.x.dtype, thin.x.data, [&](const auto* data) {
    for (int t = 0; t < padded; t++)
      for (int64_t k = 0; k < job.ldx; k++) {
        float v = t < thin.T && k < p.K ? scalarAs(data + t * thin.x.rowStride + k * thin.x.columnStride) : 0.f;
        if (p.bf16) v = bf16ToF32(f32ToBf16(v));
        x[job.turned ? k * kThin + t : t * job.ldx + k] = v;
      }
  });
  const auto body = [&](int64_t begin, int64_t end, int t) {
    switch (padded) {
      case 1: return runStorage<1>(job, begin, end, t);
      case 2: return runStorage<2>(job, begin, end, t);
      case 3: return runStorage<3>(job, begin, end, t);
      case 4: return runStorage<4>(job, begin, end, t);
      case 6: return runStorage<6>(job, begin, end, t);
      default: return runStorage<8>(job, begin, end, t);
    }
  };
  if (thread >= 0 || thin.N * p.K < 32768) return body(0, thin.N, std::max(thread, 0));
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(threadCount() * 4, thin.N * p.K / 16384));
  parallelFor(thin.N, (thin.N + tasks - 1) / tasks, body);
}

}  // namespace qkv::QKV_ISA
