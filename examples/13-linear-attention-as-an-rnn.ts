// Outline 9.1: without softmax, attention over the past is a sum, and a sum is a state of fixed size: the decoder becomes a recurrent network.
import { attentionWeights, causalMask, linearAttention, LinearAttentionState, linearFeatures } from 'qkv/attention';
import { heatmap } from 'qkv/figures';
import { concat, Rng, scope, Tensor } from 'qkv/tensor';

using _ = scope('example');
const rng = new Rng(13);
const [T, D] = [12, 16];
const [q, k, v] = [0, 1, 2].map(() => Tensor.normal([1, 1, T, D], 1, rng)); // (B, H, T, D)

// In parallel, as in training: all pairs at once.
const parallel = linearAttention(q, k, v, { causal: true });

// Token by token, as in writing: S += φ(k) vᵀ, z += φ(k), y = φ(q)ᵀ S / φ(q)·z. The past is in S and z; no token is kept.
const state = new LinearAttentionState(1, 1, D, D);
const at = (x: Tensor, t: number): Tensor => x.slice(2, t, t + 1);
const steps = Array.from({ length: T }, (_, t) => state.step(at(q, t), at(k, t), at(v, t)));
const difference = concat(steps, 2).sub(parallel).abs().max().itemSync();
console.log(`parallel form = recurrent form: largest difference ${difference.toExponential(1)}`);

console.log('\nnumbers held for the past, a head      softmax (keys and values)   linear (S and z)');
for (const tokens of [10, 100, 1000, 100_000])
  console.log(`${String(tokens).padStart(8)} tokens ${String(2 * tokens * D).padStart(41)} ${String(D * D + D).padStart(18)}`);

// What is lost: a product of features cannot point. The weights of a head whose queries match one key each:
const keys = Tensor.normal([1, 1, T, D], 1, rng);
const queries = keys.mul(2).add(Tensor.normal([1, 1, T, D], 0.3, rng)); // token t asks for what token t offers
const mask = causalMask(T);
const similarity = { forward: (a: Tensor, b: Tensor): Tensor => linearFeatures(a).matmul(linearFeatures(b).T).log() };
const labels = Array.from({ length: T }, (_, t) => String(t));
const entropy = (p: Tensor): string => (-p.mul(p.add(1e-9).log()).sum().itemSync() / T).toFixed(2);
for (const [name, options] of [
  ['softmax', { mask }],
  ['linear', { mask, score: similarity }],
] as const) {
  const weights = attentionWeights(queries, keys, options);
  console.log(`\n${name}: mean entropy ${entropy(weights)} nats`);
  console.log(heatmap(weights.readSync(), { labels }));
}
