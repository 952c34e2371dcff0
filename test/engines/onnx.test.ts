// The ONNX files that we write, run by onnxruntime: logits of a prompt, then of 24 steps with the cache, and the greedy ids.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { decoderGraph } from '../../src/io/onnx-decoder.ts';
import { writeOnnx } from '../../src/io/onnx-write.ts';
import { dispose } from '../../src/nn/index.ts';
import { scope } from '../../src/tensor/index.ts';
import { buildSpread, decoders, greedyIds, tokenizer } from './models.ts';
import { askDecoder, longs, openSession, emptyPast } from './onnx-runtime.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-onnx-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'model.onnx');
const prompt = [...tokenizer.encode('the decoder looks back at 第42句, said the text')];

const farthest = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) throw new Error(`${a.length} numbers beside ${b.length}`);
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i] - b[i]));
  return worst;
};

const more = {
  'mistral, short window': { ...decoders['mistral'], window: 5 },
  'gptneox, one branch after the other': { ...decoders['gptneox'], parallel: false },
  'gemma2, other scale': { ...decoders['gemma2'], queryScale: 7 },
};
describe('decoders in onnxruntime', () => {
  test.each(Object.entries({ ...decoders, ...more }))('%s: prefill, 24 cached steps, greedy ids', async (name, settings) => {
    const model = buildSpread(settings);
    await writeOnnx(path, decoderGraph(model, settings));
    const session = await openSession(path);
    const D = settings.headDim ?? settings.dModel / settings.nHead;
    const theirs = await askDecoder(session, prompt, 24, settings.nKvHead, D);
    const greedy = await greedyIds(model, prompt, 24);
    using _ = scope();
    const all = [...prompt, ...greedy];
    const ours = model.forward(Int32Array.from(all), [1, all.length]).readSync();
    const V = settings.vocabSize;
    const prefill = farthest(theirs.logits, ours.subarray(0, prompt.length * V));
    const cached = Math.max(
      ...theirs.cached.map((row, n) => farthest(row, ours.subarray((prompt.length + n) * V, (prompt.length + n + 1) * V))),
    );
    console.log(
      `${name}: largest difference of logits ${prefill.toExponential(1)}, with the cache ${cached.toExponential(1)}, greedy ${`${theirs.greedy}` === `${greedy}` ? 'equal' : 'differs'}`,
    );
    expect(theirs.greedy).toEqual(greedy);
    expect(prefill).toBeLessThan(1e-4);
    expect(cached).toBeLessThan(1e-4);
    await session.release();
    dispose(model);
  });

  test('two rows of different length, the shorter padded on the left: each as alone', async () => {
    const settings = decoders['qwen3'];
    const model = buildSpread(settings);
    await writeOnnx(path, decoderGraph(model, settings));
    const session = await openSession(path);
    const [T, pad] = [prompt.length, 4];
    const rows = [...prompt, ...new Array(pad).fill(0), ...prompt.slice(pad)];
    const results = await session.run({
      input_ids: await longs(rows, [2, T]),
      attention_mask: await longs([...new Array(T).fill(1), ...new Array(pad).fill(0), ...new Array(T - pad).fill(1)], [2, T]),
      position_ids: await longs([...prompt.keys(), ...new Array(pad).fill(1), ...prompt.slice(pad).keys()], [2, T]),
      ...(await emptyPast(session, 2, settings.nKvHead, settings.headDim!)),
    });
    const V = settings.vocabSize;
    const logits = results['logits'].data as Float32Array;
    using _ = scope();
    const alone = (ids: number[]) => model.forward(Int32Array.from(ids), [1, ids.length]).readSync();
    expect(farthest(logits.subarray(0, T * V), alone(prompt))).toBeLessThan(1e-4);
    expect(farthest(logits.subarray((T + pad) * V), alone(prompt.slice(pad)))).toBeLessThan(1e-4);
    await session.release();
    dispose(model);
  });

  test('f16: half the bytes, logits close', async () => {
    const settings = decoders['llama'];
    const model = buildSpread(settings);
    const whole = await writeOnnx(path, decoderGraph(model, settings));
    const half = await writeOnnx(path, decoderGraph(model, settings, 'f16'));
    expect(half).toBeLessThan(0.6 * whole);
    const session = await openSession(path);
    const { logits } = await askDecoder(session, prompt, 1, settings.nKvHead, 16);
    using _ = scope();
    const far = farthest(logits, model.forward(Int32Array.from(prompt), [1, prompt.length]).readSync());
    console.log(`llama f16: largest difference of logits ${far.toExponential(1)}`);
    expect(far).toBeLessThan(0.02);
    await session.release();
    dispose(model);
  });
});
