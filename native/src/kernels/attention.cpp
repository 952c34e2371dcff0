// Attention forward: y = softmax(scale·QKᵀ + bias) V, tile by tile, with the maximum and the sum carried along the keys, so that no T × S matrix exists.
//   Dao et al. 2022, "FlashAttention", alg. 1; Milakov & Gimelshein 2018, "Online normalizer calculation for softmax".
// Memory beyond inputs and outputs: one tile a thread, whatever T and S are; for decoding, one partial row per kSplit keys.
#include "attention.h"

namespace qkv::QKV_ISA {

namespace {

/// What the online softmax carries for each query of a tile.
struct Running {
  float max[kQueries];     // m
  float sum[kQueries];     // l = Σ exp(score − m)
  float factor[kQueries];  // exp(m before this block − m after): what the output so far is worth now
};

/// Passes 3 and 4 for W queries: finish the scores of one block, move m and l, and leave the weights exp(score − m), dropped out, in place of the scores.
template <bool kPlain> void weighLanes(const Lanes& lanes, const KeyBlock& block, float* column, float* max, float* sum, float* factor) {
  const Attention& p = lanes.p;
  const Vec none = set1(-INFINITY);
  const Vec scale = set1(kPlain ? p.scale : 1.f);  // a plain score stays unscaled in the tile: its scale rides in the subtraction of pass 4
  // 3. Scores, mask, maximum.
  const Vec before = load(max);
  Vec top = before;
  for (int s = lanes.some.begin; s < lanes.some.end; s++) {
    float* const at = column + s * kQueries;
    Vec x = load(at);
    if constexpr (!kPlain) x = lanes.score(x, s);
    const bool all = lanes.seenByAll(s);
    if (!all) x = lanes.seen(s) ? x : none;
    if (!kPlain || !all) store(at, x);
    top = vmax(top, x * scale);
  }
  // 4. m ← max(m, scores);  weights = exp(score − m);  l ← l·exp(m before − m) + Σ weights.  Where nothing has been seen yet m = −∞, and 0 stands in for it.
  const Vec m = top == none ? Vec{} : top;
  const Vec f = expOfScore(before - m);
  Vec l = load(sum) * f;
  for (int s = lanes.some.begin; s < lanes.some.end; s++) {
    float* const at = column + s * kQueries;
    Vec weight = expOfScore(load(at) * scale - m);
    l += weight;
    if (p.hasDropout) weight = lanes.drop(weight, s);
    if (p.bf16) weight = roundBf16(weight);
    store(at, weight);
  }
  lanes.clearMargins(column, block);
  store(max, top);
  store(sum, l);
  store(factor, f);
}

void attendTile(const Attention& p, const QueryTile& q, const View& yView, float* lse, int thread) {
  const int64_t D = p.D, E = p.E, g = p.kvHead(q.h);
  float* const scores = scratch(thread, 0, kKeys * kQueries + D * kQueries + (p.bf16 ? D * kQueries + (D + E) * kKeys : 0));
  float* const queries = scores + kKeys * kQueries;  // Qᵀ (D, kQueries)
  float* const keysCopy = queries + D * kQueries;
  float* const valuesCopy = keysCopy + D * kKeys;
  float* const queriesCopy = valuesCopy + E * kKeys;
  const RowBlock y = rowsOf(yView, q.b, q.h, q.t);

  // 1. Qᵀ; m = −∞, l = 0. A sink is a key without a value, met before all others: m = sink, l = 1.
  const RowBlock own = operand(p, *p.q, q.b, q.h, q.t, q.n, D, queriesCopy);
  transpose(q.n, static_cast<int>(D), own.data, own.ld, queries, kQueries);
  Running r;
  const float sink = p.sinks ? p.sinks->f()[q.h * p.sinks->stride[0]] : -INFINITY;
  for (int i = 0; i < q.lanes; i++) {
    r.max[i] = sink;
    r.sum[i] = sink == -INFINITY ? 0.f : 1.f;
  }

  Start start = Start::zero;
  for (int64_t s = firstBlock(p, q), end = endBlock(p, q); s < end; s += kKeys) {
    const KeyBlock block = keyBlock(p, s);
    const RowBlock keys = operand(p, *p.k, q.b, g, s, block.n, D, keysCopy);
    const RowBlock values = operand(p, *p.v, q.b, g, s, block.n, E, valuesCopy);
    // 2. Sᵀ = K·Qᵀ
    keysTimesQueries(p, q, block, keys, queries, D, scores);
    // 3, 4.
    for (int j = 0; j < q.lanes; j += W) {
      const Lanes lanes(p, q, j, block);
      (p.plain ? weighLanes<true> : weighLanes<false>)(lanes, block, scores + j, r.max + j, r.sum + j, r.factor + j);
    }
    // 5. y ← exp(m before − m)·y + weights·V
    tileProduct<Layout::columns>(q.n, static_cast<int>(E), scores, kQueries, values.data, values.ld, y.data, y.ld, start, r.factor,
                                 [&](int i0, int i1, int, int) { return keysSeen(p, q, i0, i1, block); });
    start = Start::scaled;
  }
  // 6. y ← y / l;  lse = m + ln l
  for (int i = 0; i < q.n; i++) {
    float* const row = y.data + i * y.ld;
    const float l = r.sum[i];
    if (start == Start::zero || l == 0)
      std::fill_n(row, E, 0.f);
    else
      for (int64_t e = 0; e < E; e++) row[e] *= 1 / l;
    lse[i] = l == 0 ? -INFINITY : r.max[i] + std::log(l);
  }
}

// ---- Few queries: decoding with a cache. A tile would leave most lanes empty, so each query goes alone and the lanes run over channels. ----

constexpr int kSplit = 256;  // keys of one task; fixed, so that the sums do not depend on the number of threads

/// scores[s] = q·k_s for n keys: W keys at a time, whose W partial sums are turned and added.
void dotRows(const float* q, RowBlock keys, int n, int64_t D, float* scores) {
  float sums[W * W], turned[W * W];
  for (int s = 0; s < n; s += W) {
    const int rows = std::min(W, n - s);
    const float* k[W];
    for (int i = 0; i < W; i++) k[i] = keys.data + (s + std::min(i, rows - 1)) * keys.ld;
    Vec sum[W] = {};
    int64_t d = 0;
    for (; d + W <= D; d += W) {
      const Vec x = load(q + d);
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) sum[i] += x * load(k[i] + d);
    }
    if (d < D) {
      const int part = static_cast<int>(D - d);
      const Vec x = loadPart(q + d, part);
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) sum[i] += x * loadPart(k[i] + d, part);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) store(sums + i * W, sum[i]);
    transposeBlock(sums, W, turned, W, std::make_integer_sequence<int, W>());
    Vec total = load(turned);
    for (int i = 1; i < W; i++) total += load(turned + i * W);
    storePart(scores + s, total, rows);
  }
}

/// out[e] = Σ weights[s]·v_s[e] over n rows.
void sumRows(const float* weights, RowBlock values, int n, int64_t E, float* out) {
  constexpr int kVecs = 8;  // chains enough to hide the latency of the FMA
  int64_t e = 0;
  for (; e + kVecs * W <= E; e += kVecs * W) {
    Vec sum[kVecs] = {};
    for (int s = 0; s < n; s++)
#pragma GCC unroll 8
      for (int i = 0; i < kVecs; i++) sum[i] += weights[s] * load(values.data + s * values.ld + e + i * W);
#pragma GCC unroll 8
    for (int i = 0; i < kVecs; i++) store(out + e + i * W, sum[i]);
  }
  for (; e < E; e += W) {
    const int part = static_cast<int>(std::min<int64_t>(W, E - e));
    Vec sum{};
    for (int s = 0; s < n; s++) sum += weights[s] * (part == W ? load(values.data + s * values.ld + e) : loadPart(values.data + s * values.ld + e, part));
    storePart(out + e, sum, part);
  }
}

/// One query against the keys [begin, end) of its split: m, l and the sum of weighted values, to be joined with the other splits.
void attendSplit(const Attention& p, int64_t b, int64_t h, int64_t t, int64_t begin, int64_t end, float* partial, int thread) {
  const int n = static_cast<int>(end - begin);
  float* const scores = scratch(thread, 0, kSplit + W + (p.bf16 ? p.D + kSplit * (p.D + p.E) : 0));
  float* const queryCopy = scores + kSplit + W;
  float* const keysCopy = queryCopy + p.D;
  const int64_t g = p.kvHead(h);
  // 1. scores
  dotRows(operand(p, *p.q, b, h, t, 1, p.D, queryCopy).data, operand(p, *p.k, b, g, begin, n, p.D, keysCopy), n, p.D, scores);
  for (int s = 0; s < n; s++) {
    float x = scores[s] * p.scale;
    if (p.softcap > 0) x = p.softcap * std::tanh(x / p.softcap);
    if (p.bias) x += p.bias->f()[b * p.bias->stride[0] + h * p.bias->stride[1] + t * p.bias->stride[2] + (begin + s) * p.bias->stride[3]];
    scores[s] = x;
  }
  // 2. m, weights, l
  for (int s = n; s < (n + W - 1) / W * W; s++) scores[s] = -INFINITY;
  Vec top = set1(-INFINITY);
  for (int s = 0; s < n; s += W) top = vmax(top, load(scores + s));
  const float max = hmax(top), m = max == -INFINITY ? 0.f : max;
  Vec sum{};
  for (int s = 0; s < n; s += W) {
    const Vec weight = expOfScore(load(scores + s) - m);
    sum += weight;
    store(scores + s, p.bf16 ? roundBf16(weight) : weight);
  }
  if (p.hasDropout)
    for (int s = 0; s < n; s++)
      scores[s] = p.dropout.keep(static_cast<uint64_t>(((b * p.H + h) * p.T + t) * p.S + begin + s)) ? scores[s] * p.dropout.scale : 0.f;
  partial[0] = max == max ? max : 0.f;  // NaN: the sum carries it on
  partial[1] = hsum(sum);
  // 3. Σ weights·v
  sumRows(scores, operand(p, *p.v, b, g, begin, n, p.E, keysCopy + kSplit * p.D), n, p.E, partial + 2);
}

void attendFew(const Attention& p, const View& yView, float* lse) {
  const int64_t splits = std::max<int64_t>(1, (p.S + kSplit - 1) / kSplit), perGroup = p.H / p.G, width = p.E + 2;
  float* const partials = sharedScratch(0, p.B * p.H * p.T * splits * width);
  const auto partial = [&](int64_t b, int64_t h, int64_t t, int64_t split) { return partials + (((b * p.H + h) * p.T + t) * splits + split) * width; };
  // The heads of a group follow each other in one task: they read the same keys.
  parallelFor(p.B * p.G * splits, 1, [&](int64_t task, int64_t taskEnd, int thread) {
    for (; task < taskEnd; task++) {
      const int64_t split = task % splits, g = task / splits % p.G, b = task / splits / p.G;
      for (int64_t h = g * perGroup; h < (g + 1) * perGroup; h++)
        for (int64_t t = 0; t < p.T; t++) {
          const int64_t begin = std::max(split * kSplit, p.firstKey(t)), end = std::min((split + 1) * kSplit, p.endKey(t));
          if (begin < end)
            attendSplit(p, b, h, t, begin, end, partial(b, h, t, split), thread);
          else
            partial(b, h, t, split)[0] = -INFINITY;  // nothing else of it is read
        }
    }
  });
  // y = Σ exp(mᵢ − m)·oᵢ / Σ exp(mᵢ − m)·lᵢ over the splits i, the sink being one more with l = 1
  parallelFor(p.B * p.H * p.T, 8, [&](int64_t row, int64_t rowEnd, int) {
    for (; row < rowEnd; row++) {
      const int64_t t = row % p.T, h = row / p.T % p.H, b = row / p.T / p.H;
      const float sink = p.sinks ? p.sinks->f()[h * p.sinks->stride[0]] : -INFINITY;
      float m = sink;
      for (int64_t i = 0; i < splits; i++) m = std::max(m, partial(b, h, t, i)[0]);
      float* const y = rowsOf(yView, b, h, t).data;
      std::fill_n(y, p.E, 0.f);
      if (m == -INFINITY) {
        lse[row] = -INFINITY;
        continue;
      }
      float l = sink == -INFINITY ? 0.f : std::exp(sink - m);
      for (int64_t i = 0; i < splits; i++) {
        const float* const o = partial(b, h, t, i);
        if (o[0] == -INFINITY) continue;
        const float f = std::exp(o[0] - m);
        l += f * o[1];
        for (int64_t e = 0; e < p.E; e++) y[e] += f * o[2 + e];
      }
      for (int64_t e = 0; e < p.E; e++) y[e] *= 1 / l;
      lse[row] = m + std::log(l);
    }
  });
}

}  // namespace

void attention(const Args& args) {
  const auto optional = [&](int i) { return i < args.nIn ? args.in + i : nullptr; };
  const Attention p(args.in, optional(3), optional(4), args.opt);
  const View& y = args.out[0];
  float* const lse = args.out[1].f();
  if (p.T < W / 2) return attendFew(p, y, lse);
  // A tile is a task. Within a head the long rows of a causal mask go first: the last tasks are the short ones, and threads finish together.
  const int64_t tiles = (p.T + kQueries - 1) / kQueries;
  parallelFor(p.B * p.H * tiles, 1, [&](int64_t task, int64_t taskEnd, int thread) {
    for (; task < taskEnd; task++) {
      const int64_t head = task / tiles, tile = tiles - 1 - task % tiles;
      const QueryTile q = queryTile(p, head / p.H, head % p.H, tile * kQueries);
      attendTile(p, q, y, lse + head * p.T + q.t, thread);
    }
  });
}

}  // namespace qkv::QKV_ISA
