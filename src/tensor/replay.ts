// Decoding runs the same kernels for every token; only the place moves. Two steps are watched, and a third proves it: whatever differs from one to the next
// (the length of the keys, where the new ones go, the row of a table) moves on by the same amount. From then on the calls are not made again by JavaScript
// but queued in one go, with those numbers moved.

import type { Backend, Buffer, Call, Kernels, Prepared, TypedData, View } from './backends/backend.ts';
import { bytesPerElement } from './dtype.ts';
import { backend, withBackend } from './engine.ts';
import type { Tensor } from './tensor.ts';

type Event =
  | { kind: 'call'; call: Call }
  /** `ids`: the data is the very array of the step's ids, not one that looks like it. */
  | { kind: 'write'; view: View; data: TypedData; ids: boolean }
  | { kind: 'alloc'; buffer: Buffer }
  | { kind: 'free'; buffer: Buffer };

/** What one step did, seen from the backend. */
export interface Recording {
  /** The ids that the step was given, and what it returned. */
  ids: Int32Array;
  result: View;
  events: Event[];
  /** A step that looks at values on the way may do something else next time. */
  reads: boolean;
}

const still = ({ buffer, offset, shape, strides, dtype }: View): View => ({
  buffer,
  offset,
  shape: [...shape],
  strides: [...strides],
  dtype,
});

/** Runs `step` and takes down what it asks of the backend. */
export function recordStep(ids: Int32Array, step: () => Tensor): { result: Tensor; recording: Recording } {
  const inner = backend();
  const events: Event[] = [];
  const recording: Recording = { ids: ids.slice(), result: undefined as unknown as View, events, reads: false };
  let open = true;
  const own = new Set<Buffer>();
  const kernels = Object.fromEntries(
    Object.entries(inner.kernels).map(([name, kernel]) => [
      name,
      (inputs: readonly (View | undefined)[], outputs: readonly (View | undefined)[], options: object) => {
        const views = (list: readonly (View | undefined)[]): (View | undefined)[] => list.map((v) => v && still(v));
        if (open)
          events.push({
            kind: 'call',
            call: { name, inputs: views(inputs), outputs: views(outputs), options } as unknown as Call,
          });
        (kernel as (i: unknown, o: unknown, options: object) => void)(inputs, outputs, options);
      },
    ]),
  ) as unknown as Kernels;
  const watched: Backend = {
    ...inner,
    kernels,
    alloc(bytes) {
      const buffer = inner.alloc(bytes);
      if (open) {
        own.add(buffer);
        events.push({ kind: 'alloc', buffer });
      }
      return buffer;
    },
    free(buffer) {
      if (open && own.has(buffer)) events.push({ kind: 'free', buffer });
      inner.free(buffer);
    },
    write(view, data) {
      if (open) events.push({ kind: 'write', view: still(view), data: data.slice(), ids: data === ids });
      inner.write(view, data);
    },
    read(view) {
      if (open) recording.reads = true;
      return inner.read(view);
    },
    readSync:
      inner.readSync &&
      ((view) => {
        if (open) recording.reads = true;
        return inner.readSync!(view);
      }),
  };
  const result = withBackend(watched, step);
  open = false;
  recording.result = still(result);
  return { result, recording };
}

/** A step that can be done again at any place up to `last`, in memory of its own. */
export interface Replay extends Disposable {
  /** Steps after the first recording; negative before it. */
  readonly last: number;
  /** Queues the step for these ids, `k` places after the first recording, and the read of its result. */
  run(k: number, ids: Int32Array): Promise<TypedData>;
}

/** Memory of the step itself, as large as it becomes; where it lies is known when the last place is. */
class Slot implements Buffer {
  id = 0;
  constructor(
    readonly bytes: number,
    /** Bytes more at each place. */
    readonly growth: number,
  ) {}
}

/**
 * Undefined when three recordings of steps one place apart do not follow one rule; 'unclear' when they do, but numbers that rise evenly are also those of
 * the ids (a text that counts its places), so that it cannot be told which they are.
 */
export function replayOf(steps: readonly [Recording, Recording, Recording]): Replay | 'unclear' | undefined {
  const target = backend();
  if (!target.prepare || steps.some((s) => s.reads)) return undefined;
  const [first, second, third] = steps;
  const n = first.events.length;
  if (second.events.length !== n || third.events.length !== n) return undefined;

  const names = steps.map(() => new Map<Buffer, number>()); // buffers of the step itself, by order
  const slots: Slot[] = []; // what stands for them in the replay
  const spare = new Map<string, Slot[]>();
  const keyOf = ({ bytes, growth }: Slot): string => `${bytes} ${growth}`;
  const written = new Set(first.events.flatMap((e) => (e.kind === 'write' ? [e.view.buffer] : [])));
  const calls: [Call, Call][] = [];
  const writes: { view: View; ids: boolean; data: TypedData; next: TypedData }[] = [];
  let unclear = false;
  let last = Number.POSITIVE_INFINITY;

  /** The first and the second view in the replay's memory; undefined where the three do not agree. */
  const moving = (a: View, b: View, c: View): [View, View] | undefined => {
    const index = names.map((m, i) => m.get([a, b, c][i].buffer));
    const own = index[0] !== undefined;
    if (own ? index[0] !== index[1] || index[0] !== index[2] : a.buffer !== b.buffer || a.buffer !== c.buffer) return undefined;
    if (a.dtype !== b.dtype || a.dtype !== c.dtype || a.shape.length !== b.shape.length || a.shape.length !== c.shape.length)
      return undefined;
    if (!even(a.offset, b.offset, c.offset) || !a.shape.every((d, i) => even(d, b.shape[i], c.shape[i]))) return undefined;
    const single = (i: number): boolean => a.shape[i] === 1 && b.shape[i] === 1; // never stepped along: any stride will do
    const stepped = a.strides.every(
      (s, i) => single(i) || (even(s, b.strides[i], c.strides[i]) && (s === b.strides[i] || a.shape[i] === b.shape[i])),
    );
    if (!stepped) return undefined;
    const end = (v: View): number => v.shape.reduce((at, d, i) => at + (d - 1) * v.strides[i], v.offset) + 1;
    const step = end(b) - end(a);
    const size = bytesPerElement[a.dtype];
    if (own) {
      const { bytes, growth } = slots[index[0]!];
      if (a.offset !== b.offset || end(a) * size > bytes || step * size > growth) return undefined;
    } else if (step > 0) last = Math.min(last, Math.floor((a.buffer.bytes / size - end(a)) / step));
    const buffer = own ? slots[index[0]!] : a.buffer;
    return [
      { ...a, buffer },
      { ...b, strides: b.strides.map((s, i) => (single(i) ? a.strides[i] : s)), buffer },
    ];
  };

  for (let i = 0; i < n; i++) {
    const [a, b, c] = [first.events[i], second.events[i], third.events[i]];
    if (a.kind === 'alloc' && b.kind === 'alloc' && c.kind === 'alloc') {
      const slot = new Slot(a.buffer.bytes, b.buffer.bytes - a.buffer.bytes);
      if (slot.growth < 0 || !even(a.buffer.bytes, b.buffer.bytes, c.buffer.bytes)) return undefined;
      [a, b, c].forEach((e, j) => names[j].set(e.buffer, slots.length));
      slots.push((written.has(a.buffer) ? undefined : spare.get(keyOf(slot))?.pop()) ?? slot);
    } else if (a.kind === 'free' && b.kind === 'free' && c.kind === 'free') {
      const at = names[0].get(a.buffer);
      if (at === undefined || at !== names[1].get(b.buffer) || at !== names[2].get(c.buffer)) return undefined;
      // Written memory is filled before all kernels: nothing else may lie there.
      const key = keyOf(slots[at]);
      if (!written.has(a.buffer)) spare.set(key, [...(spare.get(key) ?? []), slots[at]]);
    } else if (a.kind === 'write' && b.kind === 'write' && c.kind === 'write') {
      const view = names[0].has(a.view.buffer) && moving(a.view, b.view, c.view);
      if (!view) return undefined;
      const looksLikeIds = [a, b, c].every((e, j) => sameNumbers(e.data, steps[j].ids));
      const linear = a.data.length === b.data.length && a.data.every((x, j) => even(x, b.data[j], c.data[j]));
      const ids = a.ids && b.ids && c.ids;
      if (!ids && !looksLikeIds && !linear) return undefined;
      unclear ||= !ids && looksLikeIds && linear;
      writes.push({ view: view[0], ids: ids || looksLikeIds, data: a.data, next: b.data });
    } else if (a.kind === 'call' && b.kind === 'call' && c.kind === 'call') {
      const pair = together(a.call, b.call, c.call, moving);
      if (!pair) return undefined;
      calls.push(pair);
    } else return undefined;
  }
  const result = names[0].has(first.result.buffer) && moving(first.result, second.result, third.result);
  const grows = slots.some(({ growth }) => growth > 0);
  if (!result || (grows && last === Number.POSITIVE_INFINITY)) return undefined;
  if (unclear) return 'unclear';

  const made = [...new Set(slots)].map((slot) => {
    const buffer = target.alloc(slot.bytes + (slot.growth > 0 ? slot.growth * last : 0));
    slot.id = buffer.id;
    return buffer;
  });
  const prepared: Prepared = target.prepare(
    calls.map(([call]) => call),
    calls.map(([, call]) => call),
  );
  return {
    last,
    run(k, ids) {
      for (const w of writes) target.write(w.view, w.ids ? ids : moved(w.data, w.next, k));
      prepared.submit(k);
      return target.read(result[0]);
    },
    [Symbol.dispose]() {
      for (const b of made) target.free(b);
    },
  };
}

function together(
  a: Call,
  b: Call,
  c: Call,
  moving: (a: View, b: View, c: View) => [View, View] | undefined,
): [Call, Call] | undefined {
  if (a.name !== b.name || a.name !== c.name) return undefined;
  const options = JSON.stringify(a.options);
  if (options !== JSON.stringify(b.options) || options !== JSON.stringify(c.options)) return undefined;
  const lists = (['inputs', 'outputs'] as const).map((side) => {
    const [x, y, z] = [a[side], b[side], c[side]];
    if (x.length !== y.length || x.length !== z.length) return undefined;
    const pairs = x.map((v, i) => {
      const [w, u] = [y[i], z[i]];
      if (!v || !w || !u) return v || w || u ? 'differs' : undefined;
      return moving(v, w, u) ?? 'differs';
    });
    return pairs.includes('differs') ? undefined : (pairs as ([View, View] | undefined)[]);
  });
  const [inputs, outputs] = lists;
  if (!inputs || !outputs) return undefined;
  const at = (i: 0 | 1): Call => ({ ...a, inputs: inputs.map((p) => p?.[i]), outputs: outputs.map((p) => p?.[i]) }) as Call;
  return [at(0), at(1)];
}

const even = (x: number, y: number, z: number): boolean => y - x === z - y;
const sameNumbers = (x: TypedData, y: TypedData): boolean =>
  x.constructor === y.constructor && x.length === y.length && x.every((v, i) => v === y[i]);

function moved(data: TypedData, next: TypedData, k: number): TypedData {
  const out = data.slice();
  for (let i = 0; i < out.length; i++) out[i] = data[i] + k * (next[i] - data[i]);
  return out;
}
