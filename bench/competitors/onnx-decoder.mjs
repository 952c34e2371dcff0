// onnxruntime-node on a decoder's graph with key-value caches (bench/decode-model.ts writes it).
//   onnx-decoder.mjs HOME FILE THREADS SEQUENCES SHAPE(JSON)
// A line `prefill T` or `decode T N` in: T tokens of prompt a sequence (and N more, greedily); a line of JSON out.
// Nothing is allocated in a step: caches go back and forth between two sets of tensors over the same memory, and the logits have their own.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { load, versionOf } from './protocol.mjs';

const [, , , file, threads, sequences, shape] = process.argv;
const ort = await load('onnxruntime-node').then((m) => m.default ?? m);
const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
const peakBytes = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;

const baseBytes = peakBytes();
const B = Number(sequences);
const { nLayer, nHead, dModel, vocabSize: V, places } = JSON.parse(shape);
const D = dModel / nHead;
const session = await ort.InferenceSession.create(file, {
  executionProviders: ['cpu'],
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
});
const memory = Array.from({ length: 2 }, () =>
  Array.from({ length: 2 * nLayer }, () => new Float32Array(B * nHead * places * D)),
);
const kinds = Array.from({ length: nLayer }, (_, i) => [`${i}.key`, `${i}.value`]).flat();
const caches = (which, S, prefix) =>
  Object.fromEntries(
    kinds.map((kind, i) => [
      prefix + kind,
      new ort.Tensor('float32', memory[which][i].subarray(0, B * nHead * S * D), [B, nHead, S, D]),
    ]),
  );
const longs = (values, dims) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);
const logits = new ort.Tensor('float32', new Float32Array(B * V), [B, 1, V]);

let turn = 0;
/** ids: T a sequence, after `held` tokens → the likeliest next id of each. */
async function step(ids, held) {
  const T = ids.length / B;
  const places = Array.from({ length: B * T }, (_, i) => held + (i % T));
  const feeds = {
    input_ids: longs(ids, [B, T]),
    attention_mask: longs(new Array(B * (held + T)).fill(1), [B, held + T]),
    position_ids: longs(places, [B, T]),
    ...caches(turn, held, 'past_key_values.'),
  };
  turn ^= 1;
  await session.run(feeds, { logits, ...caches(turn, held + T, 'present.') });
  return Array.from({ length: B }, (_, b) => {
    const row = logits.data.subarray(b * V, (b + 1) * V);
    let best = 0;
    for (let i = 1; i < V; i++) if (row[i] > row[best]) best = i;
    return best;
  });
}
const prompt = (T, b) => Array.from({ length: T }, (_, t) => (t * 7919 + b * 104729 + 13) % (V - 1));

say({ version: versionOf('onnxruntime-node'), threads: Number(threads), baseBytes });
for await (const line of createInterface({ input: process.stdin })) {
  const [what, T, N] = line.split(' ');
  const began = performance.now();
  let next = await step(Array.from({ length: B }, (_, b) => prompt(Number(T), b)).flat(), 0);
  const prefillSeconds = (performance.now() - began) / 1000;
  const seconds = [];
  const ids = [];
  if (what === 'decode')
    for (let n = 0; n < Number(N); n++) {
      const start = performance.now();
      next = await step(next, Number(T) + n);
      seconds.push((performance.now() - start) / 1000);
      ids.push(next[0]);
    }
  say({ prefillSeconds, seconds, ids: ids.slice(0, 16), peakBytes: peakBytes() });
}
process.exit(0);
