// onnxruntime-node: sessions asked the way transformers.js asks them.

import { engine } from './engines.ts';

interface OrtTensor {
  data: Float32Array | BigInt64Array;
  dims: readonly number[];
}
interface Session {
  inputNames: readonly string[];
  outputNames: readonly string[];
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface Ort {
  InferenceSession: { create(path: string, o: object): Promise<Session> };
  Tensor: new (type: string, data: Float32Array | BigInt64Array | Uint8Array, dims: readonly number[]) => OrtTensor;
}
let loaded: Promise<{ default: Ort } & Ort> | undefined;
export async function ort(): Promise<Ort> {
  loaded ??= engine('onnxruntime-node');
  const module = await loaded;
  return module.InferenceSession ? module : module.default;
}

export const openSession = async (path: string): Promise<Session> =>
  (await ort()).InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 });

export async function longs(values: Iterable<number>, dims: readonly number[]): Promise<OrtTensor> {
  const { Tensor } = await ort();
  return new Tensor('int64', BigInt64Array.from([...values], BigInt), dims);
}
export async function emptyPast(session: Session, B: number, G: number, D: number): Promise<Record<string, OrtTensor>> {
  const { Tensor } = await ort();
  const names = session.inputNames.filter((name) => name.startsWith('past_key_values.'));
  return Object.fromEntries(names.map((name) => [name, new Tensor('float32', new Float32Array(0), [B, G, 0, D])]));
}
/** present.* as the past of the next step. */
export const pastOf = (results: Record<string, OrtTensor>): Record<string, OrtTensor> =>
  Object.fromEntries(
    Object.entries(results)
      .filter(([name]) => name.startsWith('present.'))
      .map(([name, value]) => [name.replace('present', 'past_key_values'), value]),
  );

/** A decoder: the logits of the whole prompt, then `count` greedy ids one at a time from the cache. */
export async function askDecoder(session: Session, prompt: readonly number[], count: number, G: number, D: number) {
  const step = async (ids: readonly number[], before: number, past: Record<string, OrtTensor>) =>
    session.run({
      input_ids: await longs(ids, [1, ids.length]),
      attention_mask: await longs(new Array(before + ids.length).fill(1), [1, before + ids.length]),
      position_ids: await longs(
        ids.map((_, i) => before + i),
        [1, ids.length],
      ),
      ...past,
    });
  let results = await step(prompt, 0, await emptyPast(session, 1, G, D));
  const logits = results['logits'].data as Float32Array;
  const V = logits.length / prompt.length;
  const greedy: number[] = [];
  const cached: Float32Array[] = [];
  let last = logits.subarray((prompt.length - 1) * V);
  for (let n = 0; n < count; n++) {
    const id = last.indexOf(Math.max(...last));
    greedy.push(id);
    results = await step([id], prompt.length + n, pastOf(results));
    last = results['logits'].data as Float32Array;
    cached.push(last);
  }
  return { logits, greedy, cached };
}
