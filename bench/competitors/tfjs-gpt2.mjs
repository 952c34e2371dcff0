// GPT-2's training step in tfjs on its wasm back-end (SIMD, and threads where Node gives it workers): loss, gradients and AdamW.
//   tfjs-gpt2.mjs HOME CONFIGURATION(JSON)      then lines `steps N` in, JSON out (see ../train.ts)
// The back-end has no gradient of a gather (unsortedSegmentSum), so that ids are rows of zeros and a one times the table; and only products of two whole
// matrices, neither transposed, reach its fast code: a layer's gradient transposes first, and heads are multiplied by its slow batched product.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { dirname } from 'node:path';
import { load, pathOf, versionOf } from './protocol.mjs';

const tf = await load('@tensorflow/tfjs').then((m) => m.default ?? m);
const wasm = await load('@tensorflow/tfjs-backend-wasm').then((m) => m.default ?? m);
wasm.setWasmPaths(`${dirname(pathOf('@tensorflow/tfjs-backend-wasm'))}/`);
wasm.setThreadsCount?.(Number(process.env.OMP_NUM_THREADS ?? 2));
if (!(await tf.setBackend('wasm'))) throw new Error('the wasm back-end does not start');
await tf.ready();
const { V, contextLength, L, H, C, T, B } = JSON.parse(process.argv[3]);
const peakResident = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
const baseBytes = peakResident();

const normal = (...shape) => tf.variable(tf.randomNormal(shape, 0, 0.02));
const zeros = (...shape) => tf.variable(tf.zeros(shape));
const linear = (dIn, dOut) => ({ w: normal(dIn, dOut), b: zeros(dOut) });
const norm = () => ({ w: tf.variable(tf.ones([C])), b: zeros(C) });
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
const leaves = (x) => (x instanceof tf.Variable ? [x] : Object.values(x).flatMap(leaves));
const parameters = leaves(model);

/** x (R, dIn) times w (dIn, dOut). */
const product = tf.customGrad((x, w, save) => {
  save([x, w]);
  const gradFunc = (dy, [x, w]) => [tf.matMul(dy, tf.transpose(w)), tf.matMul(tf.transpose(x), dy)];
  return { value: tf.matMul(x, w), gradFunc };
});
const apply = ({ w, b }, x) => product(x, w).add(b);
function layerNorm({ w, b }, x) {
  const centred = x.sub(x.mean(-1, true));
  return centred.mul(centred.square().mean(-1, true).add(1e-5).rsqrt()).mul(w).add(b);
}
const gelu = (x) =>
  x.mul(0.5).mul(
    x
      .add(x.square().mul(x).mul(0.044715))
      .mul(Math.sqrt(2 / Math.PI))
      .tanh()
      .add(1),
  );
const mask = tf.linalg
  .bandPart(tf.ones([T, T]), -1, 0)
  .sub(1)
  .mul(1e9);
function attend(x) {
  const [q, k, v] = tf.split(x, 3, 1).map((y) => y.reshape([B, T, H, C / H]).transpose([0, 2, 1, 3]));
  const weights = tf.softmax(
    tf
      .matMul(q, k, false, true)
      .mul(1 / Math.sqrt(C / H))
      .add(mask),
  );
  return tf
    .matMul(weights, v)
    .transpose([0, 2, 1, 3])
    .reshape([B * T, C]);
}
function lossOf(ids, targets) {
  const { tokens, places, blocks, norm } = model;
  let x = product(tf.oneHot(ids, V), tokens)
    .reshape([B, T, C])
    .add(places.slice([0, 0], [T, C]))
    .reshape([B * T, C]);
  for (const block of blocks) {
    x = x.add(apply(block.out, attend(apply(block.qkv, layerNorm(block.attnNorm, x)))));
    x = x.add(apply(block.down, gelu(apply(block.up, layerNorm(block.mlpNorm, x)))));
  }
  const logits = product(layerNorm(norm, x), tf.transpose(tokens));
  return tf
    .logSoftmax(logits)
    .mul(tf.oneHot(targets, V))
    .sum()
    .mul(-1 / (B * T));
}

const [lr, beta1, beta2, eps, decay] = [1e-4, 0.9, 0.95, 1e-8, 0.1];
const moments = parameters.map((p) => [zeros(...p.shape), zeros(...p.shape)]);
let t = 0;
const ids = () =>
  tf.tensor1d(
    Int32Array.from({ length: B * T }, () => Math.floor(Math.random() * V)),
    'int32',
  );
function once() {
  t++;
  return tf.tidy(() => {
    const { value, grads } = tf.variableGrads(() => lossOf(ids(), ids()), parameters);
    for (const [i, p] of parameters.entries()) {
      const g = grads[p.name];
      const [m, v] = moments[i];
      m.assign(m.mul(beta1).add(g.mul(1 - beta1)));
      v.assign(v.mul(beta2).add(g.square().mul(1 - beta2)));
      const change = m.mul(lr / (1 - beta1 ** t)).div(
        v
          .mul(1 / (1 - beta2 ** t))
          .sqrt()
          .add(eps),
      );
      p.assign((p.rank > 1 ? p.mul(1 - lr * decay) : p).sub(change));
    }
    return value.dataSync()[0];
  });
}

const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
const version = `${versionOf('@tensorflow/tfjs-backend-wasm')} (${wasm.getThreadsCount?.() ?? 1} threads)`;
say({ version, parameters: parameters.reduce((n, p) => n + p.size, 0), baseBytes });
for await (const line of createInterface({ input: process.stdin })) {
  const seconds = [];
  let lossNats = Number.NaN;
  for (let i = 0; i < Number(line.split(' ')[1]); i++) {
    const start = performance.now();
    lossNats = once();
    seconds.push((performance.now() - start) / 1000);
  }
  say({ seconds, lossNats, peakBytes: peakResident() });
}
process.exit(0);
