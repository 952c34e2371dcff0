// What a kernel sees: strided views, options as doubles, and a way to use all cores.
#pragma once
#include <cstdint>
#include <type_traits>

namespace qkv {

enum class DType : int { f32, bf16, f16, i32, u8 };  // the order of dtypeCodes in src/tensor/backends/native/commands.ts
constexpr int kMaxDims = 8;

struct View {
  char* data;  // already at the view's offset
  DType dtype;
  int ndim;    // −1: absent
  int64_t shape[kMaxDims];
  int64_t stride[kMaxDims];  // in elements

  bool present() const { return ndim >= 0; }
  template <class T> T* as() const { return reinterpret_cast<T*>(data); }
  float* f() const { return as<float>(); }
  int64_t size() const {
    int64_t n = 1;
    for (int a = 0; a < ndim; a++) n *= shape[a];
    return n;
  }
};

/// One queued piece of work: in/out views and the options in the order of commands.ts.
struct Args {
  const View* in;
  int nIn;
  const View* out;
  int nOut;
  const double* opt;
  int nOpt;
};
using KernelFn = void (*)(const Args&);

/// Calls body(begin, end) over 0 … n in chunks of `grain` on all threads. Chunks are handed out dynamically, but which indices form a chunk
/// depends only on n and grain: a kernel that sums within a chunk, and then over chunks in order, gives the same bits for any thread count.
void parallelFor(int64_t n, int64_t grain, void (*body)(void*, int64_t, int64_t, int thread), void* context);
template <class F> void parallelFor(int64_t n, int64_t grain, F&& body) {
  using Body = std::remove_reference_t<F>;
  parallelFor(n, grain, [](void* c, int64_t b, int64_t e, int t) { (*static_cast<Body*>(c))(b, e, t); }, const_cast<void*>(static_cast<const void*>(&body)));
}
int threadCount();
/// Scratch of the calling thread (thread index as given to the body), 64-byte aligned, kept between calls; grows to the largest size asked.
/// `slot` 0 … 3 are independent areas, so that nested users do not overwrite each other.
float* scratch(int thread, int slot, int64_t floats);
/// Scratch shared by all threads of one kernel (packed panels and the like), slots 0 … 3.
float* sharedScratch(int slot, int64_t floats);

}  // namespace qkv
