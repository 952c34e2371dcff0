import { expect, test } from 'vitest';
import { attention, SelfAttention } from '../../src/attention/index.ts';
import { noGrad, Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { countKernels } from './count-kernels.ts';
import { largest, normal } from './numbers.ts';

const [B, T, C, H] = [2, 11, 24, 3];
const D = C / H;

test('4.3a block matrices: concat(heads) W_O = Σ headᵢ W_Oᵢ ≤ 1e-5', () => {
  using _ = scope('blocks');
  const rng = new Rng(51);
  const layer = new SelfAttention({ dModel: C, nHead: H, causal: false, std: 0.4, residualStd: 0.4, rng });
  const x = normal(rng, B, T, C);
  let sum: Tensor | undefined;
  for (let h = 0; h < H; h++) {
    // Columns of W_Q, W_K, W_V (rows of their weights), and rows of W_O (columns of its weight), that belong to head h
    const own = (weight: Tensor): Tensor => x.matmul(weight.slice(0, h * D, (h + 1) * D).T).reshape([B, 1, T, D]);
    const head = attention(own(layer.qProj.weight), own(layer.kProj.weight), own(layer.vProj.weight)).reshape([B, T, D]);
    const said = head.matmul(layer.outProj.weight.slice(1, h * D, (h + 1) * D).T);
    sum = sum ? sum.add(said) : said;
  }
  expect(largest(layer.forward(x), sum!)).toBeLessThanOrEqual(1e-5);
});

test('4.3b heads computed in parallel and one after another are bit-identical', () => {
  using _ = scope('heads');
  const rng = new Rng(52);
  for (const length of [5, 70, 129]) {
    const [q, k, v] = [0, 1, 2].map(() => normal(rng, B, H, length, D));
    const together = attention(q, k, v, { causal: true });
    for (let h = 0; h < H; h++) {
      const one = (x: Tensor): Tensor => x.slice(1, h, h + 1);
      expect(largest(attention(one(q), one(k), one(v), { causal: true }), one(together)), `head ${h}`).toBe(0);
    }
  }
});

test.each([
  [16, 32],
  [64, 48],
  [128, 24],
])('4.3c the FLOP counter equals 8·T·d² + 4·T²·d within 1 %: T = %i, d = %i', (length, d) => {
  using _ = scope('count');
  const layer = new SelfAttention({ dModel: d, nHead: 4, causal: false, std: 0.1, residualStd: 0.1, rng: new Rng(53) });
  const x = normal(new Rng(54), 1, length, d);
  const { flops } = countKernels(() => noGrad(() => layer.forward(x)));
  const closed = 8 * length * d ** 2 + 4 * length ** 2 * d;
  expect(Math.abs(flops / closed - 1)).toBeLessThanOrEqual(0.01);
});
