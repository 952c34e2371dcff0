import { expect, test } from 'vitest';
import { Rng, scope, Tensor } from '../tensor/index.ts';
import { corruptSpans, infoNCE, maskTokens, nextSentence, replaceTokens, shiftRight } from './objectives.ts';

const V = 1000;
const someIds = (n: number, seed = 1): Int32Array => {
  const rng = new Rng(seed);
  return Int32Array.from({ length: n }, () => 10 + rng.int(V - 10));
};
/** Expects a share of n draws within four standard deviations of p. */
const expectShare = (count: number, n: number, p: number): void =>
  expect(Math.abs(count / n - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / n));

test('masked LM asks 15 %, of which 80 % are masked, 10 % random, 10 % as they were', () => {
  const ids = someIds(200_000);
  const special = new Set([11, 12]);
  const { inputs, targets } = maskTokens(ids, { vocabSize: V, maskId: 3, special, rng: new Rng(5) });
  const asked = [...targets.keys()].filter((i) => targets[i] !== -100);
  const candidates = ids.filter((id) => !special.has(id)).length;
  expectShare(asked.length, candidates, 0.15);
  expectShare(asked.filter((i) => inputs[i] === 3).length, asked.length, 0.8);
  expectShare(asked.filter((i) => inputs[i] === ids[i]).length, asked.length, 0.1 + 0.1 / V);
  const right = (i: number): boolean =>
    targets[i] === -100 ? inputs[i] === ids[i] : targets[i] === ids[i] && !special.has(ids[i]);
  expect([...ids.keys()].every(right)).toBe(true);
  expect(maskTokens(ids, { vocabSize: V, maskId: 3, special, rng: new Rng(5) }).inputs).toEqual(inputs);
});

test('whole-word masking asks all tokens of a word or none', () => {
  const ids = someIds(60_000);
  const draw = new Rng(2);
  let word = 0;
  const words = Int32Array.from({ length: ids.length }, () => (draw.uniform() < 0.6 ? ++word : word));
  const { targets } = maskTokens(ids, { vocabSize: V, maskId: 3, words, rng: new Rng(3) });
  const asked = new Map<number, Set<boolean>>();
  words.forEach((w, i) => asked.set(w, (asked.get(w) ?? new Set()).add(targets[i] !== -100)));
  expect([...asked.values()].every((states) => states.size === 1)).toBe(true);
  expectShare([...asked.values()].filter((s) => s.has(true)).length, asked.size, 0.15);
});

test('span corruption: source and target together are the text; 15 % in spans of 3', () => {
  const [sentinel, endId] = [(i: number) => 2000 + i, 1];
  let spans = 0;
  let cut = 0;
  let total = 0;
  const firstLengths: number[] = [];
  for (let seed = 0; seed < 300; seed++) {
    const ids = someIds(50 + (seed % 150), seed);
    const { source, target } = corruptSpans(ids, { sentinel, endId, rng: new Rng(seed) });
    const pieces = new Map<number, number[]>();
    let open: number[] = [];
    for (const id of target.slice(0, -1)) {
      if (id >= 2000) pieces.set(id, (open = []));
      else open.push(id);
    }
    const n = pieces.size - 1; // the last sentinel closes the target
    expect(pieces.get(sentinel(n))).toEqual([]);
    const restored = [...source.slice(0, -1)].flatMap((id) => pieces.get(id) ?? [id]);
    expect(restored).toEqual([...ids]);
    expect([source.at(-1), target.at(-1)]).toEqual([endId, endId]);
    const taken = target.length - 2 - n;
    expect(taken).toBe(Math.round(ids.length * 0.15));
    [spans, cut, total] = [spans + n, cut + taken, total + ids.length];
    firstLengths.push(source.findIndex((id) => id >= 2000));
  }
  expect(cut / total).toBeCloseTo(0.15, 2);
  expect(cut / spans).toBeGreaterThan(2.8);
  expect(cut / spans).toBeLessThan(3.2);
  expect(new Set(firstLengths).size).toBeGreaterThan(20); // where the first span begins varies
});

test('spans are cut in every way, equally often', () => {
  // 6 tokens, 3 of them out, in two spans: kept and cut are both 3 = 1 + 2 or 2 + 1: four texts.
  const seen = new Map<string, number>();
  const rng = new Rng(1);
  for (let i = 0; i < 4000; i++) {
    const { source } = corruptSpans([1, 2, 3, 4, 5, 6], { sentinel: (s) => -1 - s, rate: 0.5, meanSpan: 1.5, rng });
    seen.set(`${source}`, (seen.get(`${source}`) ?? 0) + 1);
  }
  expect(seen.size).toBe(4);
  for (const count of seen.values()) expectShare(count, 4000, 0.25);
  expect(() => corruptSpans([1], { sentinel: (s) => s, rng })).toThrow('at least 2');
});

test('a replaced token is one that the generator guessed wrong', () => {
  const { inputs, labels } = replaceTokens([5, 6, 7, 8], [-100, 6, 7, -100], [0, 6, 9, 0]);
  expect([...inputs]).toEqual([5, 6, 9, 8]);
  expect([...labels]).toEqual([0, 0, 1, 0]);
});

test('teacher forcing asks what has not been shown', () => {
  expect([...shiftRight(Int32Array.of(5, 6, 1, 7, 1, -100), [2, 3], 0)]).toEqual([0, 5, 6, 0, 7, 1]);
});

test('half of the second sentences follow, half come from elsewhere', () => {
  const rng = new Rng(1);
  const drawn = Array.from({ length: 4000 }, () => nextSentence('follows', () => 'elsewhere', rng));
  expect(drawn.every(({ second, label }) => second === (label === 0 ? 'follows' : 'elsewhere'))).toBe(true);
  expectShare(drawn.filter((d) => d.label === 0).length, 4000, 0.5);
});

test('InfoNCE is ln N where nothing is known, and near 0 where each finds its own', () => {
  using _ = scope();
  const N = 8;
  const same = Tensor.full([N, 4], 0.5);
  expect(infoNCE(same, same).itemSync()).toBeCloseTo(Math.log(N), 5);
  const own = Tensor.from(
    Float32Array.from({ length: N * N }, (_x, i) => (i % (N + 1) === 0 ? 1 : 0)),
    [N, N],
  );
  expect(infoNCE(own, own).itemSync()).toBeLessThan(1e-6);
  // By hand: q = [e₁, e₂], k = [e₁, e₁], τ = 1. q₁: both keys alike, ln 2; q₂: both 0, ln 2. Keys: k₁ finds e₁ rather than e₂.
  const q = Tensor.from([1, 0, 0, 1], [2, 2]);
  const k = Tensor.from([1, 0, 1, 0], [2, 2]);
  expect(infoNCE(q, k, { temperature: 1 }).itemSync()).toBeCloseTo(Math.log(2), 6);
  const back = (Math.log(1 + Math.exp(-1)) + Math.log(1 + Math.exp(1))) / 2;
  expect(infoNCE(q, k, { temperature: 1, symmetric: true }).itemSync()).toBeCloseTo((Math.log(2) + back) / 2, 6);
});
