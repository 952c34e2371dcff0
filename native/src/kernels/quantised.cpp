// y = x Wᵀ + b with W in blocks of whole numbers (quantised.h): few rows of x at the speed of memory, many as a matrix product.
#include "quantised.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "gemm.h"

namespace qkv::QKV_ISA {
namespace {

constexpr int kThinRows = 8;  // rows of x at a time

/// Rows of x in 8 bits: codes (T, K), and for each block its scale and 8·Σ codes, which is what codes of four bits, kept 8 too large, add too much.
struct Rounded {
  int8_t* codes;
  float* scales;
  int32_t* eights;
  int64_t ld;  // codes a row
  int8_t* row(int64_t t) const { return codes + t * ld; }
};

Rounded roundedRoom(int64_t rows, int64_t K, float* area) {
  const int64_t blocks = rows * K / kBlock;
  return {reinterpret_cast<int8_t*>(area + 2 * blocks), area, reinterpret_cast<int32_t*>(area + blocks), K};
}
int64_t roundedFloats(int64_t rows, int64_t K) { return rows * (K / kBlock * 2 + K / 4); }

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
  const int64_t blocks = K / kBlock;
  for (int64_t b = 0; b < blocks; b++) {
    const float* const v = x + b * kBlock;
    float& scale = to.scales[t * blocks + b];
    int32_t& eight = to.eights[t * blocks + b];
    int8_t* const codes = to.row(t) + b * kBlock;
    Vec top{}, wrong{};
    for (int i = 0; i < kBlock; i += W) {
      const Vec a = load(v + i);
      top = vmax(top, vabs(a));
      wrong += a - a;  // 0, or NaN
    }
    const float most = hmax(top);
    const bool bad = hsum(wrong) != 0.f;
    if (bad || most < kLeast) {
      scale = bad ? NAN : 0.f;
      eight = 0;
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
    eight = 8 * sum;
  }
}

// ---- Σ of 32 products of codes: eight rows of a group against T rows of x

#if defined(__AVX2__)
inline __m256i bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
/// Four codes of x in every lane.
inline __m256i fourOf(const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, 4);
  return _mm256_set1_epi32(four);
}
/// sum + Σ of the four products of each lane; `size` has no sign.
inline __m256i addProducts(__m256i sum, __m256i size, __m256i x) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return _mm256_dpbusd_epi32(sum, size, x);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(size, x), _mm256_set1_epi16(1)));
#endif
}
template <int T, int bits> [[gnu::always_inline]] inline void dotBlock(const uint8_t* codes, const int8_t* x, int64_t ld, const int32_t* eights, int64_t ldEights, Ints (&dot)[T]) {
  __m256i sum[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) sum[t] = _mm256_setzero_si256();
  if constexpr (bits == 8) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      // One operand of a product of bytes has no sign: that of w goes over to x.
      const __m256i w = bytes(codes + 32 * j), size = _mm256_abs_epi8(w);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) sum[t] = addProducts(sum[t], size, _mm256_sign_epi8(fourOf(x + t * ld + 4 * j), w));
    }
  } else {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const __m256i w = bytes(codes + 32 * j), fifteen = _mm256_set1_epi8(15);
      const __m256i low = _mm256_and_si256(w, fifteen), high = _mm256_and_si256(_mm256_srli_epi16(w, 4), fifteen);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
        sum[t] = addProducts(addProducts(sum[t], low, fourOf(x + t * ld + 4 * j)), high, fourOf(x + t * ld + 16 + 4 * j));
#else
        // Eight sums of two products of 15·127 at most fit 16 bits.
        const __m256i a = _mm256_maddubs_epi16(low, fourOf(x + t * ld + 4 * j)), b = _mm256_maddubs_epi16(high, fourOf(x + t * ld + 16 + 4 * j));
        sum[t] = _mm256_add_epi16(sum[t], _mm256_add_epi16(a, b));
#endif
      }
    }
#if !(defined(__AVX512VNNI__) && defined(__AVX512VL__))
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) sum[t] = _mm256_madd_epi16(sum[t], _mm256_set1_epi16(1));
#endif
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) dot[t] = reinterpret_cast<Ints>(sum[t]) - (bits == 4 ? eights[t * ldEights] : 0);
}
#else
typedef int16_t Sixteen __attribute__((vector_size(32)));
typedef int8_t SixteenBytes __attribute__((vector_size(16), aligned(1), may_alias));
/// The same in 16-bit products: lane 4·row + i of two vectors holds row's column i; two products fit 16 bits, more do not.
template <int T, int bits> inline void dotBlock(const uint8_t* codes, const int8_t* x, int64_t ld, const int32_t* eights, int64_t ldEights, Ints (&dot)[T]) {
  for (int t = 0; t < T; t++) {
    int32_t sum[32] = {};
    for (int j = 0; j < 8; j++) {
      const uint8_t* const from = bits == 8 ? codes + 32 * j : codes + 32 * (j & 3);
      for (int half = 0; half < 2; half++) {
        Sixteen w = __builtin_convertvector(*reinterpret_cast<const SixteenBytes*>(from + 16 * half), Sixteen);
        if (bits == 4) w = (j < 4 ? w : w >> 4) & 15;
        const int8_t* const c = x + t * ld + 4 * j;
        const Sixteen v = {c[0], c[1], c[2], c[3], c[0], c[1], c[2], c[3], c[0], c[1], c[2], c[3], c[0], c[1], c[2], c[3]};
        const Sixteen products = w * v;
        for (int i = 0; i < 16; i++) sum[16 * half + i] += products[i];
      }
    }
    for (int r = 0; r < kGroup; r++) dot[t][r] = sum[4 * r] + sum[4 * r + 1] + sum[4 * r + 2] + sum[4 * r + 3] - (bits == 4 ? eights[t * ldEights] : 0);
  }
}
#endif

struct Job {
  GroupFormat format;
  int64_t T, N;
  Rounded x;
  const float* wide;  // x as it is, for 16 bits
  int64_t ldWide;
  const uint8_t* w;
  const float* bias;
  float* y;
  int64_t ldy;
  void put(int64_t t, int64_t group, Floats v) const {
    const int64_t n = group * kGroup;
    if (n + kGroup <= N) {
      if (bias) v += *reinterpret_cast<const FloatsU*>(bias + n);
      *reinterpret_cast<FloatsU*>(y + t * ldy + n) = v;
    } else
      for (int r = 0; n + r < N; r++) y[t * ldy + n + r] = v[r] + (bias ? bias[n + r] : 0.f);
  }
};

/// R groups of W, `apart` groups from each other, against T rows of x. The order of the sums depends on neither T nor R.
template <int T, int R, int bits> void dotGroups(const Job& job, int64_t g, int64_t apart) {
  const GroupFormat& f = job.format;
  const int64_t blocks = f.blocks(), codesAt = f.scaleBytes();
  constexpr int64_t blockBytes = kGroup * kBlock * bits / 8;
  constexpr int kAtOnce = T <= 4 ? T : 4;  // sums of whole numbers that fit the registers
  const uint8_t* group[R];
  for (int r = 0; r < R; r++) group[r] = job.w + (g + r * apart) * f.bytes();
  Floats sum[T][R] = {};
  for (int64_t b = 0; b < blocks; b++)
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const Floats scale = scalesOf(group[r], b);
      const auto rows = [&]<int n>(int t0, std::integral_constant<int, n>) __attribute__((always_inline)) {
        Ints dot[n];
        dotBlock<n, bits>(group[r] + codesAt + b * blockBytes, job.x.codes + t0 * job.x.ld + b * kBlock, job.x.ld, job.x.eights + t0 * blocks + b, blocks, dot);
#pragma GCC unroll 8
        for (int t = 0; t < n; t++) {
          const Floats both = scale * job.x.scales[(t0 + t) * blocks + b];
          sum[t0 + t][r] += __builtin_convertvector(dot[t], Floats) * both;
        }
      };
      rows(0, std::integral_constant<int, kAtOnce>());
      if constexpr (T > kAtOnce) rows(kAtOnce, std::integral_constant<int, T - kAtOnce>());
    }
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) job.put(t, g + r * apart, sum[t][r]);
}

/// The same for 16 bits, on x as it is.
template <int T, int R> void dotGroups16(const Job& job, int64_t g, int64_t apart) {
  const GroupFormat& f = job.format;
  typedef uint32_t Pairs __attribute__((vector_size(32)));
  typedef uint32_t PairsU __attribute__((vector_size(32), aligned(1), may_alias));
  const uint8_t* group[R];
  for (int r = 0; r < R; r++) group[r] = job.w + (g + r * apart) * f.bytes();
  Floats sum[T][R] = {};
#pragma GCC unroll 4
  for (int64_t k = 0; k < f.K; k += 2)
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const Pairs w = *reinterpret_cast<const PairsU*>(group[r] + k * 16);
      const Floats even = reinterpret_cast<Floats>(w << 16), odd = reinterpret_cast<Floats>(w & 0xffff0000u);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) sum[t][r] += even * job.wide[t * job.ldWide + k];
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) sum[t][r] += odd * job.wide[t * job.ldWide + k + 1];
    }
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) job.put(t, g + r * apart, sum[t][r]);
}

/// Groups of W read at once: one stream does not fill a core's memory pipes.
template <int T> constexpr int streams() { return T == 1 ? 4 : T == 2 ? 2 : 1; }

template <int T, int bits> void dots(const Job& job, int64_t begin, int64_t end) {
  constexpr int R = streams<T>();
  const int64_t apart = (end - begin) / R;
  for (int64_t g = begin; g < begin + apart; g++) {
    if constexpr (bits == 16) dotGroups16<T, R>(job, g, apart);
    else dotGroups<T, R, bits>(job, g, apart);
  }
  for (int64_t g = begin + apart * R; g < end; g++) {
    if constexpr (bits == 16) dotGroups16<T, 1>(job, g, 0);
    else dotGroups<T, 1, bits>(job, g, 0);
  }
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

/// Many rows in whole numbers: a group of W stays in the first-level cache while the rows of x pass by, eight at a time. The bits are those of few rows.
template <int bits> void manyRounded(const Job& job) {
  constexpr int64_t kRowsOfX = 1024;
  const int64_t K = job.format.K, blocks = job.format.blocks(), groups = (job.N + kGroup - 1) / kGroup;
  for (int64_t t0 = 0; t0 < job.T; t0 += kRowsOfX) {
    const int64_t T = std::min(kRowsOfX, job.T - t0);
    const Rounded x = roundedRoom(T, K, sharedScratch(0, roundedFloats(T, K)));
    parallelFor(T, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) roundRow(job.wide + (t0 + t) * job.ldWide, K, x, t);
    });
    parallelFor(groups, std::max<int64_t>(1, groups / (threadCount() * 8)), [&](int64_t begin, int64_t end, int) {
      for (int64_t g = begin; g < end; g++)
        for (int64_t t = 0; t < T; t += kThinRows) {
          Job few = job;
          few.T = std::min<int64_t>(kThinRows, T - t);
          few.x = {x.codes + t * x.ld, x.scales + t * blocks, x.eights + t * blocks, x.ld};
          few.y += (t0 + t) * job.ldy;
          thin<bits>(few, g, g + 1);
        }
    });
  }
}

/// Many rows with bf16: W becomes f32 again, a piece at a time, and the product is the ordinary one.
void manyWide(const Job& job) {
  const GroupFormat& f = job.format;
  constexpr int64_t kWords = int64_t{3} << 19;
  const int64_t piece = std::max<int64_t>(kGroup, kWords / f.K / kGroup * kGroup);
  float* const weights = sharedScratch(1, piece * f.K);
  for (int64_t n0 = 0; n0 < job.N; n0 += piece) {
    const int64_t N = std::min(piece, job.N - n0);
    parallelFor(N, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t n = begin; n < end; n++) dequantiseRow(f, job.w + (n0 + n) / kGroup * f.bytes(), static_cast<int>((n0 + n) % kGroup), weights + n * f.K);
    });
    gemm({job.T, N, f.K, {job.wide, DType::f32, job.ldWide, 1}, {weights, DType::f32, 1, f.K}, job.y + n0, job.ldy, job.bias ? job.bias + n0 : nullptr});
  }
}

}  // namespace

/// x rows (R, K), codes u8 (⌈N/8⌉, bytes), bias? (N) → y rows (R, N); options: bits
void linearQuantised(const Args& args) {
  const View &x = args.in[0], &w = args.in[1], &y = args.out[0];
  const View* const bias = args.nIn > 2 && args.in[2].present() ? args.in + 2 : nullptr;
  const int bits = static_cast<int>(args.opt[0]);
  const int64_t R = x.shape[0], K = x.shape[1];
  Job job{{bits, K}, R, y.shape[1], {}, x.f(), x.stride[0], w.as<uint8_t>(), bias ? bias->f() : nullptr, y.f(), y.stride[0]};
  if (R == 0 || job.N == 0) return;
  if (R > kThinRows) return bits == 16 ? manyWide(job) : bits == 8 ? manyRounded<8>(job) : manyRounded<4>(job);
  if (bits < 16) {
    job.x = roundedRoom(R, K, sharedScratch(0, roundedFloats(R, K)));
    for (int64_t t = 0; t < R; t++) roundRow(x.f() + t * x.stride[0], K, job.x, t);
  }
  const int64_t groups = (job.N + kGroup - 1) / kGroup;
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(threadCount() * 4, groups * job.format.bytes() / 16384));
  parallelFor(groups, (groups + tasks - 1) / tasks, [&](int64_t begin, int64_t end, int) {
    if (bits == 16) thin<16>(job, begin, end);
    else if (bits == 8) thin<8>(job, begin, end);
    else thin<4>(job, begin, end);
  });
}

/// codes u8 (⌈V/8⌉, bytes), ids i32 (R) → y rows (R, K); options: bits
void gatherQuantised(const Args& args) {
  const View &w = args.in[0], &ids = args.in[1], &y = args.out[0];
  const GroupFormat f{static_cast<int>(args.opt[0]), y.shape[1]};
  parallelFor(y.shape[0], 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const int32_t id = ids.as<int32_t>()[r];
      dequantiseRow(f, w.as<uint8_t>() + id / kGroup * f.bytes(), id % kGroup, y.f() + r * y.stride[0]);
    }
  });
}

}  // namespace qkv::QKV_ISA
