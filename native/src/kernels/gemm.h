// Y (M, N) = A (M, K)·B (K, N), for kernels that need a product inside. See gemm.cpp for how it is done.
#pragma once
#include "../kernel.h"

namespace qkv::QKV_ISA {

/// f32, bf16 or f16, any strides (in elements). Fast when one of the two strides is 1.
struct Matrix {
  const void* data;
  DType dtype;
  int64_t rowStride, columnStride;
};
struct Product {
  int64_t M, N, K;
  Matrix a, b;
  float* y;  // rows ldy apart, columns contiguous
  int64_t ldy;
  const float* bias = nullptr;  // (N), added to every row
  bool accumulate = false;      // y += …
  bool bf16 = false;            // inputs are rounded to bf16; sums stay f32
  bool groups = false;          // bᵀ lies in groups of eight rows of bf16 (quantised.h), its strides mean nothing
};

/// On all threads. Not inside a parallelFor. Uses the shared scratch slots 2 and 3.
void gemm(const Product& p);
/// On the calling thread only, whose index is given. Uses its scratch slots 2 and 3. The same bits as gemm.
void gemmSerial(const Product& p, int thread);

/// For few rows (M ≤ 8) or few columns (N ≤ 8), at the speed of memory: matvec.cpp. `thread` < 0: on all threads.
bool isThin(const Product& p);
void thinProduct(const Product& p, int thread);

}  // namespace qkv::QKV_ISA
