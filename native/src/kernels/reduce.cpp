// Sum, mean, max, min and logsumexp over any set of axes. The work is cut into tasks (outputs × stretches of the reduced axes) by the shape alone, each
// leaves a partial result, and these are combined in order: the same bits for any number of threads.
#include "row-sum.h"
#include "vector-math.h"

namespace qkv::QKV_ISA {
namespace {

enum Fn { kSum, kMean, kMax, kMin, kLogSumExp };  // the order of reduceFns in backend.ts
constexpr int64_t kColumns = kRowSumWidth;
constexpr int64_t kTask = 65536;  // elements worth a task of their own

/// What is known about the elements seen so far; `total` is of exp(x − most) for logsumexp. min is the max of −x.
struct Partial {
  double total;
  float most;
};

float finish(Fn f, Partial p, int64_t count) {
  switch (f) {
    case kSum: return static_cast<float>(p.total);
    case kMean: return static_cast<float>(p.total / static_cast<double>(count));
    case kMax: return p.most;
    case kMin: return -p.most;
    case kLogSumExp: return std::isinf(p.most) || p.most != p.most ? p.most : static_cast<float>(static_cast<double>(p.most) + std::log(p.total));
  }
  return 0;
}
Partial join(Fn f, Partial a, Partial b) {
  if (f == kSum || f == kMean) return {a.total + b.total, 0};
  const float most = a.most != a.most || a.most > b.most ? a.most : b.most;
  if (f != kLogSumExp || std::isinf(most) || most != most) return {0, most};
  const auto scaled = [&](Partial p) { return p.total == 0 ? 0 : p.total * std::exp(static_cast<double>(p.most) - static_cast<double>(most)); };
  return {scaled(a) + scaled(b), most};
}
/// Is e^(x − most) a sum to take?
bool summable(Fn f, float most) { return f == kLogSumExp && std::isfinite(most); }

/// NaN if any element is NaN; −∞ of none.
float mostOf(const float* x, int64_t n, bool negate) {
  const Vec sign = set1(negate ? -1.f : 1.f);
  Vec m0 = set1(-INFINITY), m1 = m0;
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    m0 = maxNaN(m0, load(x + i) * sign);
    m1 = maxNaN(m1, load(x + i + W) * sign);
  }
  for (; i < n; i += W) {
    const int rest = static_cast<int>(std::min<int64_t>(W, n - i));
    m0 = maxNaN(m0, firstLanes(loadPart(x + i, rest) * sign, rest, -INFINITY));
  }
  const Vec m = maxNaN(m0, m1);
  float most = m[0];
  for (int k = 1; k < W; k++) most = most != most || most > m[k] ? most : m[k];
  return most;
}

/// Elements begin … end of one row-major sequence.
Partial reduceStretch(Fn f, const Sequence& x, int64_t begin, int64_t end) {
  constexpr int64_t kBlock = 1024;
  alignas(64) float buffer[kBlock];
  const auto eachBlock = [&](auto body) {
    for (int64_t i = begin; i < end;) {
      const int64_t row = x.walk.inner() - (x.walk.ndim > 1 ? i % x.walk.inner() : 0);
      int64_t n = x.direct ? end - i : std::min(kBlock, end - i);
      if (!x.direct && row >= 128) n = std::min(n, row);
      body(x.read(i, n, buffer), n);
      i += n;
    }
  };
  Partial p{0, -INFINITY};
  if (f == kSum || f == kMean) {
    eachBlock([&](const float* v, int64_t n) { p.total += sumOf(n, [](Vec a) { return a; }, v); });
    return p;
  }
  eachBlock([&](const float* v, int64_t n) {
    const float m = mostOf(v, n, f == kMin);
    p.most = p.most != p.most || p.most > m ? p.most : m;
  });
  if (summable(f, p.most)) {
    const Vec most = set1(p.most);
    eachBlock([&](const float* v, int64_t n) { p.total += sumOf(n, [=](Vec a) { return expTo88(a - most); }, v); });
  }
  return p;
}

/// w neighbouring outputs at once, over the reduced elements begin … end: their inputs are rows of w neighbours.
void reduceColumns(Fn f, const float* x, const Walk& reduced, int64_t begin, int64_t end, int64_t w, Partial* out) {
  const auto eachRow = [&](auto body) {
    Cursor c(reduced, begin);
    const int64_t step = reduced.innerStride(0);
    for (int64_t i = begin; i < end;) {
      const int64_t n = std::min(end - i, reduced.inner() - c.column(reduced));
      for (int64_t j = 0; j < n; j++) body(x + c.at[0] + j * step);
      i += n;
      c.nextRow(reduced);
    }
  };
  if (f == kSum || f == kMean) {
    RowSum sum(w);
    eachRow([&](const float* row) { sum.add(row); });
    const double* total = sum.finish();
    for (int64_t k = 0; k < w; k++) out[k] = {total[k], 0};
    return;
  }
  alignas(64) float most[kColumns];
  std::fill_n(most, w, -INFINITY);
  const Vec sign = set1(f == kMin ? -1.f : 1.f);
  eachRow([&](const float* row) { map(most, w, false, [=](Vec m, Vec a) { return maxNaN(m, a * sign); }, static_cast<const float*>(most), row); });
  for (int64_t k = 0; k < w; k++) out[k] = {0, most[k]};
  if (f != kLogSumExp) return;

  alignas(64) float powers[4][kColumns];  // e^(x − most) of four rows, which RowSum adds at once
  RowSum sum(w);
  int64_t r = 0;
  eachRow([&](const float* row) {
    float* e = powers[r++ % 4];
    map(e, w, false, [](Vec m, Vec a) { return expTo88(a - m); }, static_cast<const float*>(most), row);
    sum.add(e);
  });
  const double* total = sum.finish();
  for (int64_t k = 0; k < w; k++)
    if (std::isfinite(most[k])) out[k].total = total[k];
}

View axesOf(const View& x, unsigned axes, bool reduced) {
  View v = x;
  v.ndim = 0;
  for (int a = 0; a < x.ndim; a++)
    if ((((axes >> a) & 1u) != 0) == reduced) {
      v.shape[v.ndim] = x.shape[a];
      v.stride[v.ndim++] = x.stride[a];
    }
  return v;
}

}  // namespace

void reduce(const Args& a) {
  const Fn f = static_cast<Fn>(static_cast<int>(a.opt[0]));
  const unsigned axes = static_cast<unsigned>(a.opt[1]);
  const View &x = a.in[0], keptView = axesOf(x, axes, false);
  View reducedView = axesOf(x, axes, true);
  float* y = a.out[0].f();
  const int64_t outputs = keptView.size(), count = reducedView.size();
  if (outputs == 0) return;
  if (count == 0) {
    std::fill_n(y, outputs, f == kSum ? 0.f : f == kMean ? NAN : f == kMin ? INFINITY : -INFINITY);
    return;
  }
  int order[kMaxDims];  // the reduced axes in the order of memory: a sum has no order of its own
  for (int i = 0; i < reducedView.ndim; i++) order[i] = i;
  std::stable_sort(order, order + reducedView.ndim, [&](int i, int j) { return std::abs(reducedView.stride[i]) > std::abs(reducedView.stride[j]); });
  const View unordered = reducedView;
  for (int i = 0; i < reducedView.ndim; i++) {
    reducedView.shape[i] = unordered.shape[order[i]];
    reducedView.stride[i] = unordered.stride[order[i]];
  }
  const Walk kept({&keptView}), reduced({&reducedView});

  // Columns when neighbouring outputs have neighbouring inputs; else one output at a time.
  const bool columns = kept.innerStride(0) == 1 && kept.inner() > 1 && count > 1;
  const int64_t width = columns ? std::min(kColumns, kept.inner()) : 1;
  const int64_t perRow = columns ? (kept.inner() + width - 1) / width : 1;
  const int64_t groups = columns ? outputs / kept.inner() * perRow : outputs;
  // Stretches of the reduced axes: enough for many tasks, none too short to be worth its partial results.
  const int64_t stretches = std::clamp<int64_t>(outputs * count / kTask / groups, 1, std::max<int64_t>(1, count / (columns ? 64 : 4096)));
  const int64_t length = (count + stretches - 1) / stretches;
  Partial* partials = stretches > 1 ? reinterpret_cast<Partial*>(sharedScratch(0, stretches * outputs * static_cast<int64_t>(sizeof(Partial) / 4))) : nullptr;

  parallelFor(groups * stretches, std::max<int64_t>(1, kGrain / (width * length)), [&](int64_t begin, int64_t end, int) {
    Sequence here(reducedView);
    for (int64_t task = begin; task < end; task++) {
      const int64_t group = task % groups, stretch = task / groups, from = std::min(count, stretch * length), to = std::min(count, from + length);
      const int64_t o = columns ? group / perRow * kept.inner() + group % perRow * width : group;
      const int64_t w = columns ? std::min(width, kept.inner() - group % perRow * width) : 1;
      here.view.data = reinterpret_cast<char*>(x.f() + Cursor(kept, o).at[0]);
      Partial local[kColumns];
      Partial* out = partials ? partials + stretch * outputs + o : local;
      if (columns) reduceColumns(f, here.view.f(), reduced, from, to, w, out);
      else *out = reduceStretch(f, here, from, to);
      if (!partials)
        for (int64_t k = 0; k < w; k++) y[o + k] = finish(f, local[k], count);
    }
  });
  if (!partials) return;
  parallelFor(outputs, std::max<int64_t>(1, kGrain / stretches), [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; o++) {
      Partial p = partials[o];
      for (int64_t s = 1; s < stretches; s++) p = join(f, p, partials[s * outputs + o]);
      y[o] = finish(f, p, count);
    }
  });
}

}  // namespace qkv::QKV_ISA
