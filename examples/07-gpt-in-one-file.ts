// Outline 5.2: a decoder from nothing but tensor operations, trained until it knows a sentence by heart.
import { crossEntropy, type Gradients, noGrad, Rng, scope, Tensor } from 'qkv/tensor';

const text = 'attention is all you need. ';
const chars = [...new Set(text)].sort();
const ids = [...text.repeat(4)].map((c) => chars.indexOf(c));
const [V, C, H, T, L] = [chars.length, 32, 2, 16, 2];

const rng = new Rng(3);
const parameter = (...shape: number[]): Tensor => Tensor.normal(shape, 0.2, rng).asParameter();
const embedding = parameter(V, C);
const positions = parameter(T, C);
const block = () => ({ qkv: parameter(C, 3 * C), out: parameter(C, C), up: parameter(C, 4 * C), down: parameter(4 * C, C) });
const blocks = Array.from({ length: L }, block);
const parameters = [embedding, positions, ...blocks.flatMap((b) => Object.values(b))];

const norm = (x: Tensor): Tensor => x.mul(x.square().mean({ axis: -1, keepDims: true }).add(1e-5).rsqrt()); // RMS norm without a weight
const hide = Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -Infinity : 0));
const future = Tensor.from(hide, [T, T]); // −∞ above the diagonal: no token sees what comes after it

function forward(batch: number[][]): Tensor {
  let x = embedding.rows(batch.flat(), [batch.length, T]).add(positions); // (B, T, C)
  for (const { qkv, out, up, down } of blocks) {
    const parts = norm(x).matmul(qkv).split(3);
    const [q, k, v] = parts.map((y) => y.rearrange('B T (H D) -> B H T D', { H }));
    const scores = q.matmul(k.T).div(Math.sqrt(C / H)); // (B, H, T, T)
    const weights = scores.add(future).softmax();
    x = x.add(weights.matmul(v).rearrange('B H T D -> B T (H D)').matmul(out));
    x = x.add(norm(x).matmul(up).gelu().matmul(down));
  }
  return norm(x).matmul(embedding.T); // (B, T, V)
}
function descend(grads: Gradients, rate: number): void {
  for (const p of parameters) p.copyFrom(p.sub(grads.get(p)!.mul(rate)));
}

for (let step = 0; step <= 150; step++) {
  using _ = scope('step');
  const starts = Array.from({ length: 8 }, () => rng.int(ids.length - T - 1));
  const targets = starts.flatMap((s) => ids.slice(s + 1, s + T + 1));
  const loss = crossEntropy(forward(starts.map((s) => ids.slice(s, s + T))), targets);
  noGrad(() => descend(loss.backward(), 0.3));
  if (step % 50 === 0) console.log(`step ${step}  loss ${loss.itemSync().toFixed(3)}`);
}

let out = text.slice(0, T);
while (out.length < 60) {
  using _ = scope('next');
  const logits = noGrad(() => forward([[...out.slice(-T)].map((c) => chars.indexOf(c))]));
  out +=
    chars[
      logits
        .slice(1, T - 1, T)
        .argmax()
        .itemSync()
    ];
}
console.log(out);
