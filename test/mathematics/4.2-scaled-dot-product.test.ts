import { expect, test } from 'vitest';
import { Linear, stateDict } from '../../src/nn/index.ts';
import { attention } from '../../src/attention/index.ts';
import { crossEntropy, Rng, scope, Tensor } from '../../src/tensor/index.ts';
import { AdamW } from '../../src/train/index.ts';
import { differenceError, largest, normal } from './numbers.ts';

test.each([16, 32, 64, 128, 256])('4.2.1a Var(q·k) = d_k within 3 % over more than 10⁵ draws: d_k = %i', (D) => {
  using _ = scope('draws');
  const rng = new Rng(42);
  const n = D <= 32 ? 2000 : 1000; // every one of n queries with every one of n keys: the error of the variance is about 2/√(n·D)
  const products = normal(rng, n, D).matmul(normal(rng, n, D).T);
  expect(Math.abs(products.variance().itemSync() / D - 1)).toBeLessThanOrEqual(0.03);
  expect(Math.abs(products.mean().itemSync())).toBeLessThanOrEqual(0.03 * Math.sqrt(D));
});

const entropy = (p: Tensor): number => p.mul(p.add(1e-30).log()).sum({ axis: -1 }).neg().mean().itemSync();

test('4.2.2a unscaled, the entropy of softmax collapses as d_k grows; scaled, it stays within 10 %', () => {
  const rng = new Rng(43);
  const [unscaled, scaled] = [[], []] as number[][];
  for (const D of [16, 64, 256, 1024]) {
    using _ = scope('one width');
    const scores = normal(rng, 256, D).matmul(normal(rng, 64, D).T);
    unscaled.push(entropy(scores.softmax()));
    scaled.push(entropy(scores.div(Math.sqrt(D)).softmax()));
  }
  for (let i = 1; i < 4; i++) expect(unscaled[i]).toBeLessThan(0.8 * unscaled[i - 1]);
  expect(unscaled[3]).toBeLessThan(0.1 * Math.log(64)); // nearly one-hot
  for (const e of scaled) expect(Math.abs(e / scaled[0] - 1)).toBeLessThanOrEqual(0.1);
});

test('4.2.2a the collapse is what kills the gradient: at d_k = 256 the unscaled Jacobian is less than half of the scaled one', () => {
  using _ = scope('jacobian');
  const rng = new Rng(44);
  const scores = normal(rng, 256, 256).matmul(normal(rng, 64, 256).T);
  // The trace of diag(p) − p pᵀ is 1 − Σ p²: how much softmax still moves.
  const trace = (p: Tensor): number => 1 - p.square().sum({ axis: -1 }).mean().itemSync();
  expect(trace(scores.softmax())).toBeLessThan(0.5 * trace(scores.div(16).softmax()));
});

test('4.2.2b at d_k = 256 the scaled layer reaches the target loss in at most half of the steps that the unscaled one needs', () => {
  const [S, D, V, B] = [8, 256, 8, 16];
  const limit = 40;
  /** A text has S symbols, each beside a random answer, and asks for the answer of one. Steps until ten losses in a row average below ln V / 2. */
  const steps = (scale: number, lr: number): number => {
    const rng = new Rng(45);
    const symbols = normal(rng, S, D).asParameter().freeze();
    const answersOneHot = Tensor.from(
      Array.from({ length: V * V }, (_, i) => (i % V === Math.floor(i / V) ? 1 : 0)),
      [V, V],
    );
    const qProj = new Linear(D, D, { bias: false, std: 1 / Math.sqrt(D), rng }); // q·k starts with variance D
    const optimizer = new AdamW(stateDict(qProj), { weightDecay: 0 });
    const texts = new Rng(46);
    const losses: number[] = [];
    for (let step = 1; step <= limit; step++) {
      using _ = scope('step');
      const answers = Int32Array.from({ length: B * S }, () => texts.int(V));
      const asked = Int32Array.from({ length: B }, () => texts.int(S));
      const q = qProj.forward(symbols.rows(asked)).reshape([B, 1, 1, D]);
      const k = symbols.expand([B, 1, S, D]);
      const v = answersOneHot.rows(answers, [B, 1, S]);
      const logits = attention(q, k, v, { scale }).reshape([B, V]).mul(6);
      const loss = crossEntropy(
        logits,
        asked.map((s, b) => answers[b * S + s]),
      );
      losses.push(loss.itemSync());
      optimizer.step(loss.backward(), { lr });
      const recent = losses.slice(-10);
      if (recent.length === 10 && recent.reduce((a, b) => a + b) / 10 < Math.log(V) / 2) return step;
    }
    return limit;
  };
  // The unscaled softmax begins one-hot on a wrong key, where its gradient is nearly zero: no learning rate helps.
  for (const lr of [1e-3, 1e-2]) {
    const [scaled, unscaled] = [steps(1 / Math.sqrt(D), lr), steps(1, lr)];
    expect(scaled, `lr ${lr}`).toBeLessThan(limit / 2);
    expect(scaled, `lr ${lr}`).toBeLessThanOrEqual(unscaled / 2);
  }
});

test('4.2.3a softmax is shift-invariant, and its Jacobian is diag(p) − p pᵀ: against the derivative and against finite differences', () => {
  using _ = scope('softmax');
  const C = 6;
  const x = normal(new Rng(47), 1, C);
  const p = x.softmax();
  for (const shift of [-1000, -3, 0.5, 80])
    expect(largest(x.add(shift).softmax(), p)).toBeLessThanOrEqual(shift === -1000 ? 1e-4 : 1e-5);

  const values = p.readSync();
  const jacobian = Array.from({ length: C }, (_, i) =>
    Array.from({ length: C }, (_, j) => (i === j ? values[i] : 0) - values[i] * values[j]),
  );
  const byBackward = Array.from({ length: C }, (_, i) => {
    const leaf = x.detach().requireGrad();
    return [
      ...leaf
        .softmax()
        .slice(1, i, i + 1)
        .sum()
        .backward()
        .get(leaf)!
        .readSync(),
    ];
  });
  expect(largest(byBackward.flat(), jacobian.flat())).toBeLessThanOrEqual(1e-6);
  const error = differenceError(
    new Rng(48),
    () => [normal(new Rng(47), 3, C)],
    ([leaf]) => leaf.softmax(),
  );
  expect(error).toBeLessThanOrEqual(1e-4);
});
