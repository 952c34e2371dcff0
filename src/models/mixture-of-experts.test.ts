import { expect, test } from 'vitest';
import { dispose } from '../nn/index.ts';
import { Rng, scope, Tensor } from '../tensor/index.ts';
import { balanceLoss, MixtureOfExperts } from './mixture-of-experts.ts';

// Mixtral's block is compared in test/parity/modules.test.ts.
const options = { dModel: 5, dFF: 7, bias: false, std: 0.5, residualStd: 0.5 };

test('with every expert chosen, the mixture is the weighted sum of all', () => {
  using _ = scope();
  const rng = new Rng(1);
  const model = new MixtureOfExperts({ ...options, nExpert: 3, nPerToken: 3, rng });
  const x = Tensor.normal([2, 11, 5], 1, rng);
  const probs = model.router.forward(x).softmax().split(3);
  const expected = model.experts.map((f, e) => f.forward(x).mul(probs[e])).reduce((a, b) => a.add(b));
  const { y, routing } = model.forward(x);
  expected.readSync().forEach((v, i) => expect(y.readSync()[i]).toBeCloseTo(v, 5));
  expect(balanceLoss(routing).itemSync()).toBeCloseTo(3, 5); // nothing to balance: every expert sees every token
  dispose(model);
});

test('a token uses k experts, and only they learn from it', () => {
  using _ = scope();
  const rng = new Rng(2);
  const model = new MixtureOfExperts({ ...options, nExpert: 4, nPerToken: 1, renormalise: false, rng });
  const x = Tensor.normal([1, 1, 5], 1, rng);
  const best = model.router.forward(x).reshape([1, 4]).argmax().readSync()[0];
  const grads = model.forward(x).y.sum().backward();
  model.experts.forEach((f, e) => expect(grads.get(f.downProj.weight) !== undefined).toBe(e === best));
  expect(grads.get(model.router.weight)).toBeDefined(); // by the weight of the one that was chosen
  dispose(model);
});

test('the balance loss is k when all are equally busy, and E when one does everything', () => {
  using _ = scope();
  const even = Tensor.full([4, 2], 0.5);
  expect(balanceLoss({ probs: even, chosen: Int32Array.of(0, 1, 0, 1) }).itemSync()).toBeCloseTo(1, 6);
  const one = Tensor.from([1, 0, 1, 0, 1, 0, 1, 0], [4, 2]);
  expect(balanceLoss({ probs: one, chosen: Int32Array.of(0, 0, 0, 0) }).itemSync()).toBeCloseTo(2, 6);
});
