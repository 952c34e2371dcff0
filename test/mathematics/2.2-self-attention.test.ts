import { expect, test } from 'vitest';
import { type PositionBias, Rotary, RelativeBias, SelfAttention, sinusoidalPositions } from '../../src/attention/index.ts';
import { Rng, scope, Tensor } from '../../src/tensor/index.ts';
import { largest, normal } from './numbers.ts';

const [B, T, C, H] = [2, 7, 12, 3];
/** Rows of (B, T, C) in another order. */
const permuted = (x: Tensor, order: readonly number[]): Tensor =>
  x
    .permute([1, 0, 2])
    .reshape([T, B * C])
    .rows(order)
    .reshape([T, B, C])
    .permute([1, 0, 2]);

test('2.2.1a without positions self-attention is permutation-equivariant, f(Px) = P f(x) ≤ 1e-5; with positions it is not, > 1e-2', () => {
  using _ = scope('permute');
  const rng = new Rng(21);
  const layer = (o: { rotary?: Rotary; positionBias?: PositionBias } = {}): SelfAttention =>
    new SelfAttention({ dModel: C, nHead: H, causal: false, std: 0.5, residualStd: 0.5, rng, ...o });
  const difference = (f: (x: Tensor) => Tensor): number => {
    const x = normal(rng, B, T, C);
    const order = [3, 0, 6, 2, 5, 1, 4];
    return largest(f(permuted(x, order)), permuted(f(x), order));
  };
  const none = layer();
  expect(difference((x) => none.forward(x))).toBeLessThanOrEqual(1e-5);
  const positions = sinusoidalPositions(T, C);
  expect(difference((x) => none.forward(x.add(positions)))).toBeGreaterThan(1e-2);
  const rotary = layer({ rotary: new Rotary(2) });
  expect(difference((x) => rotary.forward(x))).toBeGreaterThan(1e-2);
  const relative = layer({ positionBias: new RelativeBias(H, { rng, std: 1 }) });
  expect(difference((x) => relative.forward(x))).toBeGreaterThan(1e-2);
});

test('2.2.2a step by step, X → Q, K, V → scores → mask → softmax → context → projection, equals the layer ≤ 1e-5', () => {
  using _ = scope('trace');
  const rng = new Rng(22);
  const layer = new SelfAttention({ dModel: C, nHead: H, bias: true, std: 0.5, residualStd: 0.5, rng });
  for (const { bias } of [layer.qProj, layer.kProj, layer.vProj, layer.outProj]) bias!.write(normal(rng, C).readSync());
  const X = normal(rng, B, T, C);
  const D = C / H;

  const project = ({ weight, bias }: { weight: Tensor; bias?: Tensor }): Tensor => X.matmul(weight.T).add(bias!);
  const [Q, K, V] = [layer.qProj, layer.kProj, layer.vProj].map((p) => project(p).rearrange('B T (H D) -> B H T D', { H }));
  const scores = Q.matmul(K.T).div(Math.sqrt(D)); // (B, H, T, T)
  const future = Tensor.from(
    Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? 1 : 0)),
    [T, T],
  );
  const masked = Tensor.full([1], -Infinity).where(future, scores);
  const exps = masked.sub(masked.max({ axis: -1, keepDims: true })).exp();
  const weights = exps.div(exps.sum({ axis: -1, keepDims: true }));
  const context = weights.matmul(V); // (B, H, T, D)
  const Y = context.rearrange('B H T D -> B T (H D)').matmul(layer.outProj.weight.T).add(layer.outProj.bias!);

  let recorded: Tensor | undefined;
  const y = layer.forward(X, { record: (_name, value) => (recorded = value) });
  expect(largest(y, Y)).toBeLessThanOrEqual(1e-5);
  expect(largest(recorded!, weights)).toBeLessThanOrEqual(1e-6); // 9.4c: what a recorder is given although the fused kernel ran
});
