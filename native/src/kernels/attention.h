// What forward and backward attention share: the problem, who sees whom, and how a score is finished.
//
// B batch · H heads · G kv heads · T queries · S keys · D query and key channels · E value channels (D′ in backend.ts)
//
// All work is on tiles of kQueries × kKeys. Scores are kept *transposed*, Sᵀ (keys, queries): a vector holds one key's score for W neighbouring queries, so
// that maxima, sums and log-sum-exps are vectors too and no row is ever summed across lanes; and K, V, Q, dO enter the products as they lie in memory.
// Only the query tile is turned, once.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../kernel.h"
#include "exp.h"
#include "storage.h"
#include "tile.h"

namespace qkv::QKV_ISA {

constexpr int kQueries = 96;  // multiples of the micro-tile's 6, 12, 16 and 32; Qᵀ (D = 64), Sᵀ, and a block of K and of V fit L2 together
constexpr int kKeys = 96;
static_assert(kQueries % kTileColumns == 0 && kQueries % kTileRows == 0 && kKeys % kTileRows == 0);

/// The dropout mask of random.ts for W elements at a time: element (row, s) has the index row·S + s.
struct DropoutMask {
  uint32_t seedLow = 0, seedHigh = 0;  // mix(lo(seed)), mix(hi(seed) ^ …)
  int32_t threshold = 0;               // keep ⇔ bits >>> 8 ≥ ⌈p·2²⁴⌉ ⇔ uniform ≥ p
  float scale = 1;                     // 1 / (1 − p)

  template <class U> static U mix(U x) {
    x ^= x >> 16;
    x *= 0x21f0aaadu;
    x ^= x >> 15;
    x *= 0x735a2d97u;
    return x ^ (x >> 15);
  }
  DropoutMask() = default;
  DropoutMask(double p, double seed)
      : seedLow(mix(static_cast<uint32_t>(static_cast<uint64_t>(seed)))),
        seedHigh(mix(static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32) ^ 0x85ebca6bu)),
        threshold(static_cast<int32_t>(std::ceil(p * 16777216.0))),
        scale(static_cast<float>(1.0 / (1.0 - p))) {}
  /// All ones where the element low + 2³²·high is kept.
  IVec keep(UVec low, UVec high) const {
    const UVec bits = mix(mix(low ^ seedLow) + high * 0x9e3779b9u + seedHigh);
    return reinterpret_cast<IVec>(bits >> 8) >= threshold;
  }
  bool keep(uint64_t i) const {
    const uint32_t bits = mix(mix(static_cast<uint32_t>(i) ^ seedLow) + static_cast<uint32_t>(i >> 32) * 0x9e3779b9u + seedHigh);
    return static_cast<int32_t>(bits >> 8) >= threshold;
  }
};

/// A matrix whose rows lie `ld` floats apart.
struct RowBlock {
  float* data;
  int64_t ld;
};
/// Row t of head h of batch b of a (B, H, T, D) view, and the rows after it.
inline RowBlock rowsOf(const View& v, int64_t b, int64_t h, int64_t t) { return {v.f() + b * v.stride[0] + h * v.stride[1] + t * v.stride[2], v.stride[2]}; }

struct Attention {
  const View *q, *k, *v, *bias, *sinks;  // bias and sinks may be null
  int64_t B, H, G, T, S, D, E;
  float scale, softcap;
  int64_t left, right;
  bool hasDropout, bf16;
  DropoutMask dropout;
  bool plain;  // a score is scale·q·k and nothing else

  /// `in` points at q; the options are those of backend.ts, in its order.
  Attention(const View* in, const View* biasView, const View* sinksView, const double* opt)
      : q(in),
        k(in + 1),
        v(in + 2),
        bias(biasView && biasView->present() ? biasView : nullptr),
        sinks(sinksView && sinksView->present() ? sinksView : nullptr),
        B(q->shape[0]),
        H(q->shape[1]),
        G(k->shape[1]),
        T(q->shape[2]),
        S(k->shape[2]),
        D(q->shape[3]),
        E(v->shape[3]),
        scale(static_cast<float>(opt[0])),
        softcap(static_cast<float>(opt[3])),
        left(static_cast<int64_t>(opt[1])),
        right(static_cast<int64_t>(opt[2])),
        hasDropout(opt[4] > 0),
        bf16(opt[6] != 0),
        dropout(opt[4], opt[5]),
        plain(!bias && softcap <= 0 && scale > 0) {}

  int64_t kvHead(int64_t h) const { return h * G / H; }
  // Query t sees the keys firstKey(t) … endKey(t) − 1: a band whose right edge, when causal, is the diagonal that ends in the last corner.
  int64_t firstKey(int64_t t) const { return left < 0 ? 0 : std::clamp<int64_t>(t + S - T - left, 0, S); }
  int64_t endKey(int64_t t) const { return right < 0 ? S : std::clamp<int64_t>(t + S - T + right + 1, 0, S); }
  // Key s is seen by the queries firstQuery(s) … endQuery(s) − 1.
  int64_t firstQuery(int64_t s) const { return right < 0 ? 0 : std::clamp<int64_t>(s - (S - T) - right, 0, T); }
  int64_t endQuery(int64_t s) const { return left < 0 ? T : std::clamp<int64_t>(s - (S - T) + left + 1, 0, T); }
};

/// n queries from t of head h of batch b; `lanes` is n rounded up to whole vectors.
struct QueryTile {
  int64_t b, h, t;
  int n, lanes;
};
inline QueryTile queryTile(const Attention& p, int64_t b, int64_t h, int64_t t) {
  const int n = static_cast<int>(std::min<int64_t>(kQueries, p.T - t));
  return {b, h, t, n, (n + W - 1) / W * W};
}
/// n keys from s.
struct KeyBlock {
  int64_t s;
  int n;
};
inline KeyBlock keyBlock(const Attention& p, int64_t s) { return {s, static_cast<int>(std::min<int64_t>(kKeys, p.S - s))}; }
/// The key blocks that a query tile sees start on multiples of kKeys from here …
inline int64_t firstBlock(const Attention& p, const QueryTile& q) { return p.firstKey(q.t) / kKeys * kKeys; }
/// … and end before this key.
inline int64_t endBlock(const Attention& p, const QueryTile& q) { return p.endKey(q.t + q.n - 1); }

/// The part of [begin, end) that lies in the n places from `start`, relative to it.
inline Range within(int64_t begin, int64_t end, int64_t start, int n) {
  return {static_cast<int>(std::clamp<int64_t>(begin - start, 0, n)), static_cast<int>(std::clamp<int64_t>(end - start, 0, n))};
}
/// The keys of a block that queries i0 … i1 − 1 of a tile see between them. The band moves to the right with t, so its ends are those of the first and last query.
inline Range keysSeen(const Attention& p, const QueryTile& q, int i0, int i1, const KeyBlock& block) {
  return within(p.firstKey(q.t + i0), p.endKey(q.t + std::min(i1, q.n) - 1), block.s, block.n);
}
/// The queries of a tile that see any of the keys i0 … i1 − 1 of a block.
inline Range queriesSeeing(const Attention& p, const QueryTile& q, int i0, int i1, const KeyBlock& block) {
  return within(p.firstQuery(block.s + i0), p.endQuery(block.s + i1 - 1), q.t, q.n);
}

/// W neighbouring queries of a tile against one block of keys: which keys they see and how their scores are finished. Keys are counted from the block's first.
struct Lanes {
  const Attention& p;
  Range some;  // keys that at least one of the queries sees
  Range all;   // keys that every one of them sees (may be empty)
  int64_t diagonal;  // lane i sees key s when −left ≤ s − i − diagonal ≤ right
  const float* bias[W] = {};  // bias of lane i for the block's first key
  int64_t biasStep = 0;
  bool sameBias = false;
  UVec low{}, high{};  // dropout index of (lane, first key)

  Lanes(const Attention& problem, const QueryTile& q, int j, const KeyBlock& block) : p(problem) {
    const int64_t first = q.t + j, last = std::min<int64_t>(first + W, p.T) - 1;
    some = within(p.firstKey(first), p.endKey(last), block.s, block.n);
    all = within(p.firstKey(last), p.endKey(first), block.s, block.n);
    diagonal = first + p.S - p.T - block.s;
    if (p.bias) {
      const View& v = *p.bias;
      sameBias = v.stride[2] == 0;
      biasStep = v.stride[3];
      for (int i = 0; i < W; i++)
        bias[i] = v.f() + q.b * v.stride[0] + q.h * v.stride[1] + std::min(first + i, last) * v.stride[2] + block.s * v.stride[3];
    }
    if (p.hasDropout)
      for (int i = 0; i < W; i++) {
        const uint64_t index = static_cast<uint64_t>(((q.b * p.H + q.h) * p.T + first + i) * p.S + block.s);
        low[i] = static_cast<uint32_t>(index);
        high[i] = static_cast<uint32_t>(index >> 32);
      }
  }
  bool seenByAll(int s) const { return s >= all.begin && s < all.end; }
  /// All ones in the lanes that see key s.
  IVec seen(int s) const {
    IVec lane;
    for (int i = 0; i < W; i++) lane[i] = i;
    IVec yes = iset1(-1);
    if (p.right >= 0) yes &= lane >= static_cast<int32_t>(std::clamp<int64_t>(s - diagonal - p.right, -1, W));
    if (p.left >= 0) yes &= lane <= static_cast<int32_t>(std::clamp<int64_t>(s - diagonal + p.left, -1, W));
    return yes;
  }
  /// scale·q·k under the soft cap: c·tanh(x / c).  Gemma 2, §2.
  Vec capped(Vec qk) const {
    const Vec x = qk * p.scale;
    return p.softcap > 0 ? p.softcap * tanh(x / p.softcap) : x;
  }
  Vec biasOf(int s) const {
    if (sameBias) return set1(bias[0][s * biasStep]);
    Vec x;
    for (int i = 0; i < W; i++) x[i] = bias[i][s * biasStep];
    return x;
  }
  Vec score(Vec qk, int s) const { return p.bias ? capped(qk) + biasOf(s) : capped(qk); }
  /// x·mask / (1 − p) for key s.
  Vec drop(Vec x, int s) const {
    const UVec index = low + static_cast<uint32_t>(s);
    const UVec carry = reinterpret_cast<UVec>(index < low);  // −1 where the low half ran over
    return p.dropout.keep(index, high - carry) ? x * p.dropout.scale : Vec{};
  }
  /// Micro-tiles are kTileRows wide and may straddle the edge of the band: beyond `some` they must find zeros.
  void clearMargins(float* column, const KeyBlock& block) const {
    for (int s = std::max(0, some.begin - kTileRows); s < some.begin; s++) store(column + s * kQueries, Vec{});
    for (int s = some.end; s < std::min(block.n, some.end + kTileRows); s++) store(column + s * kQueries, Vec{});
  }
};

/// n rows as the products take them: in place (rows kilobytes apart are no slower on the arena's huge pages), or with bf16 rounded into `copy`.
inline RowBlock operand(const Attention& p, const View& v, int64_t b, int64_t h, int64_t t, int n, int64_t columns, float* copy) {
  const RowBlock rows = rowsOf(v, b, h, t);
  if (!p.bf16) return rows;
  for (int i = 0; i < n; i++) {
    const float* const from = rows.data + i * rows.ld;
    float* const to = copy + i * columns;
    for (int64_t c = 0; c < columns; c++) to[c] = bf16ToF32(f32ToBf16(from[c]));
  }
  return {copy, columns};
}

/// Sᵀ = K·Qᵀ (or dPᵀ = V·dOᵀ) for a block of keys and a tile of queries, C channels; micro-tiles that the mask hides are skipped.
inline void keysTimesQueries(const Attention& p, const QueryTile& q, const KeyBlock& block, RowBlock keys, const float* queries, int64_t C, float* out) {
  tileProduct<Layout::rows>(block.n, q.lanes, keys.data, keys.ld, queries, kQueries, out, kQueries, Start::zero, nullptr, [&](int i0, int i1, int j0, int j1) {
    const Range seen = keysSeen(p, q, j0, j1, block);
    return Range{0, seen.begin < i1 && i0 < seen.end ? static_cast<int>(C) : 0};
  });
}

}  // namespace qkv::QKV_ISA
