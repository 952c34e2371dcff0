// y = x Wᵀ + b with W in blocks of whole numbers (quantised.h): few rows of x at the speed of memory, many as a matrix product.
#include "quantised.h"

#include <algorithm>
#include <cmath>

#include "gemm.h"

namespace qkv::QKV_ISA {
namespace {

constexpr int kThinRows = 8;

/// Rows of x in 8 bits: codes (T, K), and for each block its scale and 8·scale·Σ codes, which is what codes of four bits, kept 8 too large, add too much.
struct Rounded {
  int8_t* codes;
  float* scales;
  float* eights;
  int64_t ld;       // codes a row, a multiple of 64
  int64_t ldScale;  // scales a row, a multiple of L
  int8_t* row(int64_t t) const { return codes + t * ld; }
};

Rounded roundedRoom(int64_t rows, int64_t K, float* area) {
  const int64_t ld = (K + 63) / 64 * 64, ldScale = (ld / kBlock + 7) / 8 * 8;
  float* const scales = area;
  float* const eights = scales + rows * ldScale;
  return {reinterpret_cast<int8_t*>(eights + rows * ldScale), scales, eights, ld, ldScale};
}
int64_t roundedFloats(int64_t rows, int64_t K) {
  const int64_t ld = (K + 63) / 64 * 64, ldScale = (ld / kBlock + 7) / 8 * 8;
  return rows * (2 * ldScale + ld / 4) + 16;
}

/// The nearest whole numbers, ties to even. (Not by adding 1.5·2²³: the compiler would join that addition with the product before it on some machines only.)
inline IVec nearest(Vec v) {
#if defined(__AVX512F__)
  return reinterpret_cast<IVec>(_mm512_cvtps_epi32(v));
#elif defined(__AVX2__)
  return reinterpret_cast<IVec>(_mm256_cvtps_epi32(v));
#elif defined(__x86_64__)
  return reinterpret_cast<IVec>(_mm_cvtps_epi32(v));
#elif defined(__aarch64__)
  return vcvtnq_s32_f32(v);
#else
  IVec n;
  for (int i = 0; i < W; i++) n[i] = static_cast<int32_t>(std::nearbyint(v[i]));
  return n;
#endif
}

/// Below this the largest number of a block counts as zero.
constexpr float kLeast = 1e-30f;

/// code = round(x·127/max|x|), ties to even; scale = max|x|/127. A block with a NaN or ∞ gets a NaN for a scale, so that the product tells.
void roundRow(const float* x, int64_t K, const Rounded& to, int64_t t) {
  for (int64_t b = 0; b < to.ldScale; b++) {
    const int64_t k = b * kBlock;
    float& scale = to.scales[t * to.ldScale + b];
    float& eight = to.eights[t * to.ldScale + b];
    scale = eight = 0.f;
    if (k >= to.ld) continue;
    int8_t* const codes = to.row(t) + k;
    float v[kBlock];
    const int n = static_cast<int>(std::clamp<int64_t>(K - k, 0, kBlock));
    if (n == kBlock) std::memcpy(v, x + k, sizeof v);
    else {
      std::fill_n(v, kBlock, 0.f);
      if (n > 0) std::memcpy(v, x + k, static_cast<size_t>(n) * 4);
    }
    Vec top{}, wrong{};
    for (int i = 0; i < kBlock; i += W) {
      const Vec a = load(v + i);
      top = vmax(top, vabs(a));
      wrong += a - a;  // 0, or NaN
    }
    const float most = hmax(top);
    if (hsum(wrong) != 0.f) {
      scale = eight = NAN;
      std::fill_n(codes, kBlock, int8_t{0});
      continue;
    }
    if (most < kLeast) {
      std::fill_n(codes, kBlock, int8_t{0});
      continue;
    }
    const float inverse = 127.f / most;
    int32_t whole[kBlock];
    for (int i = 0; i < kBlock; i += W) *reinterpret_cast<IVecU*>(whole + i) = nearest(load(v + i) * inverse);
    int32_t sum = 0;
    for (int i = 0; i < kBlock; i++) {
      codes[i] = static_cast<int8_t>(whole[i]);
      sum += whole[i];
    }
    scale = most / 127.f;
    eight = 8.f * scale * static_cast<float>(sum);
  }
}

// ---- Σ of 32 products of codes, spread over L lanes

#if defined(__AVX2__)
inline __m256i bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
/// 32 codes of four bits, 8 too large: the low or the high halves of 32 bytes.
inline __m256i lowHalves(const uint8_t* p) { return _mm256_and_si256(bytes(p), _mm256_set1_epi8(15)); }
inline __m256i highHalves(const uint8_t* p) { return _mm256_and_si256(_mm256_srli_epi16(bytes(p), 4), _mm256_set1_epi8(15)); }

/// A row's 32 codes made ready for products with several rows of x. 8 bits: |w|, and w, whose sign goes over to x: one operand of the product of bytes has none.
struct Codes8 {
  __m256i size, w;
  explicit Codes8(const uint8_t* p) : size(_mm256_abs_epi8(bytes(p))), w(bytes(p)) {}
  Ints dot(const int8_t* x) const {
    const __m256i signedX = _mm256_sign_epi8(bytes(x), w);
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return reinterpret_cast<Ints>(_mm256_dpbusd_epi32(_mm256_setzero_si256(), size, signedX));
#else
    return reinterpret_cast<Ints>(_mm256_madd_epi16(_mm256_maddubs_epi16(size, signedX), _mm256_set1_epi16(1)));
#endif
  }
};
struct Codes4 {
  __m256i w;
  Codes4(const uint8_t* p, bool high) : w(high ? highHalves(p) : lowHalves(p)) {}
  Ints dot(const int8_t* x) const {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return reinterpret_cast<Ints>(_mm256_dpbusd_epi32(_mm256_setzero_si256(), w, bytes(x)));
#else
    return reinterpret_cast<Ints>(_mm256_madd_epi16(_mm256_maddubs_epi16(w, bytes(x)), _mm256_set1_epi16(1)));
#endif
  }
};
#else
inline Shorts eight(const void* p) { return __builtin_convertvector(*static_cast<const EightU*>(p), Shorts); }
/// Products fit 16 bits, and so does the sum of two of them.
inline Words dotShorts(const Shorts (&w)[4], const int8_t* x) {
  const Shorts a = w[0] * eight(x) + w[1] * eight(x + 8), b = w[2] * eight(x + 16) + w[3] * eight(x + 24);
  typedef int16_t Four __attribute__((vector_size(8)));
  const auto half = [](Shorts s, bool high) {
    const Four f = high ? __builtin_shufflevector(s, s, 4, 5, 6, 7) : __builtin_shufflevector(s, s, 0, 1, 2, 3);
    return __builtin_convertvector(f, Words);
  };
  return half(a, false) + half(a, true) + half(b, false) + half(b, true);
}
struct Codes8 {
  Shorts w[4];
  explicit Codes8(const uint8_t* p) : w{eight(p), eight(p + 8), eight(p + 16), eight(p + 24)} {}
  Ints dot(const int8_t* x) const { return dotShorts(w, x); }
};
struct Codes4 {
  Shorts w[4];
  Codes4(const uint8_t* p, bool high) {
    for (int i = 0; i < 4; i++) {
      const Shorts s = eight(p + 8 * i);
      w[i] = (high ? s >> 4 : s) & 15;
    }
  }
  Ints dot(const int8_t* x) const { return dotShorts(w, x); }
};
#endif

inline float sumOf(Floats v) {
#if defined(__AVX2__)
  const auto v4 = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  const Floats v4 = v;
#endif
  const auto v2 = v4 + __builtin_shufflevector(v4, v4, 2, 3, 2, 3);
  return v2[0] + v2[1];
}

struct Job {
  RowFormat format;
  int64_t T, N;
  Rounded x;
  const uint8_t* w;
  const float* bias;
  const float* residual;
  int64_t ldResidual;
  float* y;
  int64_t ldy;
  void put(int64_t t, int64_t n, float v) const {
    if (bias) v += bias[n];
    if (residual) v += residual[t * ldResidual + n];
    y[t * ldy + n] = v;
  }
};

/// R rows of W, `apart` rows from each other, against T rows of x. The order of the sums depends on neither T nor R.
template <int T, int R, int bits> void dotRows(const Job& job, int64_t n, int64_t apart) {
  const RowFormat& f = job.format;
  const uint8_t* row[R];
  for (int r = 0; r < R; r++) row[r] = job.w + (n + r * apart) * f.bytes();
  Floats sum[T][R] = {}, excess[T][R] = {};
  for (int64_t b = 0; b < f.blocks; b += L) {
    const int64_t left = std::min<int64_t>(L, f.blocks - b);
    float scale[T][R][L];
    for (int r = 0; r < R; r++) {
      const Floats s = scalesOf(row[r] + f.codeBytes + 2 * b, left);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        storeF(scale[t][r], s * loadF(job.x.scales + t * job.x.ldScale + b));
        if constexpr (bits == 4) excess[t][r] += s * loadF(job.x.eights + t * job.x.ldScale + b);
      }
    }
    const auto block = [&](int64_t i) __attribute__((always_inline)) {
      const int8_t* const x = job.x.codes + (b + i) * kBlock;
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        const auto codes = [&] {
          if constexpr (bits == 8) return Codes8(row[r] + (b + i) * kBlock);
          else return Codes4(row[r] + (b + i) / 2 * kBlock, (i & 1) != 0);
        }();
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) sum[t][r] += __builtin_convertvector(codes.dot(x + t * job.x.ld), Floats) * scale[t][r][i];
      }
    };
    if (left == L)
#pragma GCC unroll 8
      for (int64_t i = 0; i < L; i++) block(i);
    else
      for (int64_t i = 0; i < left; i++) block(i);
  }
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) job.put(t, n + r * apart, bits == 4 ? sumOf(sum[t][r]) - sumOf(excess[t][r]) : sumOf(sum[t][r]));
}

/// Rows of W read at once: one stream does not fill a core's memory pipes.
template <int T> constexpr int streams() { return T == 1 ? 4 : T <= 4 ? 2 : 1; }

template <int T, int bits> void dots(const Job& job, int64_t begin, int64_t end) {
  constexpr int R = streams<T>();
  const int64_t apart = (end - begin) / R;
  for (int64_t n = begin; n < begin + apart; n++) dotRows<T, R, bits>(job, n, apart);
  for (int64_t n = begin + apart * R; n < end; n++) dotRows<T, 1, bits>(job, n, 0);
}
template <int bits> void thin(const Job& job, int64_t begin, int64_t end) {
  switch (job.T) {
    case 1: return dots<1, bits>(job, begin, end);
    case 2: return dots<2, bits>(job, begin, end);
    case 3: return dots<3, bits>(job, begin, end);
    case 4: return dots<4, bits>(job, begin, end);
    case 5: return dots<5, bits>(job, begin, end);
    case 6: return dots<6, bits>(job, begin, end);
    case 7: return dots<7, bits>(job, begin, end);
    default: return dots<8, bits>(job, begin, end);
  }
}

/// Many rows: W becomes numbers again, a piece at a time, and so does x after its rounding; the product is the ordinary one.
void thick(const Job& job, const float* x, int64_t ldx) {
  const RowFormat& f = job.format;
  constexpr int64_t kRowsOfX = 1024, kWords = int64_t{3} << 19;
  const int64_t piece = std::max<int64_t>(1, kWords / f.K);
  float* const area = sharedScratch(0, kRowsOfX * f.K + 64);
  float* const weights = sharedScratch(1, piece * f.K + 64);
  for (int64_t t0 = 0; t0 < job.T; t0 += kRowsOfX) {
    const int64_t T = std::min(kRowsOfX, job.T - t0);
    parallelFor(T, 16, [&](int64_t begin, int64_t end, int thread) {
      const Rounded one = roundedRoom(1, f.K, scratch(thread, 0, roundedFloats(1, f.K)));
      for (int64_t t = begin; t < end; t++) {
        roundRow(x + (t0 + t) * ldx, f.K, one, 0);
        for (int64_t k = 0; k < f.K; k++) area[t * f.K + k] = one.scales[k / kBlock] * static_cast<float>(one.codes[k]);
      }
    });
    for (int64_t n0 = 0; n0 < job.N; n0 += piece) {
      const int64_t N = std::min(piece, job.N - n0);
      parallelFor(N, 16, [&](int64_t begin, int64_t end, int) {
        for (int64_t n = begin; n < end; n++) dequantiseRow(f, job.w + (n0 + n) * f.bytes(), weights + n * f.K);
      });
      gemm({T, N, f.K, {area, DType::f32, f.K, 1}, {weights, DType::f32, 1, f.K}, job.y + t0 * job.ldy + n0, job.ldy, job.bias ? job.bias + n0 : nullptr});
    }
  }
  if (job.residual)
    parallelFor(job.T, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++)
        for (int64_t n = 0; n < job.N; n++) job.y[t * job.ldy + n] += job.residual[t * job.ldResidual + n];
    });
}

}  // namespace

/// x rows (R, K), codes u8 (N, bytes), bias? (N), residual? rows (R, N) → y rows (R, N); options: bits
void linearQuantised(const Args& args) {
  const View &x = args.in[0], &w = args.in[1], &y = args.out[0];
  const View* const bias = args.nIn > 2 && args.in[2].present() ? args.in + 2 : nullptr;
  const View* const residual = args.nIn > 3 && args.in[3].present() ? args.in + 3 : nullptr;
  const int bits = static_cast<int>(args.opt[0]);
  const int64_t R = x.shape[0], K = x.shape[1];
  Job job{RowFormat(bits, K), R, y.shape[1], {}, w.as<uint8_t>(), bias ? bias->f() : nullptr, residual ? residual->f() : nullptr, residual ? residual->stride[0] : 0, y.f(), y.stride[0]};
  if (R == 0 || job.N == 0) return;
  if (R > kThinRows) return thick(job, x.f(), x.stride[0]);
  job.x = roundedRoom(R, K, sharedScratch(0, roundedFloats(R, K)));
  for (int64_t t = 0; t < R; t++) roundRow(x.f() + t * x.stride[0], K, job.x, t);
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(threadCount() * 4, job.N * job.format.bytes() / 8192));
  parallelFor(job.N, (job.N + tasks - 1) / tasks, [&](int64_t begin, int64_t end, int) {
    if (bits == 8) thin<8>(job, begin, end);
    else thin<4>(job, begin, end);
  });
}

/// codes u8 (V, bytes), ids i32 (R) → y rows (R, K); options: bits
void gatherQuantised(const Args& args) {
  const View &w = args.in[0], &ids = args.in[1], &y = args.out[0];
  const RowFormat f(static_cast<int>(args.opt[0]), y.shape[1]);
  parallelFor(y.shape[0], 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) dequantiseRow(f, w.as<uint8_t>() + ids.as<int32_t>()[r] * f.bytes(), y.f() + r * y.stride[0]);
  });
}

}  // namespace qkv::QKV_ISA
