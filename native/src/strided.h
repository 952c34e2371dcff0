// Walking over strided views. A kernel is written for blocks of contiguous f32; here operands that are not contiguous are packed into such blocks
// (they stay in the first-level cache), and results that must go to strided places are unpacked from them.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <new>

#include "kernel.h"
#include "simd.h"

namespace qkv::QKV_ISA {

/// Elements of cheap work below which waking another thread costs more than it saves; also the usual chunk of a parallel loop.
constexpr int64_t kGrain = 16384;
/// Results larger than this go past the cache (non-temporal stores): nobody finds them there anyway.
constexpr int64_t kStreamBytes = int64_t{24} << 20;

inline bool isContiguous(const View& v) {
  int64_t expected = 1;
  for (int a = v.ndim - 1; a >= 0; a--) {
    if (v.shape[a] != 1 && v.stride[a] != expected) return false;
    expected *= v.shape[a];
  }
  return true;
}

/// The operands' common shape with the axes of size 1 left out, and neighbours that every operand walks as one axis joined. At least one axis.
constexpr int kMaxOperands = 6;
struct Walk {
  int operands = 0, ndim = 0;
  int64_t size = 1;
  int64_t shape[kMaxDims] = {};
  int64_t stride[kMaxOperands][kMaxDims] = {};

  /// `order`: the axes from slowest to fastest; as they are when null.
  Walk(std::initializer_list<const View*> views, const int* order = nullptr) {
    const View* const* view = views.begin();
    operands = static_cast<int>(views.size());
    for (int i = 0; i < view[0]->ndim; i++) {
      const int a = order ? order[i] : i;
      const int64_t n = view[0]->shape[a];
      size *= n;
      if (n == 1) continue;
      bool join = ndim > 0;
      for (int k = 0; k < operands && join; k++) join = stride[k][ndim - 1] == view[k]->stride[a] * n;
      if (!join) ndim++;
      shape[ndim - 1] = join ? shape[ndim - 1] * n : n;
      for (int k = 0; k < operands; k++) stride[k][ndim - 1] = view[k]->stride[a];
    }
    if (ndim == 0) {
      ndim = 1;
      shape[0] = 1;
      for (int k = 0; k < operands; k++) stride[k][0] = 1;
    }
  }
  int64_t inner() const { return shape[ndim - 1]; }
  int64_t innerStride(int k) const { return stride[k][ndim - 1]; }
};

/// A place in a Walk: rows are runs along the last axis.
struct Cursor {
  int64_t index[kMaxDims] = {};
  int64_t at[kMaxOperands] = {};  // in elements

  Cursor(const Walk& w, int64_t element) {
    for (int a = w.ndim - 1; a >= 0; a--) {
      index[a] = element % w.shape[a];
      element /= w.shape[a];
      for (int k = 0; k < w.operands; k++) at[k] += index[a] * w.stride[k][a];
    }
  }
  int64_t column(const Walk& w) const { return index[w.ndim - 1]; }
  /// From anywhere in a row to the start of the next one.
  void nextRow(const Walk& w) {
    const int last = w.ndim - 1;
    for (int k = 0; k < w.operands; k++) at[k] -= index[last] * w.stride[k][last];
    index[last] = 0;
    for (int a = last - 1; a >= 0; a--) {
      for (int k = 0; k < w.operands; k++) at[k] += w.stride[k][a];
      if (++index[a] < w.shape[a]) return;
      for (int k = 0; k < w.operands; k++) at[k] -= w.shape[a] * w.stride[k][a];
      index[a] = 0;
    }
  }
};

/// One strided view read (or written) as a sequence of 32-bit elements in row-major order. u8 is widened to i32 on the way.
struct Sequence {
  View view;
  Walk walk;
  bool direct, constant;
  explicit Sequence(const View& v) : view(v), walk({&v}), direct(v.dtype != DType::u8 && isContiguous(v)), constant(walk.size > 0 && walk.ndim == 1 && walk.stride[0][0] == 0) {}

  /// Elements i … i + n − 1: a pointer to them where they lie, if they lie together, or else to `buffer`, filled with them.
  const float* read(int64_t i, int64_t n, float* buffer) const {
    if (direct) return view.f() + i;
    Cursor c(walk, i);
    const int64_t step = walk.innerStride(0);
    if (view.dtype == DType::u8) {
      each(c, n, [&](int64_t at, int64_t to) { reinterpret_cast<int32_t*>(buffer)[to] = view.as<uint8_t>()[at]; });
      return buffer;
    }
    if (step == 1 && n <= walk.inner() - c.column(walk)) return view.f() + c.at[0];
    const int32_t* from = view.as<int32_t>();  // bits: integers pass unharmed
    each(c, n, [&](int64_t at, int64_t to) { reinterpret_cast<int32_t*>(buffer)[to] = from[at]; });
    return buffer;
  }
  /// Where to put elements i … i + n − 1: in place, or in `buffer`, to be handed to `write` afterwards.
  float* place(int64_t i, int64_t n, float* buffer) const {
    if (direct) return view.f() + i;
    const Cursor c(walk, i);
    return walk.innerStride(0) == 1 && n <= walk.inner() - c.column(walk) ? view.f() + c.at[0] : buffer;
  }
  void write(int64_t i, int64_t n, const float* buffer) const {
    Cursor c(walk, i);
    each(c, n, [&](int64_t at, int64_t from) { view.f()[at] = buffer[from]; });
  }

 private:
  template <class F> void each(Cursor& c, int64_t n, F&& f) const {
    const int64_t step = walk.innerStride(0);
    for (int64_t done = 0; done < n;) {
      const int64_t m = std::min(n - done, walk.inner() - c.column(walk));
      if (step == 1)
        for (int64_t j = 0; j < m; j++) f(c.at[0] + j, done + j);
      else if (step == 0)
        for (int64_t j = 0; j < m; j++) f(c.at[0], done + j);
      else
        for (int64_t j = 0; j < m; j++) f(c.at[0] + j * step, done + j);
      done += m;
      c.nextRow(walk);
    }
  }
};

/// A stretch of elements `at` … `at + n − 1` of an elementwise kernel, contiguous in every operand.
struct Block {
  float* out[2];
  const float* in[4];
  int64_t n, at;
  bool stream;  // store past the cache
};
using BlockBody = void (*)(void* context, const Block&);

/// Cuts the common shape of all operands into blocks, in chunks of `grain` elements on all threads.
[[gnu::noinline]] inline void forBlocks(std::initializer_list<const View*> outs, std::initializer_list<const View*> ins, int64_t grain, BlockBody body, void* context) {
  constexpr int64_t kBlock = 512, kLongRow = 128;
  const int nOut = static_cast<int>(outs.size()), nIn = static_cast<int>(ins.size());
  alignas(Sequence) char storage[kMaxOperands][sizeof(Sequence)];
  Sequence* sequence = reinterpret_cast<Sequence*>(storage);
  const int64_t size = (*outs.begin())->size();
  bool direct = true, stream = size * 4 >= kStreamBytes;
  int64_t row = size;  // the shortest row of an operand that is not contiguous
  int k = 0;
  const auto add = [&](const View* v) {
    const Sequence& s = *new (&sequence[k++]) Sequence(*v);
    if (s.direct) return;
    direct = false;
    if (!s.constant) row = std::min(row, s.walk.inner());
  };
  for (const View* v : outs) add(v);
  for (const View* v : ins) {
    add(v);
    for (const View* y : outs) stream = stream && v->data != y->data;
  }
  if (size == 0) return;
  const int64_t wholeRows = row >= kLongRow && row < size ? row : 0;  // blocks that end with the row can be read in place

  parallelFor(size, grain, [&](int64_t begin, int64_t end, int) {
    alignas(64) float buffer[kMaxOperands][kBlock];
    Block b;
    b.stream = stream;
    for (int s = 0; s < nOut + nIn; s++)
      if (sequence[s].constant && !sequence[s].direct) sequence[s].read(0, kBlock, buffer[s]);
    for (int64_t i = begin; i < end; i += b.n) {
      b.at = i;
      b.n = direct ? end - i : std::min(kBlock, end - i);
      if (wholeRows) b.n = std::min(b.n, wholeRows - i % wholeRows);
      for (int s = 0; s < nOut; s++) b.out[s] = sequence[s].place(i, b.n, buffer[s]);
      for (int s = 0; s < nIn; s++) {
        const Sequence& q = sequence[nOut + s];
        b.in[s] = q.constant && !q.direct ? buffer[nOut + s] : q.read(i, b.n, buffer[nOut + s]);
      }
      body(context, b);
      for (int s = 0; s < nOut; s++)
        if (b.out[s] == buffer[s]) sequence[s].write(i, b.n, buffer[s]);
    }
#if defined(__x86_64__)
    if (stream) _mm_sfence();
#endif
  });
}
template <class F> void forBlocks(std::initializer_list<const View*> outs, std::initializer_list<const View*> ins, int64_t grain, F&& body) {
  using Body = std::remove_reference_t<F>;
  forBlocks(outs, ins, grain, [](void* c, const Block& b) { (*static_cast<Body*>(c))(b); }, const_cast<void*>(static_cast<const void*>(&body)));
}

/// Past the cache where the machine can; p must be aligned to a vector.
inline void streamStore(float* p, Vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, v);
#else
  store(p, v);
#endif
}
inline bool isAligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % (W * 4) == 0; }

/// Asks for the n floats from p on. A kernel that works through rows asks for the next row before it computes: the machine's own prefetcher loses the
/// thread where a row's passes end.
inline void prefetch(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i);
}

/// y[i] = f(x[i], …) for i in 0 … n
template <class F, class... X> inline void map(float* y, int64_t n, bool stream, F&& f, const X*... x) {
  int64_t i = 0;
  if (stream && isAligned(y))
    for (; i + W <= n; i += W) streamStore(y + i, f(load(x + i)...));
  else
    for (; i + W <= n; i += W) store(y + i, f(load(x + i)...));
  if (const int rest = static_cast<int>(n - i)) storePart(y + i, f(loadPart(x + i, rest)...), rest);
}

/// A whole vector of memory, or the first n lanes of one.
struct WholeVector {
  Vec get(const float* p) const { return load(p); }
  void put(float* p, Vec v) const { store(p, v); }
};
struct PartVector {
  int n;
  Vec get(const float* p) const { return loadPart(p, n); }
  void put(float* p, Vec v) const { storePart(p, v, n); }
};
/// f(i, vector) for 0 … n by steps of W: for kernels with several results, or other needs than `map`'s.
template <class F> inline void eachVector(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + W <= n; i += W) f(i, WholeVector{});
  if (i < n) f(i, PartVector{static_cast<int>(n - i)});
}

/// Views whose last axis is contiguous, as R rows of C.
struct Rows {
  float* data;
  int64_t R, C;
  explicit Rows(const View& v) : data(v.f()), R(1), C(v.ndim > 0 ? v.shape[v.ndim - 1] : 1), outer(leading(v)), walk({&outer}) {
    for (int a = 0; a + 1 < v.ndim; a++) R *= v.shape[a];
  }
  float* operator[](int64_t r) const {
    if (walk.ndim == 1) return data + r * walk.stride[0][0];
    return data + Cursor(walk, r).at[0];
  }
  /// Rows a parallel loop takes at a time, when one element costs `cost` cheap ones.
  int64_t grain(int64_t cost = 1) const { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, C * cost)); }

 private:
  View outer;
  Walk walk;
  static View leading(View v) {
    v.ndim = std::max(0, v.ndim - 1);
    return v;
  }
};

/// Σ f(x[i], …) over 0 … n: four running sums a block, the blocks added in f64.
template <class F, class... X> inline double sumOf(int64_t n, F&& f, const X*... x) {
  constexpr int64_t kBlock = 4096;
  double total = 0;
  int64_t i = 0;
  do {
    const int64_t end = std::min(n, i + kBlock);
    Vec s0{}, s1{}, s2{}, s3{};
    for (; i + 4 * W <= end; i += 4 * W) {
      s0 += f(load(x + i)...);
      s1 += f(load(x + i + W)...);
      s2 += f(load(x + i + 2 * W)...);
      s3 += f(load(x + i + 3 * W)...);
    }
    for (; i + W <= end; i += W) s0 += f(load(x + i)...);
    if (i < end) {
      const int rest = static_cast<int>(end - i);
      const Vec v = f(loadPart(x + i, rest)...);
      Vec part{};
      std::memcpy(&part, &v, static_cast<size_t>(rest) * 4);
      s1 += part;
      i = end;
    }
    total += static_cast<double>(hsum((s0 + s1) + (s2 + s3)));
  } while (i < n);
  return total;
}

}  // namespace qkv::QKV_ISA
