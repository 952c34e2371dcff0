// Kernels that read or write by index: gather, scatterAdd, pick, pickBackward, argmax, topK. Indices are in range: the caller has checked.
#include <utility>

#include "row-sum.h"
#include "vector-math.h"

namespace qkv::QKV_ISA {

void copy(const Args&);

/// y[r] = table[ids[r]]
void gather(const Args& a) {
  const View &table = a.in[0], &y = a.out[0];
  const int32_t* ids = a.in[1].as<int32_t>();
  const int64_t R = a.in[1].size(), C = table.shape[1];
  const double keep = 0;
  parallelFor(R, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, C)), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const int64_t at = ids[r] * table.stride[0];
      float* to = y.f() + r * C;
      if (table.dtype == DType::f32 && (table.stride[1] == 1 || C == 1)) {
        std::memcpy(to, table.f() + at, static_cast<size_t>(C) * 4);
        continue;
      }
      View from = table, row = y;
      from.data += at * (table.dtype == DType::f32 ? 4 : 2);
      from.ndim = row.ndim = 1;
      from.shape[0] = row.shape[0] = C;
      from.stride[0] = table.stride[1];
      row.data = reinterpret_cast<char*>(to);
      row.stride[0] = 1;
      copy({&from, 1, &row, 1, &keep, 1});
    }
  });
}

/// table[ids[r]] += dy[r]. The rows are sorted by id (a counting sort keeps their order), so that each row of the table has one writer.
void scatterAdd(const Args& a) {
  const Rows dy(a.in[0]);
  const int32_t* ids = a.in[1].as<int32_t>();
  const View& out = a.out[0];
  float* table = out.f();
  const int64_t R = a.in[1].size(), V = out.shape[0], C = out.shape[1];
  const bool accumulate = a.opt[0] != 0;
  int32_t* const start = reinterpret_cast<int32_t*>(sharedScratch(0, V + 1));  // of id v's rows in `sorted`; ends where v + 1's begin
  int32_t* const sorted = reinterpret_cast<int32_t*>(sharedScratch(1, R));
  std::fill_n(start, V + 1, 0);
  for (int64_t r = 0; r < R; r++) start[ids[r] + 1]++;
  for (int64_t v = 0; v < V; v++) start[v + 1] += start[v];
  for (int64_t r = 0; r < R; r++) sorted[start[ids[r]]++] = static_cast<int32_t>(r);
  // Now start[v] is the end of v's rows, and start[v − 1] their beginning.

  const int64_t pieces = std::max<int64_t>(1, (C + kRowSumWidth - 1) / kRowSumWidth);
  const int64_t perTask = std::min(C, kRowSumWidth) * (1 + R / std::max<int64_t>(1, V));
  parallelFor(V * pieces, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, perTask)), [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t v = task / pieces, c = task % pieces * kRowSumWidth, n = std::min(kRowSumWidth, C - c);
      float* to = table + v * C + c;
      const int32_t *row = sorted + (v > 0 ? start[v - 1] : 0), *const last = sorted + start[v];
      if (last - row <= 4) {
        if (!accumulate && row == last) std::fill_n(to, n, 0.f);
        if (!accumulate && row < last) std::memcpy(to, dy[*row++] + c, static_cast<size_t>(n) * 4);
        for (; row < last; row++) map(to, n, false, [](Vec t, Vec d) { return t + d; }, static_cast<const float*>(to), static_cast<const float*>(dy[*row] + c));
      } else {
        RowSum sum(n);
        if (accumulate) sum.add(to);
        for (; row < last; row++) sum.add(dy[*row] + c);
        const double* total = sum.finish();
        for (int64_t i = 0; i < n; i++) to[i] = static_cast<float>(total[i]);
      }
    }
  });
}

/// y[r] = x[r, index[r]]
void pick(const Args& a) {
  const Rows x(a.in[0]);
  const int32_t* index = a.in[1].as<int32_t>();
  float* y = a.out[0].f();
  parallelFor(a.in[1].size(), 1024, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) y[r] = x[r][index[r]];
  });
}

/// dx is zero but for dx[r, index[r]] = dy[r].
void pickBackward(const Args& a) {
  const float* dy = a.in[0].f();
  const int32_t* index = a.in[1].as<int32_t>();
  const Rows dx(a.out[0]);
  parallelFor(dx.R, dx.grain(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      std::fill_n(dx[r], dx.C, 0.f);
      dx[r][index[r]] = dy[r];
    }
  });
}

/// The first of the largest. NaN is passed over, unless it comes first.
void argmax(const Args& a) {
  const Rows x(a.in[0]);
  int32_t* y = a.out[0].as<int32_t>();
  parallelFor(x.R, x.grain(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x[r];
      y[r] = 0;
      if (x.C == 0 || row[0] != row[0]) continue;
      Vec m0 = set1(row[0]), m1 = m0;
      int64_t i = 0;
      for (; i + 2 * W <= x.C; i += 2 * W) {
        m0 = vmax(load(row + i), m0);
        m1 = vmax(load(row + i + W), m1);
      }
      float most = hmax(vmax(m0, m1));
      for (; i < x.C; i++) most = row[i] > most ? row[i] : most;
      for (i = 0; i + W <= x.C && !anyLane(load(row + i) == most);) i += W;
      while (row[i] != most) i++;
      y[r] = static_cast<int32_t>(i);
    }
  });
}

/// The k largest of each row, descending, equal ones by lower index. A heap of the k best so far has the worst of them on top. NaN comes last.
void topK(const Args& a) {
  const Rows x(a.in[0]);
  const int64_t k = static_cast<int64_t>(a.opt[0]);
  float* values = a.out[0].f();
  int32_t* indices = a.out[1].as<int32_t>();
  struct Entry {
    float value;
    int32_t index;
  };
  const auto better = [](const Entry& p, const Entry& q) {
    const bool pNaN = p.value != p.value, qNaN = q.value != q.value;
    if (pNaN || qNaN) return pNaN == qNaN ? p.index < q.index : qNaN;
    return p.value > q.value || (p.value == q.value && p.index < q.index);
  };
  if (k == 0) return;
  parallelFor(x.R, x.grain(), [&](int64_t begin, int64_t end, int thread) {
    Entry* heap = reinterpret_cast<Entry*>(scratch(thread, 0, 2 * k));
    for (int64_t r = begin; r < end; r++) {
      const float* row = x[r];
      int64_t i = 0;
      for (; i < k; i++) heap[i] = {row[i], static_cast<int32_t>(i)};
      std::make_heap(heap, heap + k, better);
      const auto offer = [&](int64_t j) {
        const Entry e{row[j], static_cast<int32_t>(j)};
        if (!better(e, heap[0])) return;
        std::pop_heap(heap, heap + k, better);
        heap[k - 1] = e;
        std::push_heap(heap, heap + k, better);
      };
      while (i + W <= x.C) {
        const float worst = heap[0].value;
        if (anyLane(!(load(row + i) <= worst)))  // NaN on either side: look closer
          for (int lane = 0; lane < W; lane++) offer(i + lane);
        i += W;
      }
      for (; i < x.C; i++) offer(i);
      std::sort_heap(heap, heap + k, better);
      for (int64_t j = 0; j < k; j++) {
        values[r * k + j] = heap[j].value;
        indices[r * k + j] = heap[j].index;
      }
    }
  });
}

}  // namespace qkv::QKV_ISA
