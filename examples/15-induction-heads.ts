// Outline 2.2.3: two layers of attention learn to continue a text that repeats, quite suddenly: one head looks at the token before, the next at what followed it last time. Olsson et al. 2022.
import { RelativeBias, SelfAttention } from 'qkv/attention';
import { curve, heatmap } from 'qkv/figures';
import { Embedding, Linear, RMSNorm, stateDict } from 'qkv/nn';
import { crossEntropy, noGrad, Rng, scope, type Tensor } from 'qkv/tensor';
import { AdamW } from 'qkv/train';

const [V, C, H, T, B, steps] = [16, 32, 4, 24, 16, 300];

/** Distinct random tokens that begin again after `period`; before that nothing is known, and nothing counts (−100). */
function text(rng: Rng, period = 6 + rng.int(7)) {
  const deck = Array.from({ length: V }, (_, id) => ({ id, order: rng.uniform() })).sort((a, b) => a.order - b.order);
  const inputs = Array.from({ length: T }, (_, t) => deck[t % period].id);
  return { inputs, targets: inputs.map((_, t) => (t >= period ? deck[(t + 1) % period].id : -100)) };
}

const rng = new Rng(3);
const blocks = [0, 1].map(() => {
  const positionBias = new RelativeBias(H, { bidirectional: false, std: 1, rng });
  const attn = new SelfAttention({ dModel: C, nHead: H, positionBias, std: 0.25, residualStd: 0.15, rng });
  return { positionBias, norm: new RMSNorm(C), attn };
});
const model = {
  tokens: new Embedding(V, C, { std: 1, rng }),
  blocks,
  norm: new RMSNorm(C),
  head: new Linear(C, V, { std: 0.2, rng }),
};
const seen: Tensor[] = []; // the weights of each layer, when they are looked at
function forward(ids: number[], n: number, look = false): Tensor {
  let x = model.tokens.forward(ids, [n, T]);
  const record = look ? (_name: string, weights: Tensor) => seen.push(weights) : undefined;
  for (const { norm, attn } of blocks) x = x.add(attn.forward(norm.forward(x), { record }));
  return model.head.forward(model.norm.forward(x));
}

const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
const losses = Array.from({ length: steps }, (_, step) => {
  using _step = scope('step');
  const draws = new Rng(100 + step);
  const batch = Array.from({ length: B }, () => text(draws));
  const all = (key: 'inputs' | 'targets') => batch.flatMap((one) => one[key]);
  const loss = crossEntropy(forward(all('inputs'), B), all('targets'));
  optimizer.step(loss.backward(), { lr: 0.01 * Math.min(1, (step + 1) / 20, 1.05 - step / steps) });
  return { x: step, y: loss.itemSync() };
});
console.log(`loss of the tokens that repeat, ${steps} steps:\n${curve(losses, { height: 6 })}`);
using _ = scope('look');
const { inputs, targets } = text(new Rng(7), 8);
const said = [...noGrad(() => forward(inputs, 1, true).argmax()).readSync()];
const right = targets.filter((id, t) => id === said[t]).length;
console.log(`\na new text of period 8: ${right} of ${T - 8} repeated tokens said right`);
const show = (weights: Tensor, distance: number, title: string) => {
  const heads = Array.from({ length: H }, (_, h) => [...weights.slice(1, h, h + 1).readSync()]);
  const share = (head: number[]) => head.reduce((sum, p, i) => sum + (Math.floor(i / T) - (i % T) === distance ? p : 0), 0);
  const best = heads.sort((a, b) => share(b) - share(a))[0];
  console.log(heatmap(best, { labels: inputs.map((id) => 'abcdefghijklmnop'[id]), title }));
};
show(seen[0], 1, '\nlayer 0, a head that looks at the token before:');
show(seen[1], 7, '\nlayer 1, a head that looks at what followed this token last time:');
