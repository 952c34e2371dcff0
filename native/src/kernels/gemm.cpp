// y = a·b (+ bias) (+ y): plain loops.
#include "kernel.h"
#include "simd.h"

namespace qkv::QKV_ISA {
namespace {
float at(const View& v, int64_t i) {
  if (v.dtype == DType::bf16) return bf16ToF32(v.as<uint16_t>()[i]);
  return v.f()[i];
}
}  // namespace

void matmul(const Args& args) {
  const View &a = args.in[0], &b = args.in[1], &y = args.out[0];
  const float* bias = args.nIn > 2 && args.in[2].present() ? args.in[2].f() : nullptr;
  const bool accumulate = args.opt[0] != 0;
  const int n = y.ndim;
  const int64_t M = y.shape[n - 2], N = y.shape[n - 1], K = a.shape[n - 1];
  int64_t batches = 1;
  for (int d = 0; d < n - 2; d++) batches *= y.shape[d];
  parallelFor(batches * M, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      int64_t rest = r / M, m = r % M, ao = 0, bo = 0, yo = 0;
      for (int d = n - 3; d >= 0; d--) {
        const int64_t i = rest % y.shape[d];
        rest /= y.shape[d];
        ao += i * a.stride[d];
        bo += i * b.stride[d];
        yo += i * y.stride[d];
      }
      for (int64_t j = 0; j < N; j++) {
        double s = 0;
        for (int64_t k = 0; k < K; k++)
          s += static_cast<double>(at(a, ao + m * a.stride[n - 2] + k * a.stride[n - 1])) * at(b, bo + k * b.stride[n - 2] + j * b.stride[n - 1]);
        float& out = y.f()[yo + m * y.stride[n - 2] + j * y.stride[n - 1]];
        out = static_cast<float>(s) + (bias ? bias[j] : 0) + (accumulate ? out : 0);
      }
    }
  });
}
}  // namespace qkv::QKV_ISA
