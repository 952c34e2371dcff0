// Sums of many rows, element by element, accurate however many there are: the bias gradient, the embedding's gradient, the norms' weight gradients.
#pragma once
#include "strided.h"

namespace qkv::QKV_ISA {

constexpr int64_t kRowSumWidth = 1024;  // the accumulators fit the first-level cache beside the rows being added

/// Σ rows of up to kRowSumWidth elements: four at a time, in f32 over 64 rows, in f64 beyond. The rows must live until `finish`.
class RowSum {
 public:
  explicit RowSum(int64_t width) : n(width) {
    std::fill_n(sum, n, 0.f);
    std::fill_n(total, n, 0.0);
  }
  void add(const float* row) {
    pending[held++] = row;
    if (held < 4) return;
    held = 0;
    map(sum, n, false, [](Vec s, Vec a, Vec b, Vec c, Vec d) { return s + ((a + b) + (c + d)); }, static_cast<const float*>(sum), pending[0], pending[1], pending[2], pending[3]);
    if (++added % 16 == 0) fold();
  }
  const double* finish() {
    for (int k = 0; k < held; k++) map(sum, n, false, [](Vec s, Vec a) { return s + a; }, static_cast<const float*>(sum), pending[k]);
    held = 0;
    fold();
    return total;
  }

 private:
  alignas(64) float sum[kRowSumWidth];
  double total[kRowSumWidth];
  const float* pending[4];
  int64_t n;
  int held = 0, added = 0;

  void fold() {
    for (int64_t i = 0; i < n; i++) total[i] += static_cast<double>(sum[i]);
    std::fill_n(sum, n, 0.f);
  }
};

}  // namespace qkv::QKV_ISA
