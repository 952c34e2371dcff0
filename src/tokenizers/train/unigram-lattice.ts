/** All ways to cut words into pieces: what a Unigram vocabulary is fitted on. */

/** All places where pieces fit into texts: edges start → end, grouped by text, in order of start. */
export interface Lattices {
  firstEdge: Int32Array;
  start: Uint16Array;
  end: Uint16Array;
  piece: Int32Array;
  lengths: Uint16Array;
}

export function buildLattices(texts: readonly string[][], ids: ReadonlyMap<string, number>, maxLength: number): Lattices {
  const start: number[] = [];
  const end: number[] = [];
  const piece: number[] = [];
  const firstEdge = new Int32Array(texts.length + 1);
  texts.forEach((chars, t) => {
    for (let i = 0; i < chars.length; i++) {
      let text = '';
      for (let j = i; j < chars.length && j - i < maxLength; j++) {
        text += chars[j];
        const id = ids.get(text);
        if (id === undefined) continue;
        start.push(i);
        end.push(j + 1);
        piece.push(id);
      }
    }
    firstEdge[t + 1] = start.length;
  });
  return {
    firstEdge,
    start: Uint16Array.from(start),
    end: Uint16Array.from(end),
    piece: Int32Array.from(piece),
    lengths: Uint16Array.from(texts, (chars) => chars.length),
  };
}

/** log 0: the piece is not in the vocabulary any more. */
export const impossible = Number.NEGATIVE_INFINITY;

function logAdd(a: number, b: number): number {
  if (a < b) [a, b] = [b, a];
  return b < a - 40 ? a : a + Math.log1p(Math.exp(b - a));
}

/** Memory for one text at a time. */
export interface Scratch {
  forward: Float64Array;
  backward: Float64Array;
  from: Int32Array;
}

/** E step: how often each piece is expected, over all cuts of all words weighted by their probability (forward-backward). */
export function expect(
  { firstEdge, start, end, piece, lengths }: Lattices,
  counts: readonly number[],
  logProb: Float64Array,
  scratch: Scratch,
): Float64Array {
  const { forward, backward } = scratch;
  const expected = new Float64Array(logProb.length);
  for (let w = 0; w < counts.length; w++) {
    const n = lengths[w];
    forward.fill(impossible, 0, n + 1);
    backward.fill(impossible, 0, n + 1);
    forward[0] = 0;
    backward[n] = 0;
    for (let e = firstEdge[w]; e < firstEdge[w + 1]; e++) {
      const lp = logProb[piece[e]];
      if (lp > impossible) forward[end[e]] = logAdd(forward[end[e]], forward[start[e]] + lp);
    }
    for (let e = firstEdge[w + 1] - 1; e >= firstEdge[w]; e--) {
      const lp = logProb[piece[e]];
      if (lp > impossible) backward[start[e]] = logAdd(backward[start[e]], backward[end[e]] + lp);
    }
    for (let e = firstEdge[w]; e < firstEdge[w + 1]; e++) {
      const lp = logProb[piece[e]];
      if (lp > impossible) expected[piece[e]] += counts[w] * Math.exp(forward[start[e]] + lp + backward[end[e]] - forward[n]);
    }
  }
  return expected;
}

/** The best cut of text `t` as edges from the last to the first; `without`: an edge that may not be used. */
export function bestCut(
  { firstEdge, start, end, piece, lengths }: Lattices,
  t: number,
  logProb: Float64Array,
  { forward, from }: Scratch,
  without = -1,
): number[] {
  const n = lengths[t];
  forward.fill(impossible, 0, n + 1);
  forward[0] = 0;
  for (let e = firstEdge[t]; e < firstEdge[t + 1]; e++) {
    const score = forward[start[e]] + logProb[piece[e]];
    if (piece[e] !== without && score > forward[end[e]]) {
      forward[end[e]] = score;
      from[end[e]] = e;
    }
  }
  const path: number[] = [];
  if (forward[n] > impossible) for (let place = n; place > 0; place = start[from[place]]) path.push(from[place]);
  return path;
}
