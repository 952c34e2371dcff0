// GPT-2's training step in jax-js on its wasm back-end: loss, gradients and AdamW in one jitted function.
//   jax-gpt2.mjs HOME CONFIGURATION(JSON)      then lines `steps N` in, JSON out (see ../train.ts)
// The library frees what an operation was given; `.ref` keeps a value for one more use.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { load, versionOf } from './protocol.mjs';

const { defaultDevice, init, jit, nn, numpy: np, random, tree, valueAndGrad } = await load('@jax-js/jax');
await init('wasm');
defaultDevice('wasm');
const { V, contextLength, L, H, C, T, B } = JSON.parse(process.argv[3]);
const peakResident = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
const baseBytes = peakResident();

let draws = 0;
const normal = (...shape) => random.normal(random.key(++draws), shape).mul(0.02);
const linear = (dIn, dOut) => ({ w: normal(dIn, dOut), b: np.zeros([dOut]) });
const norm = () => ({ w: np.ones([C]), b: np.zeros([C]) });
const model = {
  tokens: normal(V, C),
  places: normal(contextLength, C),
  blocks: Array.from({ length: L }, () => ({
    attnNorm: norm(),
    qkv: linear(C, 3 * C),
    out: linear(C, C),
    mlpNorm: norm(),
    up: linear(C, 4 * C),
    down: linear(4 * C, C),
  })),
  norm: norm(),
};
const parameters = tree.leaves(tree.ref(model)).reduce((n, p) => n + p.size, 0);

const apply = ({ w, b }, x) => np.matmul(x, w).add(b);
const layerNorm = ({ w, b }, x) => nn.standardize(x).mul(w).add(b);

/** Written out: the library's own dotProductAttention needs a newer Node than 20. */
function attend(x) {
  const [q, k, v] = [0, 1, 2].map((i) =>
    x.ref
      .slice([], [], [i * C, (i + 1) * C])
      .reshape([B, T, H, C / H])
      .transpose([0, 2, 1, 3]),
  );
  x.dispose();
  const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(C / H));
  const seen = np.tri(T, T, 0, { dtype: np.bool });
  const weights = nn.softmax(np.where(seen, scores, -1e9));
  return np.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([B, T, C]);
}
function lossOf({ tokens, places, blocks, norm }, ids, targets) {
  let x = np.matmul(nn.oneHot(ids, V), tokens.ref).add(places.slice([0, T]));
  for (const block of blocks) {
    x = x.ref.add(apply(block.out, attend(apply(block.qkv, layerNorm(block.attnNorm, x)))));
    x = x.ref.add(apply(block.down, nn.gelu(apply(block.up, layerNorm(block.mlpNorm, x)))));
  }
  const logits = np.matmul(layerNorm(norm, x), tokens.transpose());
  return nn
    .logSoftmax(logits)
    .mul(nn.oneHot(targets, V))
    .sum()
    .mul(-1 / (B * T));
}

const [lr, beta1, beta2, eps, decay] = [1e-4, 0.9, 0.95, 1e-8, 0.1];
const step = jit((params, m, v, c1, c2, ids, targets) => {
  const [loss, grads] = valueAndGrad(lossOf)(tree.ref(params), ids, targets);
  const m2 = tree.map((m, g) => m.mul(beta1).add(g.ref.mul(1 - beta1)), m, tree.ref(grads));
  const v2 = tree.map((v, g) => v.mul(beta2).add(g.ref.mul(g).mul(1 - beta2)), v, grads);
  const p2 = tree.map(
    (p, m, v) => {
      const decayed = p.ndim > 1 ? p.mul(1 - lr * decay) : p;
      return decayed.sub(
        m
          .mul(c1.ref)
          .div(np.sqrt(v.mul(c2.ref)).add(eps))
          .mul(lr),
      );
    },
    params,
    tree.ref(m2),
    tree.ref(v2),
  );
  c1.dispose();
  c2.dispose();
  return [loss, p2, m2, v2];
});

let [p, m, v] = [model, ...[0, 1].map(() => tree.map((x) => np.zeros(x.shape), tree.ref(model)))];
let t = 0;
const ids = () =>
  np
    .array(
      Int32Array.from({ length: B * T }, () => Math.floor(Math.random() * V)),
      { dtype: np.int32 },
    )
    .reshape([B, T]);
async function once() {
  t++;
  const scale = (beta) => np.array(1 / (1 - beta ** t));
  const [loss, ...rest] = step(p, m, v, scale(beta1), scale(beta2), ids(), ids());
  [p, m, v] = rest;
  return (await loss.data())[0];
}

const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
say({ version: versionOf('@jax-js/jax'), parameters, baseBytes });
for await (const line of createInterface({ input: process.stdin })) {
  const seconds = [];
  let lossNats = Number.NaN;
  for (let i = 0; i < Number(line.split(' ')[1]); i++) {
    const start = performance.now();
    lossNats = await once();
    seconds.push((performance.now() - start) / 1000);
  }
  say({ seconds, lossNats, peakBytes: peakResident() });
}
process.exit(0);
