// copy (any dtype and strides to any other) and fill. Axes are ordered by the strides of y, so that it is written in order; where x then lies across
// (a transpose), square tiles are moved, so that both sides use whole cache lines.
#include "strided.h"

namespace qkv::QKV_ISA {
namespace {

template <DType D> struct StorageOf { using Type = float; };
template <> struct StorageOf<DType::bf16> { using Type = uint16_t; };
template <> struct StorageOf<DType::f16> { using Type = uint16_t; };
template <> struct StorageOf<DType::i32> { using Type = int32_t; };
template <> struct StorageOf<DType::u8> { using Type = uint8_t; };
template <DType D> using Storage = typename StorageOf<D>::Type;

inline uint32_t bitsOf(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  return u;
}
inline float floatOf(uint32_t u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}

#if defined(__aarch64__)
inline float f16ToF32(uint16_t h) {
  __fp16 x;
  std::memcpy(&x, &h, 2);
  return static_cast<float>(x);
}
inline uint16_t f32ToF16(float f) {
  const __fp16 x = static_cast<__fp16>(f);
  uint16_t h;
  std::memcpy(&h, &x, 2);
  return h;
}
#elif defined(__F16C__)
inline float f16ToF32(uint16_t h) { return _cvtsh_ss(h); }
inline uint16_t f32ToF16(float f) { return static_cast<uint16_t>(_cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT)); }
#else
// On integers, so that subnormal halves survive in threads where denormals count as zero.
inline float f16ToF32(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 1023u;
  if (exponent == 31) return floatOf(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return floatOf(sign | ((exponent + 112u) << 23) | (fraction << 13));
  const float size = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -size : size;
}
inline uint16_t f32ToF16(float f) {
  const uint32_t u = bitsOf(f), sign = (u >> 16) & 0x8000u, size = u & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (size >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and more round to ∞
  if (size < 0x33000000u) return static_cast<uint16_t>(sign);             // below half of the smallest subnormal
  const uint32_t exponent = size >> 23, fraction = (size & 0x7fffffu) | 0x800000u;
  const uint32_t drop = exponent < 113 ? 126u - exponent : 13u;  // bits of the fraction that f16 has no room for
  const uint32_t kept = fraction >> drop, rest = fraction & ((1u << drop) - 1u), half = 1u << (drop - 1);
  const uint32_t rounded = kept + (rest > half || (rest == half && (kept & 1u)) ? 1u : 0u);
  return static_cast<uint16_t>(sign | (exponent < 113 ? rounded : ((exponent - 113u) << 10) + rounded));
}
#endif

/// Nearest whole number, halves to even; saturating; NaN → 0.
inline int32_t f32ToI32(float f) {
  if (f != f) return 0;
  if (f >= 2147483648.f) return INT32_MAX;
  if (f <= -2147483648.f) return INT32_MIN;
  return static_cast<int32_t>(std::nearbyint(f));
}
inline uint8_t f32ToU8(float f) {
  const float inside = f > 0.f ? (f < 255.f ? f : 255.f) : 0.f;  // NaN → 0
  return static_cast<uint8_t>(std::nearbyint(inside));
}
/// Rounded once: by way of f32 a tie could be made where there was none.
inline uint16_t i32ToBf16(int32_t v) {
  const float near = static_cast<float>(v);
  const double rest = static_cast<double>(v) - static_cast<double>(near);
  if (rest == 0) return f32ToBf16(near);
  const uint32_t u = bitsOf(near), inward = (rest > 0) == (v > 0) ? u : u - 1;  // truncated, and its last bit says that something is missing
  return f32ToBf16(floatOf(inward | 1u));
}

template <DType X, DType Y> inline Storage<Y> convert(Storage<X> v) {
  if constexpr (X == Y) return v;
  else if constexpr (X == DType::i32 && Y == DType::u8) return static_cast<uint8_t>(std::clamp(v, 0, 255));
  else if constexpr (X == DType::i32 && Y == DType::bf16) return i32ToBf16(v);
  else if constexpr (X == DType::u8 && Y == DType::i32) return v;
  else {
    float f;
    if constexpr (X == DType::bf16) f = bf16ToF32(v);
    else if constexpr (X == DType::f16) f = f16ToF32(v);
    else f = static_cast<float>(v);
    if constexpr (Y == DType::bf16) return f32ToBf16(f);
    else if constexpr (Y == DType::f16) return f32ToF16(f);
    else if constexpr (Y == DType::i32) return f32ToI32(f);
    else if constexpr (Y == DType::u8) return f32ToU8(f);
    else return f;
  }
}

template <DType X, DType Y> void convertRun(const Storage<X>* x, Storage<Y>* y, int64_t n, bool stream) {
  int64_t i = 0;
  if constexpr (X == Y) {
    if (stream && isAligned(y)) {
      constexpr int64_t lanes = W * 4 / sizeof(Storage<Y>);
      for (; i + lanes <= n; i += lanes) streamStore(reinterpret_cast<float*>(y + i), load(reinterpret_cast<const float*>(x + i)));
    }
    if (n > i) std::memcpy(y + i, x + i, static_cast<size_t>(n - i) * sizeof *y);
    return;
  }
#if defined(__F16C__)
  if constexpr (X == DType::f16 && Y == DType::f32)
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
  if constexpr (X == DType::f32 && Y == DType::f16)
    for (; i + 8 <= n; i += 8) _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < n; i++) y[i] = convert<X, Y>(x[i]);
}

/// A run along one axis: dx, dy are the distances of neighbours.
template <DType X, DType Y> void copyRow(const Storage<X>* x, int64_t dx, Storage<Y>* y, int64_t dy, int64_t n, bool stream) {
  if (dx == 1 && dy == 1) return convertRun<X, Y>(x, y, n, stream);
  if (dx == 0) {
    const Storage<Y> v = convert<X, Y>(*x);
    if (dy == 1) std::fill_n(y, n, v);
    else
      for (int64_t i = 0; i < n; i++) y[i * dy] = v;
    return;
  }
  for (int64_t i = 0; i < n; i++) y[i * dy] = convert<X, Y>(x[i * dx]);
}
void addRow(const float* x, int64_t dx, float* y, int64_t dy, int64_t n) {
  if (dx == 1 && dy == 1) return map(y, n, false, [](Vec a, Vec b) { return a + b; }, x, static_cast<const float*>(y));
  for (int64_t i = 0; i < n; i++) y[i * dy] += x[i * dx];
}

/// y[p·dy + j] = x[j·dx + p] for p, j in 0 … 16
template <DType X, DType Y, bool add> void transposeTile(const Storage<X>* x, int64_t dx, Storage<Y>* y, int64_t dy) {
#if defined(__AVX2__)
  if constexpr (sizeof(Storage<X>) == 4 && X == Y) {
    for (int p = 0; p < 16; p += 8)
      for (int j = 0; j < 16; j += 8) {
        const float* from = reinterpret_cast<const float*>(x) + j * dx + p;
        float* to = reinterpret_cast<float*>(y) + p * dy + j;
        __m256 a[8], b[8];
        for (int i = 0; i < 4; i++) {  // rows i and i + 4 side by side
          a[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + i * dx)), _mm_loadu_ps(from + (i + 4) * dx), 1);
          a[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + i * dx + 4)), _mm_loadu_ps(from + (i + 4) * dx + 4), 1);
        }
        for (int i = 0; i < 8; i += 4) {
          const __m256 t0 = _mm256_unpacklo_ps(a[i], a[i + 1]), t1 = _mm256_unpackhi_ps(a[i], a[i + 1]);
          const __m256 t2 = _mm256_unpacklo_ps(a[i + 2], a[i + 3]), t3 = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
          b[i] = _mm256_shuffle_ps(t0, t2, 0x44);
          b[i + 1] = _mm256_shuffle_ps(t0, t2, 0xee);
          b[i + 2] = _mm256_shuffle_ps(t1, t3, 0x44);
          b[i + 3] = _mm256_shuffle_ps(t1, t3, 0xee);
        }
        for (int i = 0; i < 8; i++) _mm256_storeu_ps(to + i * dy, add ? _mm256_add_ps(_mm256_loadu_ps(to + i * dy), b[i]) : b[i]);
      }
    return;
  }
#endif
  for (int p = 0; p < 16; p++)
    for (int j = 0; j < 16; j++) {
      if constexpr (add) y[p * dy + j] += x[j * dx + p];
      else y[p * dy + j] = convert<X, Y>(x[j * dx + p]);
    }
}

/// The axes of y from the widest stride to the narrowest; of equal ones, as they are.
void orderByStride(const View& y, int* order) {
  for (int a = 0; a < y.ndim; a++) order[a] = a;
  std::stable_sort(order, order + y.ndim, [&](int a, int b) { return std::abs(y.stride[a]) > std::abs(y.stride[b]); });
}

template <DType X, DType Y, bool add> void copyAs(const View& from, const View& to) {
  int order[kMaxDims];
  orderByStride(to, order);
  Walk w({&to, &from}, order);
  const Storage<X>* x = from.as<Storage<X>>();
  Storage<Y>* y = to.as<Storage<Y>>();
  const int last = w.ndim - 1;
  const bool stream = !add && w.size * static_cast<int64_t>(sizeof *y) >= kStreamBytes;

  int across = -1;  // the axis along which x is contiguous, when it is not the last
  for (int a = 0; a < last; a++)
    if (w.stride[1][a] == 1 && w.stride[1][last] != 1 && w.stride[1][last] != 0 && w.stride[0][last] == 1 && w.shape[a] >= 16 && w.inner() >= 16)
      across = a;

  if (across >= 0) {
    // 1. Strips of 16 of the axis `across` by the whole last axis, for every index of the others.
    const int64_t P = w.shape[across], J = w.shape[last], dy = w.stride[0][across], dx = w.stride[1][last];
    const int64_t strips = (P + 15) / 16;
    Walk outer = w;
    for (int a = across; a < last - 1; a++) {
      outer.shape[a] = w.shape[a + 1];
      for (int k = 0; k < 2; k++) outer.stride[k][a] = w.stride[k][a + 1];
    }
    outer.ndim = std::max(1, last - 1);
    if (last == 1) {
      outer.shape[0] = 1;
      outer.stride[0][0] = outer.stride[1][0] = 0;
    }
    parallelFor(w.size / P / J * strips, std::max<int64_t>(1, kGrain / (16 * J)), [&](int64_t begin, int64_t end, int) {
      for (int64_t s = begin; s < end; s++) {
        const Cursor c(outer, s / strips);
        const int64_t p = s % strips * 16, rows = std::min<int64_t>(16, P - p);
        const Storage<X>* xs = x + c.at[1] + p;
        Storage<Y>* ys = y + c.at[0] + p * dy;
        int64_t j = 0;
        if (rows == 16)
          for (; j + 16 <= J; j += 16) transposeTile<X, Y, add>(xs + j * dx, dx, ys + j, dy);
        for (int64_t r = 0; r < rows; r++)
          for (int64_t i = j; i < J; i++) {
            if constexpr (add) ys[r * dy + i] += xs[i * dx + r];
            else ys[r * dy + i] = convert<X, Y>(xs[i * dx + r]);
          }
      }
    });
    return;
  }

  // 2. Rows, or pieces of rows.
  parallelFor(w.size, kGrain, [&](int64_t begin, int64_t end, int) {
    Cursor c(w, begin);
    for (int64_t i = begin; i < end;) {
      const int64_t n = std::min(end - i, w.inner() - c.column(w));
      if constexpr (add) addRow(x + c.at[1], w.innerStride(1), y + c.at[0], w.innerStride(0), n);
      else copyRow<X, Y>(x + c.at[1], w.innerStride(1), y + c.at[0], w.innerStride(0), n, stream);
      i += n;
      c.nextRow(w);
    }
#if defined(__x86_64__)
    if (stream) _mm_sfence();
#endif
  });
}

template <DType X> void copyFrom(const View& x, const View& y) {
  switch (y.dtype) {
    case DType::f32: return copyAs<X, DType::f32, false>(x, y);
    case DType::bf16: return copyAs<X, DType::bf16, false>(x, y);
    case DType::f16: return copyAs<X, DType::f16, false>(x, y);
    case DType::i32: return copyAs<X, DType::i32, false>(x, y);
    case DType::u8: return copyAs<X, DType::u8, false>(x, y);
  }
}

void copyView(const View& x, const View& y, bool accumulate) {
  if (accumulate) return copyAs<DType::f32, DType::f32, true>(x, y);
  switch (x.dtype) {
    case DType::f32: return copyFrom<DType::f32>(x, y);
    case DType::bf16: return copyFrom<DType::bf16>(x, y);
    case DType::f16: return copyFrom<DType::f16>(x, y);
    case DType::i32: return copyFrom<DType::i32>(x, y);
    case DType::u8: return copyFrom<DType::u8>(x, y);
  }
}

int64_t bytesOf(DType d) { return d == DType::u8 ? 1 : d == DType::bf16 || d == DType::f16 ? 2 : 4; }

/// The bytes between the first and the last element of a view.
void extent(const View& v, const char*& low, const char*& high) {
  low = high = v.data;
  for (int a = 0; a < v.ndim; a++) {
    const int64_t reach = (v.shape[a] - 1) * v.stride[a] * bytesOf(v.dtype);
    (reach < 0 ? low : high) += reach;
  }
  high += bytesOf(v.dtype);
}
/// Could a write to y change an element of x that is still to be read? (Interleaved views that share nothing count too: they are only slower.)
bool overlaps(const View& x, const View& y) {
  bool same = x.data == y.data && x.dtype == y.dtype;
  for (int a = 0; a < x.ndim && same; a++) same = x.shape[a] == 1 || x.stride[a] == y.stride[a];
  if (same) return false;
  const char *xLow, *xHigh, *yLow, *yHigh;
  extent(x, xLow, xHigh);
  extent(y, yLow, yHigh);
  return xLow < yHigh && yLow < xHigh;
}

}  // namespace

void copy(const Args& a) {
  const View &x = a.in[0], &y = a.out[0];
  const bool accumulate = a.opt[0] != 0;
  if (y.size() == 0) return;
  if (!overlaps(x, y)) return copyView(x, y, accumulate);
  View aside = x;
  aside.data = reinterpret_cast<char*>(sharedScratch(0, x.size()));
  int64_t stride = 1;
  for (int axis = x.ndim - 1; axis >= 0; axis--) {
    aside.stride[axis] = stride;
    stride *= x.shape[axis];
  }
  copyView(x, aside, false);
  copyView(aside, y, accumulate);
}

void fill(const Args& a) {
  View value = a.out[0];
  const double v = a.opt[0];
  // Whole numbers keep all their digits on the way to an integer; everything else is an f32 that copy converts.
  const bool whole = a.out[0].dtype == DType::i32;
  const float f = static_cast<float>(v);
  const int32_t i = v != v ? 0 : static_cast<int32_t>(std::nearbyint(std::clamp(v, -2147483648.0, 2147483647.0)));
  value.dtype = whole ? DType::i32 : DType::f32;
  value.data = whole ? reinterpret_cast<char*>(const_cast<int32_t*>(&i)) : reinterpret_cast<char*>(const_cast<float*>(&f));
  for (int axis = 0; axis < value.ndim; axis++) value.stride[axis] = 0;
  if (a.out[0].size() > 0) copyView(value, a.out[0], false);
}

}  // namespace qkv::QKV_ISA
