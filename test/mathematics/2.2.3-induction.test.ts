import { expect, test } from 'vitest';
import { RelativeBias, SelfAttention } from '../../src/attention/index.ts';
import { Embedding, Linear, RMSNorm, stateDict } from '../../src/nn/index.ts';
import { crossEntropy, noGrad, Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { AdamW } from '../../src/train/index.ts';

const [V, C, H, T, B] = [16, 32, 4, 24, 16];
const IGNORED = -100;

/** Random texts that begin again after a random period of 6 to 12 tokens: what follows is known from where the token stood before, not from its place. */
function texts(n: number, rng: Rng) {
  const inputs = new Int32Array(n * T);
  const targets = new Int32Array(n * T);
  for (let b = 0; b < n; b++) {
    const period = 6 + rng.int(7);
    // Tokens of a period are distinct, so that the token before determines the next.
    const deck = Array.from({ length: V }, (_, i) => i);
    for (let i = V - 1; i > 0; i--) {
      const j = rng.int(i + 1);
      [deck[i], deck[j]] = [deck[j], deck[i]];
    }
    for (let t = 0; t < T; t++) {
      inputs[b * T + t] = deck[t % period];
      targets[b * T + t] = t >= period ? deck[(t + 1) % period] : IGNORED; // once around, the next token is known
    }
  }
  return { inputs, targets };
}

/** Share of the known tokens that `nLayer` layers of attention, and nothing else, say right after training. */
function accuracy(nLayer: number, steps: number): number {
  const rng = new Rng(3);
  const blocks = Array.from({ length: nLayer }, () => {
    const positionBias = new RelativeBias(H, { bidirectional: false, std: 1, rng });
    return {
      positionBias,
      norm: new RMSNorm(C),
      attn: new SelfAttention({ dModel: C, nHead: H, positionBias, std: 0.25, residualStd: 0.15, rng }),
    };
  });
  const model = {
    tokens: new Embedding(V, C, { std: 1, rng }),
    blocks,
    norm: new RMSNorm(C),
    head: new Linear(C, V, { std: 0.2, rng }),
  };
  const forward = (ids: Int32Array, n: number): Tensor => {
    let x = model.tokens.forward(ids, [n, T]);
    for (const { norm, attn } of blocks) x = x.add(attn.forward(norm.forward(x)));
    return model.head.forward(model.norm.forward(x));
  };
  const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
  for (let step = 0; step < steps; step++) {
    using _ = scope('step');
    const { inputs, targets } = texts(B, new Rng(100 + step));
    const loss = crossEntropy(forward(inputs, B), targets);
    optimizer.step(loss.backward(), { lr: 0.01 * Math.min(1, (step + 1) / 20, 1.05 - step / steps) });
  }
  using _ = scope('test');
  const { inputs, targets } = texts(200, new Rng(5));
  const said = noGrad(() => forward(inputs, 200).argmax().readSync());
  const known = [...targets.keys()].filter((i) => targets[i] !== IGNORED);
  return known.filter((i) => said[i] === targets[i]).length / known.length;
}

test('2.2.3c induction: two layers of attention continue a repeated text, ≥ 95 %; one layer cannot, ≤ 60 % (Olsson et al. 2022)', () => {
  const [two, one] = [accuracy(2, 400), accuracy(1, 400)];
  expect(two).toBeGreaterThanOrEqual(0.95);
  expect(one).toBeLessThanOrEqual(0.6);
});
