// Attention backward. Nothing but lse was kept: the weights of each tile are computed again.
//   Dao et al. 2022, "FlashAttention", alg. 4 (appendix B.2).
//
// forward was:  S = scale·QKᵀ (soft cap, bias),  P = exp(S − lse),  O = (P∘Z) V                     Z = dropout mask / (1 − p)
// so here:      dV = (P∘Z)ᵀ dO,   dP = (dO Vᵀ)∘Z,   dS = P∘(dP − δ),  δ = Σ_e dO∘O  (= Σ_s P∘dP, for each query)
//               dbias = dS,  and with dS′ = scale·(1 − tanh²)·dS:   dQ = dS′ K,   dK = dS′ᵀ Q
//               a sink weighs p = exp(sink − lse) and has no value (dP = 0):   dsink = −Σ p·δ
//
// Every element of dQ is a sum over key blocks in rising order, every element of dK and dV a sum over heads of the group and query tiles in rising order,
// whichever task adds it up: the bits depend neither on the number of threads nor on how the work is shared out.
#include "attention.h"

namespace qkv::QKV_ISA {

namespace {

struct Backward {
  const Attention& p;
  const View &dy, &y;
  const float* lse;
};

/// A tile of queries with what passes 1 to 4 need of it. Its memory is the thread's scratch.
struct Work {
  const Backward& in;
  float *weights, *dscores;                       // (kKeys, kQueries), both transposed like the scores
  float *queries, *dqueries;                      // Qᵀ (D, kQueries), dOᵀ (E, kQueries)
  float *qCopy, *dyCopy, *keysCopy, *valuesCopy;  // used with bf16 only
  QueryTile tile{};
  RowBlock q{}, dy{};  // rows of Q and dO, for the products over queries
  alignas(64) float lse[kQueries], delta[kQueries];

  Work(const Backward& problem, int thread) : in(problem) {
    const int64_t D = in.p.D, E = in.p.E, copies = in.p.bf16 ? (D + E) * (kQueries + kKeys) : 0;
    weights = scratch(thread, 0, 2 * kKeys * kQueries + (D + E) * kQueries + copies);
    dscores = weights + kKeys * kQueries;
    queries = dscores + kKeys * kQueries;
    dqueries = queries + D * kQueries;
    qCopy = dqueries + E * kQueries;
    dyCopy = qCopy + D * kQueries;
    keysCopy = dyCopy + E * kQueries;
    valuesCopy = keysCopy + D * kKeys;
  }

  // 1. Qᵀ, dOᵀ, lse and δ of a tile.
  void take(const QueryTile& next) {
    const Attention& p = in.p;
    tile = next;
    q = operand(p, *p.q, tile.b, tile.h, tile.t, tile.n, p.D, qCopy);
    dy = operand(p, in.dy, tile.b, tile.h, tile.t, tile.n, p.E, dyCopy);
    transpose(tile.n, static_cast<int>(p.D), q.data, q.ld, queries, kQueries);
    transpose(tile.n, static_cast<int>(p.E), dy.data, dy.ld, dqueries, kQueries);
    const RowBlock dyRows = rowsOf(in.dy, tile.b, tile.h, tile.t), yRows = rowsOf(in.y, tile.b, tile.h, tile.t);
    for (int i = 0; i < tile.lanes; i++) {
      const float l = i < tile.n ? in.lse[(tile.b * p.H + tile.h) * p.T + tile.t + i] : 0.f;
      lse[i] = l == -INFINITY ? 0.f : l;  // a row without keys: its scores are −∞ and weigh 0 against anything finite
      delta[i] = i < tile.n ? dot(dyRows.data + i * dyRows.ld, yRows.data + i * yRows.ld, p.E) : 0.f;
    }
  }
  static float dot(const float* a, const float* b, int64_t n) {
    Vec sum{};
    int64_t i = 0;
    for (; i + W <= n; i += W) sum += load(a + i) * load(b + i);
    if (i < n) sum += loadPart(a + i, static_cast<int>(n - i)) * loadPart(b + i, static_cast<int>(n - i));
    return hsum(sum);
  }

  // 2 to 4. Weights P∘Z and dS′ of the tile against one block of keys (with forBias: dS instead). Returns the block's K rows for the products that follow.
  template <bool kPlain, bool forBias> void weighLanes(const Lanes& lanes, const KeyBlock& block, int j) {
    const Attention& p = in.p;
    const Vec l = load(lse + j), d = load(delta + j);
    for (int s = lanes.some.begin; s < lanes.some.end; s++) {
      float *const weightAt = weights + s * kQueries + j, *const dscoreAt = dscores + s * kQueries + j;
      const Vec qk = load(weightAt);
      Vec weight = expOfScore(kPlain ? qk * p.scale - l : lanes.score(qk, s) - l);
      if (!lanes.seenByAll(s)) weight = lanes.seen(s) ? weight : Vec{};
      Vec dweight = load(dscoreAt), dropped = weight;
      if (p.hasDropout) {
        dweight = lanes.drop(dweight, s);
        dropped = lanes.drop(weight, s);
      }
      Vec dscore = weight * (dweight - d);
      if constexpr (!forBias) {
        if (!kPlain && p.softcap > 0) {
          const Vec tanh = lanes.capped(qk) / p.softcap;
          dscore *= 1.f - tanh * tanh;
        }
        dscore *= p.scale;
      }
      store(weightAt, p.bf16 ? roundBf16(dropped) : dropped);
      store(dscoreAt, p.bf16 && !forBias ? roundBf16(dscore) : dscore);
    }
    lanes.clearMargins(weights + j, block);
    lanes.clearMargins(dscores + j, block);
  }
  template <bool forBias = false> RowBlock weigh(const KeyBlock& block) {
    const Attention& p = in.p;
    const int64_t g = p.kvHead(tile.h);
    const RowBlock keys = operand(p, *p.k, tile.b, g, block.s, block.n, p.D, keysCopy);
    const RowBlock values = operand(p, *p.v, tile.b, g, block.s, block.n, p.E, valuesCopy);
    // 2. Sᵀ = K·Qᵀ   3. dPᵀ = V·dOᵀ
    keysTimesQueries(p, tile, block, keys, queries, p.D, weights);
    keysTimesQueries(p, tile, block, values, dqueries, p.E, dscores);
    // 4. P = exp(S − lse), dS = P∘(dP − δ)
    for (int j = 0; j < tile.lanes; j += W) {
      const Lanes lanes(p, tile, j, block);
      if (p.plain)
        weighLanes<true, forBias>(lanes, block, j);
      else
        weighLanes<false, forBias>(lanes, block, j);
    }
    return keys;
  }

  // 5. dV += (P∘Z)ᵀ·dO   6. dK += dS′ᵀ·Q
  void addToKeys(const KeyBlock& block, RowBlock dk, RowBlock dv) const {
    const Attention& p = in.p;
    const auto seeing = [&](int i0, int i1, int, int) { return queriesSeeing(p, tile, i0, i1, block); };
    tileProduct<Layout::rows>(block.n, static_cast<int>(p.E), weights, kQueries, dy.data, dy.ld, dv.data, dv.ld, Start::add, nullptr, seeing);
    tileProduct<Layout::rows>(block.n, static_cast<int>(p.D), dscores, kQueries, q.data, q.ld, dk.data, dk.ld, Start::add, nullptr, seeing);
  }
  // 7. dQ (+)= dS′·K
  void addToQueries(const KeyBlock& block, RowBlock keys, RowBlock dq, bool first) const {
    const Attention& p = in.p;
    tileProduct<Layout::columns>(tile.n, static_cast<int>(p.D), dscores, kQueries, keys.data, keys.ld, dq.data, dq.ld, first ? Start::zero : Start::add, nullptr,
                                 [&](int i0, int i1, int, int) { return keysSeen(p, tile, i0, i1, block); });
  }
};

void clear(RowBlock rows, int64_t n, int64_t columns) {
  for (int64_t i = 0; i < n; i++) std::fill_n(rows.data + i * rows.ld, columns, 0.f);
}

/// dQ of one tile, and with `keysToo` its share of dK and dV.
void backwardTile(Work& work, const QueryTile& tile, const View& dq, const View& dk, const View& dv, bool keysToo) {
  const Attention& p = work.in.p;
  const RowBlock own = rowsOf(dq, tile.b, tile.h, tile.t);
  const int64_t g = p.kvHead(tile.h), begin = firstBlock(p, tile), end = endBlock(p, tile);
  if (begin >= end) return clear(own, tile.n, p.D);
  work.take(tile);
  for (int64_t s = begin; s < end; s += kKeys) {
    const KeyBlock block = keyBlock(p, s);
    const RowBlock keys = work.weigh(block);
    if (keysToo) work.addToKeys(block, rowsOf(dk, tile.b, g, s), rowsOf(dv, tile.b, g, s));
    work.addToQueries(block, keys, own, s == begin);
  }
}

/// dK and dV of one block of keys: all heads of its group, all tiles that see it.
void backwardBlock(Work& work, int64_t b, int64_t g, const KeyBlock& block, const View& dk, const View& dv) {
  const Attention& p = work.in.p;
  const int64_t perGroup = p.H / p.G;
  const RowBlock dkRows = rowsOf(dk, b, g, block.s), dvRows = rowsOf(dv, b, g, block.s);
  clear(dkRows, block.n, p.D);
  clear(dvRows, block.n, p.E);
  for (int64_t h = g * perGroup; h < (g + 1) * perGroup; h++)
    for (int64_t t = p.firstQuery(block.s) / kQueries * kQueries; t < p.endQuery(block.s + block.n - 1); t += kQueries) {
      work.take(queryTile(p, b, h, t));
      work.weigh(block);
      work.addToKeys(block, dkRows, dvRows);
    }
}

/// dbias has the bias's own shape: an axis of size 1 was broadcast, and is summed. One task owns each part of the result and adds up whatever was broadcast on it,
/// in rising order; this costs the two products of passes 2 and 3 again, and no T × S buffer beyond dbias itself.
void backwardBias(const Backward& in, const View& dbias) {
  const Attention& p = in.p;
  const auto axis = [&](int a, int64_t full) { return dbias.shape[a] == full && full != 1; };
  const bool perB = axis(0, p.B), perH = axis(1, p.H), perT = axis(2, p.T), perS = axis(3, p.S);
  const int64_t tiles = (p.T + kQueries - 1) / kQueries, blocks = (p.S + kKeys - 1) / kKeys;
  const int64_t nB = perB ? p.B : 1, nH = perH ? p.H : 1, nT = perT ? tiles : 1, nS = perS ? blocks : 1;
  const int64_t rows = perT ? p.T : 1, columns = perS ? p.S : 1;
  parallelFor(nB * nH * nT * nS, 1, [&](int64_t task, int64_t taskEnd, int thread) {
    Work work(in, thread);
    for (; task < taskEnd; task++) {
      const int64_t s0 = task % nS, t0 = task / nS % nT, h0 = task / nS / nT % nH, b0 = task / nS / nT / nH;
      float* const out = dbias.f() + (b0 * nH + h0) * rows * columns;
      for (int64_t t = perT ? t0 * kQueries : 0; t < (perT ? std::min((t0 + 1) * kQueries, p.T) : 1); t++)
        for (int64_t s = perS ? s0 * kKeys : 0; s < (perS ? std::min((s0 + 1) * kKeys, p.S) : 1); s++) out[t * columns + s] = 0;
      for (int64_t b = perB ? b0 : 0; b < (perB ? b0 + 1 : p.B); b++)
        for (int64_t h = perH ? h0 : 0; h < (perH ? h0 + 1 : p.H); h++)
          for (int64_t i = perT ? t0 : 0; i < (perT ? t0 + 1 : tiles); i++) {
            const QueryTile tile = queryTile(p, b, h, i * kQueries);
            const int64_t begin = perS ? std::max(s0 * kKeys, firstBlock(p, tile)) : firstBlock(p, tile);
            const int64_t end = perS ? std::min((s0 + 1) * kKeys, endBlock(p, tile)) : endBlock(p, tile);
            if (begin >= end) continue;
            work.take(tile);
            for (int64_t s = begin; s < end; s += kKeys) {
              const KeyBlock block = keyBlock(p, s);
              work.weigh<true>(block);
              for (int k = 0; k < block.n; k++) {
                const Range seeing = queriesSeeing(p, tile, k, k + 1, block);
                for (int q = seeing.begin; q < seeing.end; q++)
                  out[(perT ? (tile.t + q) * columns : 0) + (perS ? s + k : 0)] += work.dscores[k * kQueries + q];
              }
            }
          }
    }
  });
}

/// dsink of head h = −Σ over batch and queries of exp(sink − lse)·δ
void backwardSinks(const Backward& in, const View& dsinks) {
  const Attention& p = in.p;
  parallelFor(p.H, 1, [&](int64_t h, int64_t hEnd, int) {
    for (; h < hEnd; h++) {
      const float sink = p.sinks->f()[h * p.sinks->stride[0]];
      double sum = 0;
      for (int64_t b = 0; b < p.B; b++)
        for (int64_t t = 0; t < p.T; t++) {
          const float l = in.lse[(b * p.H + h) * p.T + t];
          if (l > -INFINITY || l != l) sum -= std::exp(sink - l) * Work::dot(rowsOf(in.dy, b, h, t).data, rowsOf(in.y, b, h, t).data, p.E);
        }
      dsinks.f()[h * dsinks.stride[0]] = static_cast<float>(sum);
    }
  });
}

}  // namespace

void attentionBackward(const Args& args) {
  const Attention p(args.in + 1, args.in + 4, args.in + 5, args.opt);
  const Backward in{p, args.in[0], args.in[6], args.in[7].f()};
  const View &dq = args.out[0], &dk = args.out[1], &dv = args.out[2];
  const int64_t tiles = (p.T + kQueries - 1) / kQueries, blocks = (p.S + kKeys - 1) / kKeys, heads = p.B * p.G, perGroup = p.H / p.G;

  // A task per kv head computes each tile once: five products. Too few heads for the threads: two rounds, dQ by query tiles, dK and dV by key blocks,
  // which compute the tiles twice: seven products, but spread evenly. Both add in the same order, so the choice does not show in the bits.
  const int64_t threads = threadCount(), turns = (heads + threads - 1) / threads;
  if (5 * turns * threads <= 7 * heads) {
    parallelFor(heads, 1, [&](int64_t head, int64_t headEnd, int thread) {
      Work work(in, thread);
      for (; head < headEnd; head++) {
        const int64_t b = head / p.G, g = head % p.G;
        clear(rowsOf(dk, b, g, 0), p.S, p.D);
        clear(rowsOf(dv, b, g, 0), p.S, p.E);
        for (int64_t h = g * perGroup; h < (g + 1) * perGroup; h++)
          for (int64_t tile = 0; tile < tiles; tile++) backwardTile(work, queryTile(p, b, h, tile * kQueries), dq, dk, dv, true);
      }
    });
  } else {
    const int64_t queryTasks = p.B * p.H * tiles;
    parallelFor(queryTasks + heads * blocks, 1, [&](int64_t task, int64_t taskEnd, int thread) {
      Work work(in, thread);
      for (; task < taskEnd; task++) {
        if (task < queryTasks) {
          const int64_t head = task / tiles;
          backwardTile(work, queryTile(p, head / p.H, head % p.H, (tiles - 1 - task % tiles) * kQueries), dq, dk, dv, false);
        } else {
          const int64_t head = (task - queryTasks) / blocks;
          backwardBlock(work, head / p.G, head % p.G, keyBlock(p, (task - queryTasks) % blocks * kKeys), dk, dv);
        }
      }
    });
  }
  if (args.nOut > 3 && args.out[3].present()) backwardBias(in, args.out[3]);
  if (args.nOut > 4 && args.out[4].present()) backwardSinks(in, args.out[4]);
}

}  // namespace qkv::QKV_ISA
