// The path from a token to what it depends on has length 1 through attention, n through a recurrent state. Vaswani et al. 2017, table 1.

import { expect, test } from 'vitest';
import { LearnedPositions, SelfAttention } from '../../src/attention/index.ts';
import { type CellKind, Recurrent } from '../../src/models/index.ts';
import { Embedding, LayerNorm, Linear, stateDict } from '../../src/nn/index.ts';
import { crossEntropy, noGrad, Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { AdamW } from '../../src/train/index.ts';

// B texts · N symbols to keep · lag blanks between them and the question · C channels
const [B, N, SYMBOLS, C] = [16, 5, 8, 64];
const [BLANK, GO, V] = [SYMBOLS, SYMBOLS + 1, SYMBOLS + 2];

/** N symbols, `lag` blanks, then N places at which they are asked again, in order. Hochreiter & Schmidhuber 1997, §5; Arjovsky et al. 2016, §5.1. */
function texts(n: number, lag: number, rng: Rng): { ids: Int32Array; asked: Int32Array } {
  const T = 2 * N + lag;
  const ids = new Int32Array(n * T).fill(BLANK);
  const asked = new Int32Array(n * N);
  for (let b = 0; b < n; b++)
    for (let i = 0; i < N; i++) {
      ids[b * T + i] = asked[b * N + i] = rng.int(SYMBOLS);
      ids[b * T + N + lag + i] = GO;
    }
  return { ids, asked };
}

type Reader = (ids: Int32Array, n: number, T: number) => Tensor;

function transformer(T: number): { model: object; read: Reader } {
  const rng = new Rng(1);
  const model = {
    tokens: new Embedding(V, C, { std: 1, rng }),
    places: new LearnedPositions(T, C, { std: 1, rng }),
    norm: new LayerNorm(C),
    attn: new SelfAttention({ dModel: C, nHead: 2, std: 0.1, residualStd: 0.2, rng }),
    last: new LayerNorm(C),
    head: new Linear(C, V, { std: 0.1, rng }),
  };
  const read: Reader = (ids, n) => {
    const x = model.tokens.forward(ids, [n, T]).add(model.places.forward(T));
    return model.head.forward(model.last.forward(x.add(model.attn.forward(model.norm.forward(x)))));
  };
  return { model, read };
}

function recurrent(kind: CellKind): { model: object; read: Reader } {
  const rng = new Rng(1);
  const model = {
    tokens: new Embedding(V, C, { std: 1, rng }),
    cells: new Recurrent({ kind, dIn: C, dModel: 2 * C, rng }),
    head: new Linear(2 * C, V, { std: 0.1, rng }),
  };
  return { model, read: (ids, n, T) => model.head.forward(model.cells.forward(model.tokens.forward(ids, [n, T])).y) };
}

/** Share of the symbols that come back after `steps` steps of training, or as soon as all of them do. */
function remembered({ model, read }: { model: object; read: Reader }, lag: number, steps: number): number {
  const T = 2 * N + lag;
  const answers = (ids: Int32Array, n: number): Tensor => read(ids, n, T).slice(1, T - N, T);
  const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
  const share = (n: number, seed: number): number => {
    using _ = scope('test');
    const { ids, asked } = texts(n, lag, new Rng(seed));
    const said = noGrad(() => answers(ids, n).argmax().readSync());
    return asked.filter((id, i) => said[i] === id).length / asked.length;
  };
  for (let step = 0; step < steps; step++) {
    using _ = scope('step');
    const { ids, asked } = texts(B, lag, new Rng(1000 + step));
    const grads = crossEntropy(answers(ids, B), asked).backward();
    const lr = 3e-3 * Math.min(1, (step + 1) / 20, 1.1 - step / steps);
    optimizer.step(grads, { lr, clip: 1, norm: grads.norm() });
    if (step % 50 === 49 && share(50, 7) === 1) break;
  }
  return share(100, 8);
}

test('2.2.3a copy-memory at lags 50, 200, 500: the Transformer keeps ≥ 99 %, a vanilla RNN fails by lag 200', () => {
  const shown: string[] = [];
  for (const lag of [50, 200, 500]) {
    const right = remembered(transformer(2 * N + lag), lag, 400);
    shown.push(`Transformer, lag ${lag}: ${(100 * right).toFixed(1)} %`);
    expect(right).toBeGreaterThanOrEqual(0.99);
  }
  for (const lag of [1, 50, 200]) {
    const right = remembered(recurrent('rnn'), lag, 400);
    shown.push(`vanilla RNN, lag ${lag}: ${(100 * right).toFixed(1)} % (a guess: ${100 / SYMBOLS} %)`);
    if (lag === 1) expect(right).toBeGreaterThan(0.9); // it can learn the task
    if (lag === 200) expect(right).toBeLessThan(0.3);
  }
  console.log(shown.join('\n'));
});
