// Outline 4.2.2: q·k of D independent unit normals has variance D, so without 1/√D the softmax hardens as heads grow wider.
import { Rng, scope, Tensor } from 'qkv/tensor';

const rng = new Rng(7);
const entropy = (p: Tensor): number => p.mul(p.add(1e-12).log()).sum({ axis: -1 }).neg().mean().itemSync();

console.log('   D   Var(q·k)   entropy of softmax over 64 keys (ln 64 = 4.16 is uniform)');
console.log('                  q·k        q·k/√D');
for (const D of [4, 16, 64, 256]) {
  using _ = scope('one width');
  const q = Tensor.normal([512, D], 1, rng);
  const k = Tensor.normal([64, D], 1, rng);
  const scores = q.matmul(k.T); // (512, 64)
  const variance = scores.variance().itemSync();
  console.log(
    `${String(D).padStart(4)}   ${variance.toFixed(1).padStart(7)}    ${entropy(scores.softmax()).toFixed(2)}       ${entropy(scores.div(Math.sqrt(D)).softmax()).toFixed(2)}`,
  );
}
