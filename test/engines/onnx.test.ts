// The ONNX files that we write, run by onnxruntime: logits of a prompt, then of 24 steps with the cache, and the greedy ids.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { generate } from '../../src/generate/index.ts';
import { type EncoderTask, type EncoderTasks, headActivation } from '../../src/io/hugging-face-bert.ts';
import { encoderGraph } from '../../src/io/onnx-encoder.ts';
import { t5DecoderGraph, t5EncoderGraph } from '../../src/io/onnx-t5.ts';
import { decoderGraph } from '../../src/io/onnx-decoder.ts';
import { writeOnnx } from '../../src/io/onnx-write.ts';
import {
  Bert,
  type BertVariant,
  bertVariants,
  MaskedLM,
  ReplacedTokenDetector,
  SequenceClassifier,
  SourceWriter,
  SpanReader,
  T5,
  TokenClassifier,
} from '../../src/models/index.ts';
import { dispose } from '../../src/nn/index.ts';
import { Rng, scope } from '../../src/tensor/index.ts';
import { buildSpread, decoders, greedyIds, spread, tokenizer } from './models.ts';
import { askDecoder, emptyPast, longs, openSession, ort, pastOf } from './onnx-runtime.ts';

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

/** BERT as it was pre-trained is exported as its masked LM. */
type Task = Exclude<EncoderTask, 'pretraining'>;

describe('encoders in onnxruntime', () => {
  const size = { vocabSize: 97, nLayer: 3, nHead: 4, dModel: 32, dFF: 48, contextLength: 40 };
  const heads: Record<Task, (bert: Bert, variant: BertVariant) => EncoderTasks[Task]> = {
    base: (bert) => bert,
    maskedLM: (bert) => new MaskedLM(bert, new Rng(2)),
    sequence: (bert, variant) => new SequenceClassifier(bert, 3, new Rng(2), { activation: headActivation[variant] }),
    tokens: (bert) => new TokenClassifier(bert, 5, new Rng(2)),
    span: (bert) => new SpanReader(bert, new Rng(2)),
    replaced: (bert) => new ReplacedTokenDetector(bert, new Rng(2)),
  };
  const asked: [BertVariant, Task][] = (['bert', 'roberta', 'distilbert', 'electra'] as const).flatMap((variant) =>
    (['base', 'maskedLM', 'sequence', 'tokens', 'span', 'replaced'] as const).map((task): [BertVariant, Task] => [variant, task]),
  );
  test.each(asked)('%s, %s: two texts of different length', async (variant, task) => {
    const pooler = variant === 'bert' && (task === 'base' || task === 'sequence');
    const config = { ...size, ...bertVariants[variant], pooler, ...(variant === 'electra' ? { embeddingSize: 16 } : {}) };
    const model = heads[task](new Bert(config, new Rng(1)), variant);
    spread(model);
    await writeOnnx(path, encoderGraph({ model, task, variant }));
    const session = await openSession(path);
    const [B, T, lengths] = [2, 11, [11, 7]];
    const ids = Int32Array.from({ length: B * T }, (_, i) => 3 + ((i * 7) % 90));
    const segments = Int32Array.from({ length: B * T }, (_, i) => Number(i % T > 4));
    const results = await session.run({
      input_ids: await longs(ids, [B, T]),
      attention_mask: await longs(
        Array.from({ length: B * T }, (_, i) => Number(i % T < lengths[Math.floor(i / T)])),
        [B, T],
      ),
      ...(session.inputNames.includes('token_type_ids') ? { token_type_ids: await longs(segments, [B, T]) } : {}),
    });
    expect(session.inputNames.includes('token_type_ids')).toBe(variant === 'bert' || variant === 'electra');
    using _ = scope();
    const ctx = { lengths, ...(session.inputNames.includes('token_type_ids') ? { segments } : {}) };
    const ours = model instanceof Bert ? [model.hidden(ids, [B, T], ctx)] : [model.forward(ids, [B, T], ctx)].flat();
    if (model instanceof Bert && pooler) ours.push(model.pooled(ours[0]));
    const worst = session.outputNames.map((name, i) => {
      const [a, b] = [results[name].data as Float32Array, ours[i].readSync() as Float32Array];
      if (a.length < B * T) return farthest(a, b);
      const width = a.length / (B * T); // what stands at padding means nothing
      const real = Array.from({ length: B * T }, (_, p) => p).filter((p) => p % T < lengths[Math.floor(p / T)]);
      return Math.max(
        ...real.map((p) => farthest(a.subarray(p * width, (p + 1) * width), b.subarray(p * width, (p + 1) * width))),
      );
    });
    console.log(`${variant} ${task}: largest difference ${Math.max(...worst).toExponential(1)}`);
    expect(Math.max(...worst)).toBeLessThan(1e-4);
    await session.release();
    dispose(model);
  });
});

describe('T5 in onnxruntime', () => {
  test.each([
    ['t5', { gated: false, tied: true }],
    ['flan-t5', { gated: true, tied: false }],
  ])('%s: encoder, first step, 20 steps with the cache', async (name, switches) => {
    const model = new T5(
      { vocabSize: 97, dModel: 32, nHead: 4, headDim: 10, nLayer: 3, dFF: 48, maxDistance: 20, ...switches },
      new Rng(1),
    );
    spread(model);
    const [encoderPath, decoderPath] = ['e.onnx', 'd.onnx'].map((file) => join(folder, file));
    await writeOnnx(encoderPath, t5EncoderGraph(model));
    await writeOnnx(decoderPath, t5DecoderGraph(model));
    const [encoder, decoder] = [await openSession(encoderPath), await openSession(decoderPath)];
    const S = 31; // beyond the last bucket
    const source = Int32Array.from({ length: S }, (_, i) => 2 + ((i * 7) % 90));
    const ones = await longs(new Array(S).fill(1), [1, S]);
    const memory = (await encoder.run({ input_ids: await longs(source, [1, S]), attention_mask: ones }))['last_hidden_state'];
    const { Tensor } = await ort();
    const flag = (on: boolean) => new Tensor('bool', Uint8Array.of(Number(on)), [1]);
    const written = [0];
    const steps: Float32Array[] = [];
    let past = Object.fromEntries(
      decoder.inputNames
        .filter((n) => n.startsWith('past'))
        .map((n) => [n, new Tensor('float32', new Float32Array(0), [1, 4, 0, 10])]),
    );
    for (let n = 0; n < 25; n++) {
      const results = await decoder.run({
        input_ids: await longs([written.at(-1)!], [1, 1]),
        encoder_hidden_states: memory,
        encoder_attention_mask: ones,
        use_cache_branch: flag(n > 0),
        ...past,
      });
      past = pastOf(results);
      const logits = results['logits'].data as Float32Array;
      steps.push(logits);
      written.push(logits.indexOf(Math.max(...logits)));
    }
    const greedy: number[] = [];
    {
      using writer = new SourceWriter(model, source);
      for await (const id of generate(writer, [0], { maxTokens: 25, temperature: 0 })) greedy.push(id);
    }
    using _ = scope();
    const ours = model.encode(source, [1, S]);
    const far = farthest(memory.data as Float32Array, ours.readSync());
    const all = model.logits(model.decode(Int32Array.from(written.slice(0, 25)), [1, 25], ours)).readSync();
    const worst = Math.max(...steps.map((row, n) => farthest(row, all.subarray(n * 97, (n + 1) * 97))));
    console.log(
      `${name}: encoder ${far.toExponential(1)}, logits ${worst.toExponential(1)}, greedy ${`${greedy}` === `${written.slice(1)}` ? 'equal' : 'differs'}`,
    );
    expect(written.slice(1)).toEqual(greedy);
    expect(Math.max(far, worst)).toBeLessThan(1e-4);
    await encoder.release();
    await decoder.release();
    dispose(model);
  });
});
