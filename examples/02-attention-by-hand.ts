// Outline 3.1: scaled dot-product attention, first as loops over numbers, then as one call.
import { attention } from 'qkv/attention';
import { scope, Tensor } from 'qkv/tensor';

using _ = scope('example');

// T = 3 tokens, D = 2 channels: what each token asks (q), what it offers (k), what it says (v).
const q = [
  [1, 0],
  [0, 1],
  [1, 1],
];
const k = [
  [1, 0],
  [0, 1],
  [2, 0],
];
const v = [
  [10, 0],
  [0, 10],
  [5, 5],
];
const D = 2;

const byHand = q.map((query) => {
  const scores = k.map((key) => query.reduce((s, x, d) => s + x * key[d], 0) / Math.sqrt(D)); // q·k / √D
  const exps = scores.map(Math.exp);
  const total = exps.reduce((a, b) => a + b);
  const weights = exps.map((e) => e / total); // softmax: positive, and together 1
  return v[0].map((_, d) => weights.reduce((s, w, t) => s + w * v[t][d], 0)); // Σ weight · value
});

const tensor = (rows: number[][]): Tensor => Tensor.from(rows.flat(), [1, 1, 3, D]); // (B, H, T, D)
const y = attention(tensor(q), tensor(k), tensor(v)).readSync();

byHand.forEach((row, t) =>
  console.log(
    `token ${t}: by hand [${row.map((x) => x.toFixed(4))}]   attention() [${[...y.subarray(t * D, (t + 1) * D)].map((x) => x.toFixed(4))}]`,
  ),
);
