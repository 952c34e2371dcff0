// y = x Wᵀ + b with W in blocks of whole numbers (quantised.h): few rows of x at the speed of memory. Many rows: quantised-panels.cpp, and with 16 bits the ordinary product.
#include "quantised.h"

#include <algorithm>
#include <type_traits>

#include "gemm.h"
#include "rounded-rows.h"

namespace qkv::QKV_ISA {
namespace {

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

struct Job : QuantisedProduct {
  Rounded x8;
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
        dotBlock<n, bits>(group[r] + codesAt + b * blockBytes, job.x8.codes + t0 * job.x8.ld + b * kBlock, job.x8.ld, job.x8.eights + t0 * blocks + b, blocks, dot);
#pragma GCC unroll 8
        for (int t = 0; t < n; t++) {
          const Floats both = scale * job.x8.scales[(t0 + t) * blocks + b];
          sum[t0 + t][r] += __builtin_convertvector(dot[t], Floats) * both;
        }
      };
      rows(0, std::integral_constant<int, kAtOnce>());
      if constexpr (T > kAtOnce) rows(kAtOnce, std::integral_constant<int, T - kAtOnce>());
    }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++)
#pragma GCC unroll 4
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
      for (int t = 0; t < T; t++) sum[t][r] += even * job.x[t * job.ldx + k];
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) sum[t][r] += odd * job.x[t * job.ldx + k + 1];
    }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++)
#pragma GCC unroll 4
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
template <int bits> void few(const Job& job, int64_t begin, int64_t end) {
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

}  // namespace

/// x rows (R, K), codes u8 (⌈N/8⌉, bytes), bias? (N) → y rows (R, N); options: bits
void linearQuantised(const Args& args) {
  const View &x = args.in[0], &w = args.in[1], &y = args.out[0];
  const float* const bias = args.nIn > 2 && args.in[2].present() ? args.in[2].f() : nullptr;
  const int bits = static_cast<int>(args.opt[0]);
  const int64_t R = x.shape[0], K = x.shape[1];
  Job job{{{bits, K}, R, y.shape[1], x.f(), x.stride[0], w.as<uint8_t>(), bias, y.f(), y.stride[0]}, {}};
  if (R == 0 || job.N == 0) return;
  if (bits == 16 && R > 8) return gemm({R, job.N, K, {job.x, DType::f32, job.ldx, 1}, {job.w, DType::bf16, 1, K}, job.y, job.ldy, bias, false, false, true});
  if (bits < 16 && R > 8) return quantisedPanels(job);
  if (bits < 16) {
    job.x8 = roundedRoom(R, K, sharedScratch(0, roundedFloats(R, K)));
    for (int64_t t = 0; t < R; t++) roundRow(job.x + t * job.ldx, K, job.x8, t);
  }
  const int64_t groups = (job.N + kGroup - 1) / kGroup;
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(threadCount() * 4, groups * job.format.bytes() / 16384));
  parallelFor(groups, (groups + tasks - 1) / tasks, [&](int64_t begin, int64_t end, int) {
    if (bits == 16) few<16>(job, begin, end);
    else if (bits == 8) few<8>(job, begin, end);
    else few<4>(job, begin, end);
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
