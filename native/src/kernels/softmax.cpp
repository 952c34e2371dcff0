// softmax, logSoftmax and their backwards, a row at a time: the row stays in the cache between its passes.
#include "strided.h"
#include "vector-math.h"

namespace qkv::QKV_ISA {
namespace {

float rowMax(const float* x, int64_t n) {  // NaN is passed over: the sum finds it
  Vec m0 = set1(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    m0 = vmax(load(x + i), m0);
    m1 = vmax(load(x + i + W), m1);
    m2 = vmax(load(x + i + 2 * W), m2);
    m3 = vmax(load(x + i + 3 * W), m3);
  }
  for (; i < n; i += W) {
    const int rest = static_cast<int>(std::min<int64_t>(W, n - i));
    m0 = vmax(firstLanes(loadPart(x + i, rest), rest, -INFINITY), m0);
  }
  return hmax(vmax(vmax(m0, m1), vmax(m2, m3)));
}

/// log Σ eˣ of a row without a finite largest element: −∞ of nothing but −∞, +∞ with a +∞, NaN with a NaN.
float lseOfOdd(const float* x, int64_t n) {
  float m = -INFINITY;
  for (int64_t i = 0; i < n; i++)
    if (x[i] != x[i] || x[i] > m) {
      m = x[i];
      if (m != m) break;
    }
  return m;
}

template <class F> void eachRow(const Rows& rows, bool stream, F&& f) {
  parallelFor(rows.R, rows.grain(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) f(r);
#if defined(__x86_64__)
    if (stream) _mm_sfence();
#else
    (void)stream;
#endif
  });
}
bool large(const Rows& y) { return y.R * y.C * 4 >= kStreamBytes; }

}  // namespace

void softmax(const Args& a) {
  const Rows x(a.in[0]), y(a.out[0]);
  const int64_t C = x.C;
  if (C == 0) return;
  eachRow(x, false, [&](int64_t r) {
    const float* from = x[r];
    float* to = y[r];
    const float* next = x[std::min(r + 1, x.R - 1)];
    const float most = rowMax(from, C);
    if (!std::isfinite(most)) {
      const float lse = lseOfOdd(from, C);
      for (int64_t i = 0; i < C; i++) to[i] = lse == -INFINITY ? 0.f : std::exp(from[i] - lse);
      return;
    }
    const Vec m = set1(most);
    Vec s0{}, s1{};
    double total = 0;
    int64_t i = 0;
    for (int64_t stop = 0; i + 2 * W <= C;) {  // sums of at most 4096 elements, added in f64
      stop = std::min(C, i + 4096);
      for (; i + 2 * W <= stop; i += 2 * W) {
        __builtin_prefetch(next + i);  // a little at a time: asked for all at once, the next row would delay this one
        const Vec e0 = expTo88(load(from + i) - m), e1 = expTo88(load(from + i + W) - m);
        store(to + i, e0);
        store(to + i + W, e1);
        s0 += e0;
        s1 += e1;
      }
      total += static_cast<double>(hsum(s0 + s1));
      s0 = s1 = Vec{};
    }
    for (; i < C; i += W) {
      const int rest = static_cast<int>(std::min<int64_t>(W, C - i));
      const Vec e = expTo88(firstLanes(loadPart(from + i, rest), rest, -INFINITY) - m);
      storePart(to + i, e, rest);
      s0 += e;
    }
    total += static_cast<double>(hsum(s0));
    const Vec scale = set1(static_cast<float>(1 / total));
    map(to, C, false, [=](Vec e) { return e * scale; }, static_cast<const float*>(to));
  });
}

/// dx = y·(dy − Σ dy·y)
void softmaxBackward(const Args& a) {
  const Rows dy(a.in[0]), y(a.in[1]), dx(a.out[0]);
  const bool stream = large(dx);
  eachRow(dy, stream, [&](int64_t r) {
    const float *d = dy[r], *p = y[r];
    const Vec dot = set1(static_cast<float>(sumOf(dy.C, [](Vec u, Vec v) { return u * v; }, d, p)));
    map(dx[r], dy.C, stream, [=](Vec u, Vec v) { return v * (u - dot); }, d, p);
  });
}

/// y = x − log Σ eˣ
void logSoftmax(const Args& a) {
  const Rows x(a.in[0]), y(a.out[0]);
  const bool stream = large(y);
  if (x.C == 0) return;
  eachRow(x, stream, [&](int64_t r) {
    const float* from = x[r];
    const float most = rowMax(from, x.C);
    const Vec m = set1(most);
    if (std::isfinite(most)) {
      const double total = sumOf(x.C, [=](Vec v) { return expTo88(v - m); }, from);
      const Vec log = set1(static_cast<float>(std::log(total)));
      map(y[r], x.C, stream, [=](Vec v) { return (v - m) - log; }, from);  // two steps: x − m is exact near the largest
    } else {
      const float lse = lseOfOdd(from, x.C);
      map(y[r], x.C, stream, [=](Vec v) { return lse == -INFINITY ? set1(lse) : v - lse; }, from);
    }
  });
}

/// dx = dy − eʸ·Σ dy
void logSoftmaxBackward(const Args& a) {
  const Rows dy(a.in[0]), y(a.in[1]), dx(a.out[0]);
  const bool stream = large(dx);
  eachRow(dy, stream, [&](int64_t r) {
    const Vec total = set1(static_cast<float>(sumOf(dy.C, [](Vec v) { return v; }, static_cast<const float*>(dy[r]))));
    map(dx[r], dy.C, stream, [=](Vec u, Vec v) { return u - expTo88(v) * total; }, static_cast<const float*>(dy[r]), static_cast<const float*>(y[r]));
  });
}

}  // namespace qkv::QKV_ISA
