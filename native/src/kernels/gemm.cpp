// Y = A·B (+ bias) (+ Y), packed (Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication").
//
// The innermost work is a register tile: kRows × kColumns sums that stay in registers while k runs over at most kDepth terms. A is packed in panels of kRows rows,
// B in panels of kColumns columns (pack.h). A panel of B stays in the first-level cache while a block of A's panels, which stays in the second, passes by.
// Every element of Y is summed in one chain over k within a block of kDepth, and the blocks are added in order: the bits do not depend on how the
// work is cut or on the number of threads.
#include "gemm.h"

#include <algorithm>
#include <array>

#include "pack.h"
#include "quantised.h"
#include "simd.h"

namespace qkv::QKV_ISA {
namespace {

// kRows·kVectors sums, kVectors of B and one of A must fit the registers.
#if defined(__AVX512F__)
constexpr int kRows = 14, kVectors = 2, kDepth = 384, kBlockRows = 112;
#elif defined(__AVX2__)
constexpr int kRows = 6, kVectors = 2, kDepth = 384, kBlockRows = 144;
#elif defined(__aarch64__)
constexpr int kRows = 8, kVectors = 3, kDepth = 384, kBlockRows = 128;
#else
constexpr int kRows = 4, kVectors = 2, kDepth = 384, kBlockRows = 128;
#endif
constexpr int kColumns = kVectors * W;
constexpr int64_t kPackedA = int64_t{1} << 20, kPackedB = int64_t{3} << 19;  // words of A and of B that are packed at a time: they share the last-level cache
constexpr int64_t kFewColumns = 6 * kColumns;                               // so few columns do not pay for packing A
#if defined(__AVX512BF16__)
constexpr Packing kBf16Packing = Packing::pairs;
#else
constexpr Packing kBf16Packing = Packing::rounded;
#endif

/// What a register tile does when its sums are done.
struct Finish {
  float* y;
  int64_t ldy;
  int columns;        // that exist
  const float* bias;  // or null
  bool add;           // to what y holds
};

template <int MR, int NV> [[gnu::always_inline]] inline void finish(Vec (&sum)[MR][NV], const Finish& f) {
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    float* const y = f.y + i * f.ldy;
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) {
      const int n = f.columns - j * W;
      Vec v = sum[i][j];
      if (n >= W) {
        if (f.add) v += load(y + j * W);
        if (f.bias) v += load(f.bias + j * W);
        store(y + j * W, v);
      } else if (n > 0) {
        if (f.add) v += loadPart(y + j * W, n);
        if (f.bias) v += loadPart(f.bias + j * W, n);
        storePart(y + j * W, v, n);
      }
    }
  }
}

/// MR rows, NV vectors of columns, K terms. A packed, or in place with its rows `lda` apart and k contiguous.
template <int MR, int NV, bool packed> void tile(int64_t K, const float* a, int64_t lda, const float* b, const Finish& f) {
  const int64_t acrossRows = packed ? 1 : lda;
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {  // a row of the tile may lie across two lines
    __builtin_prefetch(f.y + i * f.ldy, 1, 3);
    __builtin_prefetch(f.y + i * f.ldy + NV * W - 1, 1, 3);
  }
  Vec sum[MR][NV] = {};
  const auto step = [&](const float* ak, const float* bk) __attribute__((always_inline)) {
    Vec row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) row[j] = load(bk + j * W);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const Vec x = set1(ak[i * acrossRows]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) sum[i][j] += x * row[j];
    }
  };
  constexpr int alongK = packed ? kRows : 1, kAhead = 512;
#pragma GCC unroll 2
  for (int64_t k = 0; k < K; k++) {
    if constexpr (packed) __builtin_prefetch(a + kAhead, 0, 3);
    step(a, b);
    a += alongK;
    b += NV * W;
  }
  finish(sum, f);
}

#if defined(__AVX512BF16__)
/// The same on pairs: each term is two products.
template <int MR, int NV> void tilePairs(int64_t K, const float* a, int64_t, const float* b, const Finish& f) {
  Vec sum[MR][NV] = {};
#pragma GCC unroll 1
  for (int64_t k = 0; k < K; k += 2) {
    Vec row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) row[j] = load(b + j * W);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const Vec x = set1(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(row[j]));
    }
    a += kRows;
    b += NV * W;
  }
  finish(sum, f);
}
#endif

using Tile = void (*)(int64_t K, const float* a, int64_t lda, const float* b, const Finish& f);
/// tiles[rows − 1][vectors − 1]
using Tiles = std::array<std::array<Tile, kVectors>, kRows>;
template <int MR, bool packed, int... J> constexpr std::array<Tile, kVectors> tileRow(std::integer_sequence<int, J...>) { return {tile<MR, J + 1, packed>...}; }
template <bool packed, int... I> constexpr Tiles tileTable(std::integer_sequence<int, I...>) {
  return {tileRow<I + 1, packed>(std::make_integer_sequence<int, kVectors>())...};
}
constexpr Tiles packedTiles = tileTable<true>(std::make_integer_sequence<int, kRows>());
constexpr Tiles inPlaceTiles = tileTable<false>(std::make_integer_sequence<int, kRows>());
#if defined(__AVX512BF16__)
template <int MR, int... J> constexpr std::array<Tile, kVectors> pairRow(std::integer_sequence<int, J...>) { return {tilePairs<MR, J + 1>...}; }
template <int... I> constexpr Tiles pairTable(std::integer_sequence<int, I...>) { return {pairRow<I + 1>(std::make_integer_sequence<int, kVectors>())...}; }
constexpr Tiles pairTiles = pairTable(std::make_integer_sequence<int, kRows>());
#endif

constexpr int64_t kRun = 8;  // panels that one task packs

constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t roundUp(int64_t a, int64_t b) { return ceilDiv(a, b) * b; }

/// Memory that will be read soon: `lines` pieces, `apart` bytes from each other, fetched a few at a time into the second-level cache.
struct Ahead {
  const char* at = nullptr;
  int64_t lines = 0, apart = 64, each = 0;
  void share(int64_t times) { each = ceilDiv(lines, std::max<int64_t>(1, times)); }
  void fetch() {
    for (int64_t n = std::min(each, lines); n > 0; n--, lines--, at += apart) __builtin_prefetch(at, 0, 2);
  }
};

/// A product and the choices made for it.
struct Plan {
  Product p;
  Packing packing;
  bool aInPlace;
  int64_t depth;  // terms a block; K in equal blocks
  const Tiles* tiles;

  explicit Plan(const Product& product) : p(product), packing(p.bf16 ? kBf16Packing : Packing::f32) {
    aInPlace = packing == Packing::f32 && p.a.dtype == DType::f32 && p.a.columnStride == 1 && (p.N <= kFewColumns || p.K <= 512);
    const int64_t blocks = std::max<int64_t>(1, ceilDiv(p.K, packing == Packing::pairs ? 2 * kDepth : kDepth));
    depth = roundUp(ceilDiv(p.K, blocks), 16);
    tiles = aInPlace ? &inPlaceTiles : &packedTiles;
#if defined(__AVX512BF16__)
    if (packing == Packing::pairs) tiles = &pairTiles;
#endif
  }
  int64_t blocks() const { return ceilDiv(p.K, depth); }
  int64_t begin(int64_t block) const { return block * depth; }
  int64_t terms(int64_t block) const { return std::min(depth, p.K - block * depth); }
  int64_t panelA() const { return panelWords<kRows>(depth, packing); }
  int64_t panelB() const { return panelWords<kColumns>(depth, packing); }

  /// `panels` panels of P from number `first` on, `apart` words from each other, for one block of terms.
  template <int P, Packing how> void packAs(const Matrix& m, int64_t first, int64_t panels, int64_t size, int64_t across, int64_t along, int64_t block, float* to, int64_t apart) const {
    withStorage(m.dtype, m.data, [&](const auto* data) {
      constexpr int64_t run = std::max(1, 64 / P);  // panels side by side
      const auto* from = data + begin(block) * along;
      for (int64_t n = 0; n < panels;) {
        const int64_t at = (first + n) * P, whole = std::min({run, panels - n, (size - at - (P % W ? W - P % W : 0)) / P});
        if (across == 1 && whole > 1) {
          packSideBySide<P, how>(from + at, along, static_cast<int>(whole), apart, terms(block), to + n * apart);
          n += whole;
        } else {
          packPanel<P, how>(from + at * across, across, along, static_cast<int>(std::min<int64_t>(P, size - at)), size - at, terms(block), to + n * apart);
          n++;
        }
      }
    });
  }
  template <int P> void pack(const Matrix& m, int64_t first, int64_t panels, int64_t size, int64_t across, int64_t along, int64_t block, float* to, int64_t apart) const {
    if (packing == Packing::f32) packAs<P, Packing::f32>(m, first, panels, size, across, along, block, to, apart);
    else packAs<P, kBf16Packing>(m, first, panels, size, across, along, block, to, apart);
  }
  /// Panels of A (of kRows rows), or of B (of kColumns columns), for one block of terms; one after the other.
  void packA(int64_t first, int64_t panels, int64_t block, float* to) const { pack<kRows>(p.a, first, panels, p.M, p.a.rowStride, p.a.columnStride, block, to, panelA()); }
  void packB(int64_t first, int64_t panels, int64_t block, float* to) const {
    if (p.groups) return packGroups(first, panels, block, to);
    // A last panel that is half empty is packed half as wide.
    const bool half = kVectors == 2 && p.N - (first + panels - 1) * kColumns <= W;
    if (half) pack<W>(p.b, (first + panels - 1) * kVectors, 1, p.N, p.b.columnStride, p.b.rowStride, block, to + (panels - 1) * panelB(), 0);
    pack<kColumns>(p.b, first, panels - half, p.N, p.b.columnStride, p.b.rowStride, block, to, panelB());
  }
  /// Panels of B out of groups: two terms of four columns at a time.
  void packGroups(int64_t first, int64_t panels, int64_t block, float* to) const {
    typedef uint32_t Bits __attribute__((vector_size(16)));
    typedef uint32_t BitsU __attribute__((vector_size(16), aligned(1), may_alias));
    const GroupFormat format{16, p.K};
    for (int64_t n = first; n < first + panels; n++, to += panelB()) {
      const int64_t left = p.N - n * kColumns, width = kVectors == 2 && left <= W ? W : kColumns;
      for (int64_t j = 0; j < width; j += 4) {
        const int64_t at = n * kColumns + j;
        const auto* from = static_cast<const uint8_t*>(p.b.data) + at / kGroup * format.bytes() + begin(block) * 16 + at % kGroup * 4;
        for (int64_t k = 0; k < terms(block); k += 2, from += 32) {
          const Bits w = j < left ? *reinterpret_cast<const BitsU*>(from) : Bits{};
          *reinterpret_cast<FourU*>(to + k * width + j) = reinterpret_cast<Four>(w << 16);
          *reinterpret_cast<FourU*>(to + (k + 1) * width + j) = reinterpret_cast<Four>(w & 0xffff0000u);
        }
      }
    }
  }
  /// What packing that panel of B will read.
  Ahead aheadB(int64_t j, int64_t block) const {
    if (block >= blocks() || j >= p.N || p.groups) return {};
    const int64_t bytes = storageBytes(p.b.dtype), columns = std::min<int64_t>(kColumns, p.N - j);
    const char* at = static_cast<const char*>(p.b.data) + (j * p.b.columnStride + begin(block) * p.b.rowStride) * bytes;
    if (p.b.columnStride == 1) return {at, terms(block), p.b.rowStride * bytes};
    if (p.b.rowStride == 1) return {at, columns, p.b.columnStride * bytes};  // the start of every row: the machine follows the rest
    return {};
  }
  /// Rows i … iEnd times one panel of B. `a`: the packed panel of row i. `next` is what the caller reads after this: its lines are fetched meanwhile.
  void multiply(int64_t i, int64_t iEnd, int64_t j, int64_t block, const float* a, const float* b, Ahead next) const {
    next.share(ceilDiv(iEnd - i, kRows));
    const int columns = static_cast<int>(std::min<int64_t>(kColumns, p.N - j));
    const int vectors = kVectors == 2 ? (columns <= W ? 1 : 2) : kVectors;
    const int64_t K = terms(block);
    Finish f{p.y + i * p.ldy + j, p.ldy, columns, p.bias && block == 0 ? p.bias + j : nullptr, p.accumulate || block > 0};
    const float* inPlace = static_cast<const float*>(p.a.data) + i * p.a.rowStride + begin(block);
    for (; i < iEnd; i += kRows) {
      next.fetch();
      const int64_t rows = std::min<int64_t>(kRows, iEnd - i);
      (*tiles)[static_cast<size_t>(rows - 1)][static_cast<size_t>(vectors - 1)](K, aInPlace ? inPlace : a, p.a.rowStride, b, f);
      a += panelA();
      inPlace += kRows * p.a.rowStride;
      f.y += kRows * p.ldy;
    }
  }
};

/// Few rows: A is packed whole; then each thread takes a group of B's panels and packs one after the other into its first-level cache, where all of A meets it.
/// B, the large one, is read from memory exactly once.
void fewRows(const Plan& plan, int thread) {
  const Product& p = plan.p;
  const int64_t panels = ceilDiv(p.M, kRows), blocks = plan.blocks(), groups = ceilDiv(p.N, kColumns);
  const int64_t wordsA = plan.aInPlace ? 0 : panels * blocks * plan.panelA();
  float* const a = thread < 0 ? sharedScratch(2, wordsA) : scratch(thread, 2, wordsA);
  if (!plan.aInPlace) {
    const int64_t runs = ceilDiv(panels, kRun);
    const auto packA = [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) {
        const int64_t block = t / runs, first = t % runs * kRun;
        plan.packA(first, std::min(kRun, panels - first), block, a + (block * panels + first) * plan.panelA());
      }
    };
    if (thread < 0) parallelFor(runs * blocks, 1, packA);
    else packA(0, runs * blocks, thread);
  }
  const auto multiply = [&](int64_t begin, int64_t end, int t) {
    float* const b = scratch(t, 3, plan.panelB());
    for (int64_t block = 0; block < blocks; block++)
      for (int64_t group = begin; group < end; group++) {
        plan.packB(group, 1, block, b);
        plan.multiply(0, p.M, group * kColumns, block, a + block * panels * plan.panelA(), b, plan.aheadB((group + 1 < end ? group + 1 : begin) * kColumns, group + 1 < end ? block : block + 1));
      }
  };
  const int64_t perTask = std::clamp<int64_t>(groups / (threadCount() * 4), 1, 32);
  if (thread < 0) parallelFor(groups, perTask, multiply);
  else
    for (int64_t group = 0; group < groups; group += 16) multiply(group, std::min(groups, group + 16), thread);
}

/// Many rows: A and B are packed piece by piece into shared memory, all threads together; then they take blocks of Y.
void manyRows(const Plan& plan) {
  const Product& p = plan.p;
  const int64_t panelsA = ceilDiv(p.M, kRows), panelsB = ceilDiv(p.N, kColumns), blocks = plan.blocks();
  const int64_t pieceB = std::min<int64_t>(panelsB, std::max<int64_t>(1, kPackedB / plan.panelB()));       // panels of B at a time
  const int64_t deep = std::clamp<int64_t>(kPackedB / (pieceB * plan.panelB()), 1, blocks);                 // blocks of terms at a time
  const int64_t pieceA = plan.aInPlace ? panelsA : std::min<int64_t>(panelsA, std::max<int64_t>(1, kPackedA / (deep * plan.panelA())));
  float* const a = sharedScratch(2, plan.aInPlace ? 0 : pieceA * deep * plan.panelA());
  float* const b = sharedScratch(3, pieceB * deep * plan.panelB());

  for (int64_t jp = 0; jp < panelsB; jp += pieceB) {
    const int64_t nB = std::min(pieceB, panelsB - jp);
    for (int64_t block = 0; block < blocks; block += deep) {
      const int64_t nDeep = std::min(deep, blocks - block);
      for (int64_t ip = 0; ip < panelsA; ip += pieceA) {
        const int64_t nA = std::min(pieceA, panelsA - ip);
        const int64_t runsB = ceilDiv(nB, kRun), runsA = ceilDiv(nA, kRun);
        const int64_t packB = ip == 0 ? runsB * nDeep : 0, packA = plan.aInPlace ? 0 : runsA * nDeep;
        parallelFor(packB + packA, 1, [&](int64_t begin, int64_t end, int) {
          for (int64_t t = begin; t < end; t++)
            if (t < packB) {
              const int64_t d = t / runsB, first = t % runsB * kRun;
              plan.packB(jp + first, std::min(kRun, nB - first), block + d, b + (d * nB + first) * plan.panelB());
            } else {
              const int64_t d = (t - packB) / runsA, first = (t - packB) % runsA * kRun;
              plan.packA(ip + first, std::min(kRun, nA - first), block + d, a + (d * nA + first) * plan.panelA());
            }
        });
        // Tasks of equal size, several a thread: rows by about kBlockRows, columns so that there are enough.
        int64_t rowTasks = ceilDiv(nA * kRows, kBlockRows);
        const int64_t columnTasks = std::clamp<int64_t>(ceilDiv(8 * threadCount(), rowTasks), 1, ceilDiv(nB, 4)), perColumnTask = ceilDiv(nB, columnTasks);
        while (rowTasks * columnTasks % threadCount() != 0 && rowTasks < nA) rowTasks++;
        const int64_t perRowTask = ceilDiv(nA, rowTasks);
        parallelFor(rowTasks * columnTasks, 1, [&](int64_t begin, int64_t end, int) {
          for (int64_t task = begin; task < end; task++) {
            const int64_t i0 = task / columnTasks * perRowTask, i1 = std::min(nA, i0 + perRowTask);
            const int64_t j0 = task % columnTasks * perColumnTask, j1 = std::min(nB, j0 + perColumnTask);
            for (int64_t d = 0; d < nDeep; d++)
              for (int64_t j = j0; j < j1; j++)
                if (i0 < i1)
                  plan.multiply((ip + i0) * kRows, std::min(p.M, (ip + i1) * kRows), (jp + j) * kColumns, block + d, a + (d * nA + i0) * plan.panelA(),
                                b + (d * nB + j) * plan.panelB(), {});
          }
        });
      }
    }
  }
}

/// K = 0: the empty sum.
void emptySum(const Product& p) {
  for (int64_t i = 0; i < p.M; i++)
    for (int64_t j = 0; j < p.N; j++) {
      float& y = p.y[i * p.ldy + j];
      y = (p.accumulate ? y : 0.f) + (p.bias ? p.bias[j] : 0.f);
    }
}

constexpr int64_t kFewRows = 2 * kBlockRows;  // A's packed block of terms fits the second-level cache
constexpr int64_t kResidentA = 110'000;      // words of A, read in place, that stay in the second-level cache
constexpr double kSmallProduct = 3e5;         // multiplications that one thread does sooner than it wakes another

}  // namespace

void gemmSerial(const Product& p, int thread) {
  if (p.M <= 0 || p.N <= 0) return;
  if (p.K <= 0) return emptySum(p);
  if (!p.groups && isThin(p)) return thinProduct(p, thread);
  for (int64_t i = 0; i < p.M; i += kFewRows) {
    Product part = p;
    part.M = std::min(kFewRows, p.M - i);
    part.a.data = static_cast<const char*>(p.a.data) + i * p.a.rowStride * storageBytes(p.a.dtype);
    part.y += i * p.ldy;
    fewRows(Plan(part), thread);
  }
}

void gemm(const Product& p) {
  if (p.M <= 0 || p.N <= 0) return;
  if (p.K <= 0) return emptySum(p);
  if (!p.groups && isThin(p)) return thinProduct(p, -1);
  if (static_cast<double>(p.M) * static_cast<double>(p.N) * static_cast<double>(p.K) < kSmallProduct) return gemmSerial(p, 0);
  const Plan plan(p);
  if (plan.aInPlace ? p.M * p.K <= kResidentA : p.M <= kFewRows) return fewRows(plan, -1);
  manyRows(plan);
}

void matmul(const Args& args) {
  const View &a = args.in[0], &b = args.in[1], &y = args.out[0];
  const int last = y.ndim - 1;
  Product p{y.shape[last - 1], y.shape[last], a.shape[last], {a.data, a.dtype, a.stride[last - 1], a.stride[last]}, {b.data, b.dtype, b.stride[last - 1], b.stride[last]},
            y.f(), y.stride[last - 1]};
  p.bias = args.nIn > 2 && args.in[2].present() ? args.in[2].f() : nullptr;
  p.accumulate = args.opt[0] != 0;
  p.bf16 = args.opt[1] != 0;

  // Batch axes: those of size 1 go; one over which b stays the same, and rows go on, is more rows.
  int axes = 0;
  int64_t size[kMaxDims], sa[kMaxDims], sb[kMaxDims], sy[kMaxDims], batches = 1;
  for (int d = last - 2; d >= 0; d--) {
    if (y.shape[d] == 1) continue;
    if (axes == 0 && b.stride[d] == 0 && (p.M == 1 || (a.stride[d] == p.M * p.a.rowStride && y.stride[d] == p.M * p.ldy))) {
      if (p.M == 1) p.a.rowStride = a.stride[d], p.ldy = y.stride[d];
      p.M *= y.shape[d];
      continue;
    }
    size[axes] = y.shape[d], sa[axes] = a.stride[d], sb[axes] = b.stride[d], sy[axes] = y.stride[d];
    batches *= size[axes++];
  }
  if (axes == 0) return gemm(p);
  const auto at = [&](int64_t batch) {
    Product one = p;
    int64_t oa = 0, ob = 0;
    for (int d = 0; d < axes; d++) {
      const int64_t i = batch % size[d];
      batch /= size[d];
      oa += i * sa[d];
      ob += i * sb[d];
      one.y += i * sy[d];
    }
    one.a.data = static_cast<const char*>(p.a.data) + oa * storageBytes(a.dtype);
    one.b.data = static_cast<const char*>(p.b.data) + ob * storageBytes(b.dtype);
    return one;
  };
  const double multiplications = static_cast<double>(p.M) * static_cast<double>(p.N) * static_cast<double>(std::max<int64_t>(1, p.K));
  if (multiplications > 1e8 || (multiplications > 2e6 && batches < 4 * threadCount())) {
    for (int64_t batch = 0; batch < batches; batch++) gemm(at(batch));
  } else {
    const auto grain = static_cast<int64_t>(1 + kSmallProduct / multiplications);
    parallelFor(batches, grain, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t batch = begin; batch < end; batch++) gemmSerial(at(batch), thread);
    });
  }
}

}  // namespace qkv::QKV_ISA
