import { type EncoderTask, type EncoderTasks, loadEncoder, bertStoredAs } from '../../src/io/index.ts';
import type { Bert, EncoderContext } from '../../src/models/index.ts';
import { meanPool } from '../../src/models/index.ts';
import { dispose, parameterCount, stateDict } from '../../src/nn/index.ts';
import { scope, Tensor } from '../../src/tensor/index.ts';
import { goldenRoot, largest, largestRelative, oracleOf, type ParityRow, readGolden } from './golden.ts';

/** One model of make_encoders.py beside what transformers computed. */
export function compareEncoder(name: string): ParityRow {
  using _ = scope('parity');
  const folder = goldenRoot(`./encoders/${name}`);
  const { model, task, variant } = loadEncoder(folder);
  const oracle = readGolden(`${folder}/golden.safetensors`);
  const ints = (key: string) => oracle.get(key)!.values as Int32Array;
  const floats = (key: string) => oracle.get(key)!.values as Float32Array;
  const shape = oracle.get('ids')!.shape as [number, number];
  const lengths = [...ints('lengths')];
  const hidden: Tensor[] = [];
  const ctx: EncoderContext = {
    lengths,
    segments: oracle.has('segments') ? ints('segments') : undefined,
    record: (key, value) => {
      if (key === 'embeddings' || key.endsWith('.output')) hidden.push(value);
    },
  };
  const { logits, loss } = ask(model, task, { ids: ints('ids'), shape, lengths, ctx, ints, floats });
  const grads = loss.backward();
  let gradients = 0;
  for (const [ours, parameter] of stateDict(model)) {
    const expected = floats(`grad.${gradientName(bertStoredAs(variant, task, ours).name, [...oracle.keys()])}`);
    gradients = Math.max(gradients, largestRelative(grads.get(parameter)!.readSync(), expected));
  }
  const { transformers, parameters } = oracleOf(folder);
  if (parameterCount(model) !== parameters) throw new Error(`${name}: ${parameterCount(model)} parameters beside ${parameters}`);
  const row = {
    family: variant,
    configuration: name,
    oracle: `transformers ${transformers}`,
    parameters,
    // Rows that are padding are computed, too, and must agree.
    hidden: Math.max(...hidden.map((h, i) => largest(h.readSync(), floats(`hidden.${i}`)))),
    logits,
    loss: Math.abs(loss.itemSync() - floats('loss')[0]),
    gradients,
  };
  dispose(model);
  return row;
}

/** A model saved without a head has no prefix. */
const gradientName = (stored: string, keys: string[]): string =>
  keys.includes(`grad.${stored}`) ? stored : stored.slice(stored.indexOf('.') + 1);

interface Question {
  ids: Int32Array;
  shape: readonly [number, number];
  lengths: number[];
  ctx: EncoderContext;
  ints: (key: string) => Int32Array;
  floats: (key: string) => Float32Array;
}

/** Logits and loss for the task, without recording twice. */
function ask<K extends EncoderTask>(model: EncoderTasks[K], task: K, q: Question): { logits: number; loss: Tensor } {
  const { ids, shape, lengths, ctx, ints, floats } = q;
  const quiet = { ...ctx, record: undefined };
  if (task === 'base') {
    const bert = model as Bert;
    const h = bert.hidden(ids, shape, ctx);
    const pooled = bert.pooled(h);
    const real = h.mul(realPlaces(h, lengths));
    return {
      logits: Math.max(largest(pooled.readSync(), floats('logits')), largest(meanPool(h, lengths).readSync(), floats('mean'))),
      loss: pooled.sum().add(real.square().sum()).div(100),
    };
  }
  if (task === 'span') {
    const reader = model as EncoderTasks['span'];
    const [start, end] = reader.forward(ids, shape, ctx);
    return {
      logits: Math.max(largest(start.readSync(), floats('logits')), largest(end.readSync(), floats('ends.logits'))),
      loss: reader.loss({ inputs: ids, shape, starts: ints('starts'), ends: ints('ends') }, quiet),
    };
  }
  const head = model as EncoderTasks['maskedLM' | 'sequence' | 'tokens' | 'replaced'];
  const logits = largest(head.forward(ids, shape, ctx).readSync(), floats('logits'));
  const labels = ints('labels').slice();
  if (task === 'replaced') for (let b = 0; b < shape[0]; b++) labels.fill(-100, b * shape[1] + lengths[b], (b + 1) * shape[1]);
  return { logits, loss: head.loss({ inputs: ids, shape, labels, targets: labels }, quiet) };
}

/** 1 at real tokens, 0 at padding: (B, T, 1). */
function realPlaces(h: Tensor, lengths: number[]): Tensor {
  const { B, T } = h.dims('B T C');
  const values = new Float32Array(B * T);
  lengths.forEach((n, b) => values.fill(1, b * T, b * T + n));
  return Tensor.from(values, [B, T, 1]);
}
