// Small matrix products on tiles that already lie in L1 or L2: C = start + A·B, without packing. The accumulators of R × NV vectors stay in registers.
#pragma once
#include <algorithm>
#include <utility>

#include "../simd.h"

namespace qkv::QKV_ISA {

// R·2 accumulators, two vectors of B and one element of A must fit the registers: 16 of them with AVX2 and SSE2, 32 with AVX-512 and NEON.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif
constexpr int kTileColumns = 2 * W;

/// How an element (i, k) of A is addressed: rows a[i·lda + k], columns a[k·lda + i].
enum class Layout { rows, columns };
/// What a product starts from: nothing, C, or C with row i multiplied by factor[i].
enum class Start { zero, add, scaled };

template <int R, int NV, bool kPart, Layout L>
[[gnu::always_inline]] inline void microTile(int64_t K, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, Start start,
                                             const float* factor, int part) {
  const auto loadColumns = [part](const float* p) { return kPart ? loadPart(p, part) : load(p); };
  Vec sum[R][NV] = {};
#pragma GCC unroll 2
  for (int64_t k = 0; k < K; k++) {
    Vec row[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; j++) row[j] = loadColumns(b + k * ldb + j * W);
#pragma GCC unroll 12
    for (int i = 0; i < R; i++) {
      const float x = L == Layout::rows ? a[i * lda + k] : a[k * lda + i];
#pragma GCC unroll 2
      for (int j = 0; j < NV; j++) sum[i][j] += x * row[j];
    }
  }
  // C is read last: its latency hides behind the loop above.
  if (start == Start::add)
#pragma GCC unroll 12
    for (int i = 0; i < R; i++)
#pragma GCC unroll 2
      for (int j = 0; j < NV; j++) sum[i][j] += loadColumns(c + i * ldc + j * W);
  if (start == Start::scaled)
#pragma GCC unroll 12
    for (int i = 0; i < R; i++)
#pragma GCC unroll 2
      for (int j = 0; j < NV; j++) sum[i][j] += factor[i] * loadColumns(c + i * ldc + j * W);
#pragma GCC unroll 12
  for (int i = 0; i < R; i++)
#pragma GCC unroll 2
    for (int j = 0; j < NV; j++) {
      if constexpr (kPart)
        storePart(c + i * ldc + j * W, sum[i][j], part);
      else
        store(c + i * ldc + j * W, sum[i][j]);
    }
}

/// R rows of C, n columns: whole panels, then one vector, then the lanes that are left.
template <int R, Layout L>
void microRow(int n, int64_t K, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, Start start, const float* factor) {
  if (n == kTileColumns)
    microTile<R, 2, false, L>(K, a, lda, b, ldb, c, ldc, start, factor, 0);
  else {
    int j = 0;
    for (; j + W <= n; j += W) microTile<R, 1, false, L>(K, a, lda, b + j, ldb, c + j, ldc, start, factor, 0);
    if (j < n) microTile<R, 1, true, L>(K, a, lda, b + j, ldb, c + j, ldc, start, factor, n - j);
  }
}

struct Range {
  int begin, end;
  bool empty() const { return begin >= end; }
};

/// C (M, N) = start + A (M, K)·B (K, N) by micro-tiles. `terms(i0, i1, j0, j1)` gives the range of k that the micro-tile of these rows and columns
/// needs: where a mask makes the rest zero, it is skipped. A panel of B stays in L1 while all rows of A pass by.
template <Layout L, class Terms>
void tileProduct(int M, int N, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, Start start, const float* factor,
                 Terms&& terms) {
  constexpr int kThird = kTileRows / 3;  // sizes that are powers of two leave one or two thirds of a micro-tile over
  for (int j = 0; j < N; j += kTileColumns) {
    const int n = std::min(kTileColumns, N - j);
    for (int i = 0; i < M;) {
      const int left = M - i;
      const int rows = left >= kTileRows ? kTileRows : left >= 2 * kThird ? 2 * kThird : left >= kThird ? kThird : 1;
      const Range k = terms(i, i + rows, j, j + n);
      if (!k.empty() || start == Start::zero) {
        const int64_t K = std::max(0, k.end - k.begin);
        const float* ai = L == Layout::rows ? a + i * lda + k.begin : a + k.begin * lda + i;
        const float* bk = b + k.begin * ldb + j;
        float* ci = c + i * ldc + j;
        const float* fi = factor ? factor + i : nullptr;
        if (rows == kTileRows)
          microRow<kTileRows, L>(n, K, ai, lda, bk, ldb, ci, ldc, start, fi);
        else if (rows == 2 * kThird)
          microRow<2 * kThird, L>(n, K, ai, lda, bk, ldb, ci, ldc, start, fi);
        else if (rows == kThird)
          microRow<kThird, L>(n, K, ai, lda, bk, ldb, ci, ldc, start, fi);
        else
          microRow<1, L>(n, K, ai, lda, bk, ldb, ci, ldc, start, fi);
      }
      i += rows;
    }
  }
}

/// Two rows that lie b apart swap their off-diagonal b × b blocks.
template <int b, int... I> [[gnu::always_inline]] inline void swapBlocks(Vec& low, Vec& high, std::integer_sequence<int, I...>) {
  const Vec a = low, c = high;
  low = __builtin_shufflevector(a, c, ((I & b) == 0 ? I : W + I - b)...);
  high = __builtin_shufflevector(a, c, ((I & b) == 0 ? I + b : W + I)...);
}
/// W rows of W elements, turned in registers in log₂ W steps b = 1, 2, 4 … (Eklundh 1972). The pack I is 0 … W − 1: written out, the rows stay in registers.
template <int... I>
[[gnu::always_inline]] inline void transposeBlock(const float* from, int64_t ldFrom, float* to, int64_t ldTo, std::integer_sequence<int, I...> lanes) {
  Vec r[W] = {load(from + I * ldFrom)...};
  const auto step = [&r, lanes]<int b>() __attribute__((always_inline)) { (((I & b) == 0 ? swapBlocks<b>(r[I], r[I | b], lanes) : void()), ...); };
  step.template operator()<1>();
  step.template operator()<2>();
  if constexpr (W > 4) step.template operator()<4>();
  if constexpr (W > 8) step.template operator()<8>();
  (store(to + I * ldTo, r[I]), ...);
}

/// to[j·ldTo + i] = from[i·ldFrom + j] for i < rows, j < columns; the rows of `to` are filled with zeros up to a multiple of W.
inline void transpose(int rows, int columns, const float* from, int64_t ldFrom, float* to, int64_t ldTo) {
  for (int i = 0; i < rows; i += W) {
    const int n = std::min(W, rows - i);
    int j = 0;
    if (n == W)
      for (; j + W <= columns; j += W) transposeBlock(from + i * ldFrom + j, ldFrom, to + j * ldTo + i, ldTo, std::make_integer_sequence<int, W>());
    for (; j < columns; j++)
      for (int u = 0; u < W; u++) to[j * ldTo + i + u] = u < n ? from[(i + u) * ldFrom + j] : 0.f;
  }
}

}  // namespace qkv::QKV_ISA
