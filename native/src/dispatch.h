// Which instruction set this machine has, and the kernels compiled for it.
#pragma once
#include "kernel.h"

namespace qkv {

/// In the order of kernelNames in src/tensor/backends/backend.ts.
#define QKV_KERNELS(X)                                                                                                                       \
  X(copy) X(fill) X(random) X(arange) X(unary) X(unaryBackward) X(binary) X(affine) X(where) X(dropout) X(reduce) X(argmax) X(topK)           \
  X(softmax) X(softmaxBackward) X(logSoftmax) X(logSoftmaxBackward) X(matmul) X(gather) X(scatterAdd) X(pick) X(pickBackward) X(layerNorm)    \
  X(layerNormBackward) X(rmsNorm) X(rmsNormBackward) X(swiglu) X(swigluBackward) X(rope) X(attention) X(attentionBackward) X(crossEntropy)    \
  X(crossEntropyBackward) X(linearCrossEntropy) X(globalNorm) X(adamW) X(linearQuantised) X(gatherQuantised)

#define QKV_COUNT(name) +1
constexpr int kKernels = 0 QKV_KERNELS(QKV_COUNT);
#undef QKV_COUNT

struct KernelTable {
  const char* isa;
  KernelFn kernel[kKernels];  // null: not written
  double (*peakFlops)(int threads, bool bf16);               // flop/s of a loop of independent FMAs
  double (*readBandwidth)(int threads, double megabytes);    // bytes/s of reading memory that is in no cache, or fits one
  double (*updateBandwidth)(int threads, double megabytes);  // bytes/s of four streams read and three of them written, as AdamW does
};

/// The widest set that the machine has; `asked` (QKV_ISA) may name a narrower one. Null when `asked` is unknown or the machine lacks it.
const KernelTable* chooseKernels(const char* asked);

}  // namespace qkv
