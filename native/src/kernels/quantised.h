// Matrices of whole numbers: 32 neighbours of a row share one scale, a bf16. Eight rows lie together, so that a vector holds the same four columns of all of
// them and their sums need no adding across lanes. A group of eight rows, whose scales and codes follow each other without a gap:
//   scales   block by block, the eight rows side by side
//   8 bits   block by block, 32 bytes for each four columns: byte 4·row + i is the code (−127 … 127) of column 4j + i
//   4 bits   block by block, 32 bytes for each eight columns: in the low half of byte 4·row + i column 4j + i, in the high half column 16 + 4j + i; code + 8
//   16 bits  no scales; 32 bytes for each two columns: a bf16 of every row's column 2j, each followed by that of column 2j + 1
// K is a multiple of 32; rows beyond N are zeros.
// With 16 bits a product is Σ w·x in f32, column by column. With fewer a product rounds its other operand x the same way, 8 bits a number with an f32 scale for 32 of them, so that within a block only whole numbers are
// multiplied and added, without error:  y = Σ_blocks scale_w·scale_x·Σ code_w·code_x.
#pragma once
#include <cstdint>

#include "kernel.h"
#include "simd.h"

namespace qkv::QKV_ISA {

constexpr int kBlock = 32, kGroup = 8;

// Eight lanes whatever the machine has: one a row of a group.
typedef float Floats __attribute__((vector_size(32)));
typedef float FloatsU __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(32)));
typedef float Four __attribute__((vector_size(16)));
typedef float FourU __attribute__((vector_size(16), aligned(4), may_alias));
typedef int8_t FourBytes __attribute__((vector_size(4)));

/// How a group is laid out.
struct GroupFormat {
  int bits;
  int64_t K;
  int64_t blocks() const { return K / kBlock; }
  int64_t scaleBytes() const { return bits == 16 ? 0 : blocks() * kGroup * 2; }
  int64_t blockBytes() const { return kGroup * kBlock * bits / 8; }
  int64_t bytes() const { return scaleBytes() + blocks() * blockBytes(); }
};

/// The scales of block b, one a row.
inline Floats scalesOf(const uint8_t* group, int64_t b) {
  typedef uint16_t Halves8 __attribute__((vector_size(16), aligned(1), may_alias));
  typedef uint32_t Bits8 __attribute__((vector_size(32)));
  return reinterpret_cast<Floats>(__builtin_convertvector(*reinterpret_cast<const Halves8*>(group + b * kGroup * 2), Bits8) << 16);
}

/// Row r of a group as numbers: K of them.
inline void dequantiseRow(const GroupFormat& f, const uint8_t* group, int r, float* to) {
  if (f.bits == 16) {
    for (int64_t k = 0; k < f.K; k += 2) {
      uint32_t pair;
      std::memcpy(&pair, group + k * 16 + 4 * r, 4);
      to[k] = bf16ToF32(static_cast<uint16_t>(pair));
      to[k + 1] = bf16ToF32(static_cast<uint16_t>(pair >> 16));
    }
    return;
  }
  for (int64_t b = 0; b < f.blocks(); b++) {
    uint16_t half;
    std::memcpy(&half, group + (b * kGroup + r) * 2, 2);
    const float scale = bf16ToF32(half);
    const uint8_t* const codes = group + f.scaleBytes() + b * f.blockBytes() + 4 * r;
    float* const y = to + b * kBlock;
    for (int j = 0; j < f.blockBytes() / 32; j++) {
      FourBytes c;
      std::memcpy(&c, codes + 32 * j, 4);
      if (f.bits == 8) {
        *reinterpret_cast<FourU*>(y + 4 * j) = __builtin_convertvector(c, Four) * scale;
      } else {
        *reinterpret_cast<FourU*>(y + 4 * j) = __builtin_convertvector((c & 15) - 8, Four) * scale;
        *reinterpret_cast<FourU*>(y + 16 + 4 * j) = __builtin_convertvector(((c >> 4) & 15) - 8, Four) * scale;
      }
    }
  }
}

/// y (T, N) = x (T, K) Wᵀ + bias.
struct QuantisedProduct {
  GroupFormat format;
  int64_t T, N;
  const float* x;
  int64_t ldx;
  const uint8_t* w;
  const float* bias;  // or null
  float* y;
  int64_t ldy;
  /// The sums of row t with the eight rows of a group.
  void put(int64_t t, int64_t group, Floats v) const {
    const int64_t n = group * kGroup;
    if (n + kGroup <= N) {
      if (bias) v += *reinterpret_cast<const FloatsU*>(bias + n);
      *reinterpret_cast<FloatsU*>(y + t * ldy + n) = v;
    } else
      for (int r = 0; n + r < N; r++) y[t * ldy + n + r] = v[r] + (bias ? bias[n + r] : 0.f);
  }
};
/// For 8 and 4 bits and more than a few rows: quantised-panels.cpp. A row of y has the bits that it has alone.
void quantisedPanels(const QuantisedProduct& p);

}  // namespace qkv::QKV_ISA
