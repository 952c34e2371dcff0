// Outline 3.2 and 4.3: several heads look at the same tokens in different ways; their answers side by side, times Wₒ, are the sum of what each head says.
import { attention } from 'qkv/attention';
import { Rng, scope, Tensor } from 'qkv/tensor';

using _ = scope('example');
const rng = new Rng(1);
const [B, T, C, H] = [1, 5, 12, 3];
const D = C / H;

const x = Tensor.normal([B, T, C], 1, rng);
const [wq, wk, wv, wo] = [0, 1, 2, 3].map(() => Tensor.normal([C, C], 0.3, rng));

// In parallel: one projection, cut into heads; no number is moved.
const heads = (w: Tensor): Tensor => x.matmul(w).rearrange('B T (H D) -> B H T D', { H });
const y = attention(heads(wq), heads(wk), heads(wv), { causal: true }); // (B, H, T, D)
const together = y.rearrange('B H T D -> B T (H D)').matmul(wo); // concat(heads) Wₒ

// One after another: Σᵢ headᵢ Wₒᵢ, where Wₒᵢ are the D rows of Wₒ that belong to head i.
let sum = Tensor.zeros([B, T, C]);
for (let h = 0; h < H; h++) {
  const part = (w: Tensor): Tensor => x.matmul(w.slice(1, h * D, (h + 1) * D)).reshape([B, 1, T, D]);
  const head = attention(part(wq), part(wk), part(wv), { causal: true }).reshape([B, T, D]);
  sum = sum.add(head.matmul(wo.slice(0, h * D, (h + 1) * D)));
}
console.log(
  'largest difference between concat(heads) Wₒ and Σ headᵢ Wₒᵢ:',
  together.sub(sum).abs().max().itemSync().toExponential(1),
);
