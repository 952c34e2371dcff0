import { expect, test } from 'vitest';
import { type Decoder, GPT2, Tcn } from '../../src/models/index.ts';
import { dispose } from '../../src/nn/index.ts';
import { noGrad, Rng, scope } from '../../src/tensor/index.ts';

const [V, T] = [11, 40];
const size = { vocabSize: V, contextLength: T, dModel: 8 };

/** Distances at which changing a token changes the hidden state of the last place. */
function seen(model: Decoder): number[] {
  using _ = scope('field');
  const rng = new Rng(2);
  const ids = Int32Array.from({ length: T }, () => rng.int(V));
  const last = (x: Int32Array): Float32Array =>
    noGrad(() =>
      model
        .hidden(x, [1, T])
        .slice(1, T - 1, T)
        .readSync(),
    ) as Float32Array;
  const before = last(ids).slice();
  return Array.from({ length: T }, (_x, distance) => distance).filter((distance) =>
    [1, 2, 3].some((step) => {
      const changed = ids.map((id, t) => (t === T - 1 - distance ? (id + step) % V : id));
      return last(changed).some((v, i) => v !== before[i]);
    }),
  );
}
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

test.each([
  [1, 2],
  [2, 2],
  [3, 2],
  [2, 3],
  [3, 3],
])('9.2a a TCN of %i layers and %i taps sees 1 + 2(K − 1)(2ᴺ − 1) places and no more', (nLayer, width) => {
  const model = new Tcn({ ...size, nLayer, width }, new Rng(1));
  expect(model.receptiveField).toBe(1 + 2 * (width - 1) * (2 ** nLayer - 1));
  expect(seen(model)).toEqual(upTo(model.receptiveField));
  dispose(model);
});

test('9.2a one layer of self-attention sees all of them', () => {
  const model = new GPT2({ ...size, nLayer: 1, nHead: 2 }, new Rng(1));
  expect(seen(model)).toEqual(upTo(T));
  dispose(model);
});
