// Matrices of whole numbers: 32 neighbours of a row share one scale, a bf16. A row is its codes, then its scales; rows follow each other without a gap.
//   8 bits: K codes −127 … 127; K is a multiple of 32.
//   4 bits: code + 8 in half a byte; byte j of 64 codes holds code j in its low half and code 32 + j in its high half. K is filled up to a multiple of
//           64 with codes of zero.
// A product rounds its other operand x the same way, 8 bits a number with an f32 scale for 32 of them, so that within a block only whole numbers are
// multiplied and added, without error:  y = Σ_blocks scale_w·scale_x·Σ code_w·code_x.
#pragma once
#include <cstdint>

#include "kernel.h"
#include "simd.h"

namespace qkv::QKV_ISA {

constexpr int kBlock = 32;

// The vectors of these kernels: eight lanes, or four where registers are short.
constexpr int L = W >= 8 ? 8 : 4;
typedef float Floats __attribute__((vector_size(L * 4)));
typedef float FloatsU __attribute__((vector_size(L * 4), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(L * 4)));
typedef int8_t Eight __attribute__((vector_size(8)));
typedef int8_t EightU __attribute__((vector_size(8), aligned(1), may_alias));
typedef int16_t Shorts __attribute__((vector_size(16)));
typedef int32_t Words __attribute__((vector_size(16)));

inline Floats loadF(const float* p) { return *reinterpret_cast<const FloatsU*>(p); }
inline void storeF(float* p, Floats v) { *reinterpret_cast<FloatsU*>(p) = v; }

/// How a row is laid out.
struct RowFormat {
  int bits;
  int64_t K;
  int64_t blocks;     // scales in a row
  int64_t codeBytes;  // then the scales begin

  RowFormat(int b, int64_t k) : bits(b), K(k) {
    const int64_t filled = b == 4 ? (k + 63) / 64 * 64 : k;
    blocks = filled / kBlock;
    codeBytes = filled * b / 8;
  }
  int64_t bytes() const { return codeBytes + 2 * blocks; }
};

/// n ≤ L scales as f32; the rest zero.
inline Floats scalesOf(const uint8_t* p, int64_t n) {
  typedef uint16_t Half __attribute__((vector_size(L * 2)));
  typedef uint32_t Bits __attribute__((vector_size(L * 4)));
  Half h{};
  if (n >= L) std::memcpy(&h, p, sizeof h);
  else std::memcpy(&h, p, static_cast<size_t>(n) * 2);
  return reinterpret_cast<Floats>(__builtin_convertvector(h, Bits) << 16);
}
inline float scaleOf(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return bf16ToF32(h);
}

/// Row as numbers: K of them.
inline void dequantiseRow(const RowFormat& f, const uint8_t* row, float* to) {
  for (int64_t b = 0; b < f.blocks; b++) {
    const float scale = scaleOf(row + f.codeBytes + 2 * b);
    const int n = static_cast<int>(f.K - b * kBlock < kBlock ? f.K - b * kBlock : kBlock);
    if (n <= 0) return;
    float* const y = to + b * kBlock;
    if (f.bits == 8) {
      const int8_t* const c = reinterpret_cast<const int8_t*>(row) + b * kBlock;
      for (int i = 0; i < kBlock; i++) y[i] = scale * static_cast<float>(c[i]);
    } else {
      const uint8_t* const c = row + b / 2 * kBlock;
      const int shift = b % 2 * 4;
      for (int i = 0; i < n; i++) y[i] = scale * static_cast<float>(((c[i] >> shift) & 15) - 8);
    }
  }
}

}  // namespace qkv::QKV_ISA
