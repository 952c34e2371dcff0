// Every topology with every switch, built from the library's parts: 3 × 2 × 2 × 3 × 2 = 72 models.

import { expect, test } from 'vitest';
import { CrossAttention, LearnedPositions, SelfAttention } from '../../src/attention/index.ts';
import { dispose, Embedding, LayerNorm, Linear, MLP, RMSNorm, stateDict, SwiGLU } from '../../src/nn/index.ts';
import { linearCrossEntropy, Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { AdamW, cosine, train } from '../../src/train/index.ts';

// V vocabulary · C channels · H heads · B texts of T tokens, with sources of S
const [V, C, H, N, B, T, S] = [29, 12, 2, 2, 3, 7, 5];
const topologies = ['decoder-only', 'encoder-only', 'encoder-decoder'] as const;
interface Switches {
  topology: (typeof topologies)[number];
  preNorm: boolean;
  norm: 'RMSNorm' | 'LayerNorm';
  mlp: 'GELU' | 'ReLU²' | 'SwiGLU';
  tied: boolean;
}

const std = 0.1;
const makeNorm = ({ norm }: Switches) => (norm === 'RMSNorm' ? new RMSNorm(C) : new LayerNorm(C));
const makeMlp = ({ mlp }: Switches, rng: Rng) => {
  const size = { dModel: C, dFF: 4 * C, bias: false, std, residualStd: std, rng };
  return mlp === 'SwiGLU' ? new SwiGLU(size) : new MLP({ ...size, activation: mlp === 'GELU' ? 'gelu' : 'reluSquared' });
};

function block(o: Switches, causal: boolean, looks: boolean, rng: Rng) {
  const size = { dModel: C, nHead: H, std, residualStd: std, rng };
  const [norms, attn, mlp] = [[0, 1, 2].map(() => makeNorm(o)), new SelfAttention({ ...size, causal }), makeMlp(o, rng)];
  const cross = looks ? new CrossAttention(size) : undefined;
  const branch = (x: Tensor, i: number, f: (x: Tensor) => Tensor): Tensor =>
    o.preNorm ? x.add(f(norms[i].forward(x))) : norms[i].forward(x.add(f(x)));
  return {
    parts: { norms, attn, mlp, cross },
    forward(x: Tensor, memory?: Tensor): Tensor {
      x = branch(x, 0, (y) => attn.forward(y));
      if (cross && memory) x = branch(x, 1, (y) => cross.forward(y, memory));
      return branch(x, 2, (y) => mlp.forward(y));
    },
  };
}

function model(o: Switches, rng: Rng) {
  const tokens = new Embedding(V, C, { std, rng });
  const places = new LearnedPositions(T, C, { std, rng });
  const stack = (causal: boolean, looks: boolean) => Array.from({ length: N }, () => block(o, causal, looks, rng));
  const paired = o.topology === 'encoder-decoder';
  const encoder = paired ? stack(false, false) : [];
  const decoder = stack(o.topology !== 'encoder-only', paired);
  const last = o.preNorm ? makeNorm(o) : undefined;
  // A post-norm model gives rows of length √C: an untied head has to be small for the first loss to be that of a guess.
  const head = o.tied ? undefined : new Linear(C, V, { bias: false, std: 0.02, rng });
  const scale = o.tied ? C ** -0.5 : 1;
  const embed = (ids: Int32Array, n: number): Tensor => tokens.forward(ids, [B, n]).add(places.forward(n));
  return {
    parameters: { tokens, places, blocks: [...encoder, ...decoder].map((b) => b.parts), last, head },
    loss({ source, inputs, targets }: typeof batch): Tensor {
      const memory = paired ? encoder.reduce((x, b) => b.forward(x), embed(source, S)) : undefined;
      const x = decoder.reduce((y, b) => b.forward(y, memory), embed(inputs, T));
      return linearCrossEntropy((last?.forward(x) ?? x).mul(scale), (head ?? tokens).weight, targets);
    },
  };
}

const draw = (n: number, seed: number): Int32Array => {
  const rng = new Rng(seed);
  return Int32Array.from({ length: n }, () => rng.int(V));
};
const batch = { source: draw(B * S, 3), inputs: draw(B * T, 4), targets: draw(B * T, 5) };

const all: Switches[] = topologies.flatMap((topology) =>
  [true, false].flatMap((preNorm) =>
    (['RMSNorm', 'LayerNorm'] as const).flatMap((norm) =>
      (['GELU', 'ReLU²', 'SwiGLU'] as const).flatMap((mlp) =>
        [true, false].map((tied) => ({ topology, preNorm, norm, mlp, tied })),
      ),
    ),
  ),
);

test.each(all)(
  '2.3.3a $topology, pre-norm $preNorm, $norm, $mlp, tied $tied: starts at ln V ± 0.1 and overfits one batch to < 0.01 in ≤ 300 steps',
  async (o) => {
    const { parameters, loss } = model(o, new Rng(1));
    const optimizer = new AdamW(stateDict(parameters), { weightDecay: 0 });
    const schedule = cosine({ peak: 1e-2, final: 1e-3, warmup: 20, steps: 300 });
    let [first, last] = [Number.NaN, Infinity];
    for await (const { step, lossNats } of train(parameters, {
      steps: 300,
      batch: () => batch,
      loss,
      optimizer,
      schedule,
      clip: 1,
    })) {
      if (step === 0) first = lossNats;
      last = lossNats;
      if (last < 0.01) break;
    }
    expect(Math.abs(first - Math.log(V))).toBeLessThanOrEqual(0.1);
    expect(last).toBeLessThan(0.01);
    optimizer.dispose();
    dispose(parameters);
  },
);

test('2.3.3b a first loss of ln V: 65 characters 4.17, 50,257 tokens 10.82', async () => {
  const { GPT2 } = await import('../../src/models/index.ts');
  for (const vocabSize of [65, 50_257]) {
    using _ = scope('first');
    const gpt2 = new GPT2({ vocabSize, contextLength: 64, nLayer: 4, nHead: 4, dModel: 128 }, new Rng(1));
    const ids = (seed: number): Int32Array => draw(4 * 64, seed).map((id, i) => (id * 1733 + i * 7) % vocabSize);
    const loss = gpt2.loss({ inputs: ids(1), targets: ids(2), shape: [4, 64] }).itemSync();
    console.log(`V = ${vocabSize}: first loss ${loss.toFixed(3)}, ln V = ${Math.log(vocabSize).toFixed(3)}`);
    expect(Math.abs(loss - Math.log(vocabSize))).toBeLessThanOrEqual(0.1);
    dispose(gpt2);
  }
});
