// Tensors of a model, filled from a file of weights: checked all before the first is touched, read in windows, widened, turned.

import { backend, type DType, type FilePart, type QuantisedWeight, Tensor } from '../tensor/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { toFloat32 } from './floats.ts';
import { nearestName } from './nearest-name.ts';
import { openSafetensors, type SafetensorsReader } from './safetensors.ts';
import { openShardedSafetensors } from './safetensors-index.ts';

/** A tensor to be filled, and where the file keeps it. */
export interface Wanted {
  t: Tensor;
  name: string;
  /** The file has (dIn, dOut) where `t` has (dOut, dIn). */
  transposed?: boolean;
  /** `t` is rows `from` … of a tensor with `of` rows, in which the file keeps several of ours. */
  rows?: { from: number; of: number };
  /** Other names under which a tied tensor may have been saved. */
  aliases?: readonly string[];
  nonNegative?: boolean;
}

const INDEX = 'model.safetensors.index.json';
const floats: Partial<Record<string, DType>> = { F32: 'f32', BF16: 'bf16', F16: 'f16' };

export interface FillOptions {
  /** f32 only, every number finite; else bf16 and f16 are widened. */
  strict: boolean;
  /** Names that may be in the file without being wanted. */
  ignore?: RegExp;
  /** What takes the place of a wanted matrix, to be filled instead of it (nn's `smallMatrices`): it never exists whole in f32. */
  small?: (t: Tensor) => QuantisedWeight | undefined;
}

/**
 * Fills every wanted tensor from a safetensors file, and says all that does not fit before the first is touched.
 * @throws CheckpointError MODEL_MISMATCH, NONFINITE, STATE and those of the reader
 */
export function fillTensors(path: string, wanted: readonly Wanted[], options: FillOptions): void {
  const file = path.endsWith(INDEX) ? openShardedSafetensors(path) : openSafetensors(path);
  try {
    fillFrom(file, path, wanted, options);
  } finally {
    file.close();
  }
}

/** The same from a file that is open; `path` is for messages. */
export function fillFrom(
  file: SafetensorsReader,
  path: string,
  wanted: readonly Wanted[],
  { strict, ignore, small }: FillOptions,
): void {
  const named = wanted.map((w) => ({ ...w, name: [w.name, ...(w.aliases ?? [])].find((n) => file.tensors.has(n)) ?? w.name }));
  checkAll(file, path, named, strict, ignore);
  const window = file.windows ? new ArrayBuffer(Math.max(WINDOW, ...named.map((w) => rowBytes(file, w)))) : undefined;
  const order = new Map([...file.tensors.keys()].map((name, i) => [name, i]));
  named.sort((a, b) => order.get(a.name)! - order.get(b.name)!); // as they lie in the file
  const whole = named.filter((w) => {
    const q = small?.(w.t);
    if (q) fillSmall(file, path, w, q, strict, window);
    return !q;
  });
  const done = strict ? 0 : fillDirectly(file, whole);
  for (const w of whole.slice(done)) fill(file, path, w, strict, window);
}

/** A matrix of few bits from the rows of the file; one that the file keeps turned is made whole before. */
function fillSmall(
  file: SafetensorsReader,
  path: string,
  w: Wanted,
  small: QuantisedWeight,
  strict: boolean,
  window?: ArrayBuffer,
): void {
  if (w.transposed) {
    fill(file, path, w, strict, window);
    small.setRows(0, w.t.readSync() as Float32Array);
  } else eachWindow(file, path, w, strict, window, 8, (from, values, dtype) => small.setRows(from, widened(values, dtype)));
  w.t.free('its model was loaded in fewer bits');
}
const widened = (values: Float32Array | Uint16Array, dtype: DType): Float32Array =>
  values instanceof Float32Array
    ? values
    : toFloat32(dtype === 'bf16' ? 'BF16' : 'F16', new Uint8Array(values.buffer, values.byteOffset, values.byteLength));

/** Lets the backend read the file itself, where it can; returns how many of `wanted` are filled, from the first on. */
function fillDirectly({ direct, tensors }: SafetensorsReader, wanted: readonly Wanted[]): number {
  const { readParts } = backend();
  if (!direct || !readParts || !wanted.every(({ t }) => t.dtype === 'f32' && t.isContiguous && t.storage.backend === backend()))
    return 0;
  const parts = wanted.map(({ t, name, transposed, rows }) => {
    const { fd, position } = direct.of(name);
    const dtype = floats[tensors.get(name)!.dtype] as FilePart['dtype'];
    const skipped = rows ? (rows.from * (t.size / t.shape[0]) || 0) * (dtype === 'f32' ? 4 : 2) : 0;
    const { buffer, offset } = t;
    const [shape, strides] = transposed
      ? [
          [t.shape[1], t.shape[0]],
          [1, t.shape[1]],
        ]
      : [
          [1, t.size],
          [t.size, 1],
        ];
    return { fd, position: position + skipped, dtype, to: { buffer, offset, shape, strides, dtype: 'f32' as const } };
  });
  const done = readParts(parts);
  direct.unchanged();
  return done; // the rest is read again, piece by piece, by who can say what is wrong
}

/** The shape of `w` as the file should have it. */
const shapeInFile = ({ t, transposed, rows }: Wanted): number[] =>
  rows ? [rows.of, ...t.shape.slice(1)] : transposed ? [t.shape[1], t.shape[0]] : [...t.shape];

function checkAll(file: SafetensorsReader, path: string, wanted: readonly Wanted[], strict: boolean, ignore?: RegExp): void {
  const faults: string[] = [];
  const known = new Set(wanted.flatMap((w) => [w.name, ...(w.aliases ?? [])]));
  const extra = [...file.tensors.keys()].filter((name) => !known.has(name) && !ignore?.test(name));
  for (const w of wanted) {
    const found = file.tensors.get(w.name);
    const near = found ? undefined : nearestName(w.name, extra);
    if (!found) faults.push(`"${w.name}" is missing${near ? ` (the file has "${near}")` : ''}`);
    else if (strict ? found.dtype !== 'F32' : !floats[found.dtype])
      faults.push(`"${w.name}" is ${found.dtype}, expected ${strict ? 'F32' : 'F32, BF16 or F16'}`);
    else if (`${found.shape}` !== `${shapeInFile(w)}`)
      faults.push(`"${w.name}" is [${found.shape}], expected [${shapeInFile(w)}]`);
  }
  const missing = wanted.filter((w) => !file.tensors.has(w.name)).map((w) => w.name);
  for (const name of extra) {
    const near = nearestName(name, missing);
    faults.push(`"${name}" is not part of this model${near ? ` (nearest: "${near}")` : ''}`);
  }
  if (faults.length === 0) return;
  const shown = faults.slice(0, 10).join('; ') + (faults.length > 10 ? `; and ${faults.length - 10} more` : '');
  throw new CheckpointError(
    'MODEL_MISMATCH',
    path,
    `${faults.length} tensors do not fit the config: ${shown}`,
    'Is config.json from another model?',
  );
}

/** A tensor passes through memory in windows of this many bytes: the disk reads on while the last one is placed, and nothing is held twice. */
const WINDOW = 4 * 2 ** 20;

/** Bytes of one row as the file has it: the least that a window holds. */
const rowBytes = (file: SafetensorsReader, w: Wanted): number => {
  const { byteLength, shape } = file.tensors.get(w.name)!;
  return byteLength / Math.max(1, shape[0] ?? 1);
};

function fill(file: SafetensorsReader, path: string, w: Wanted, strict: boolean, window?: ArrayBuffer): void {
  const { t, transposed } = w;
  eachWindow(file, path, w, strict, window, 1, (from, values, dtype, shape) => {
    if (dtype === 'f32' && !transposed) t.writeAt(from * (values.length / Math.max(1, shape[0] ?? 1)), values);
    else place(t, Tensor.from(values, shape, dtype), from, transposed);
  });
}

/** Calls `use` for a few rows after another of the part of the file that is ours: the first row, their numbers, and the shape of these. */
function eachWindow(
  file: SafetensorsReader,
  path: string,
  w: Wanted,
  strict: boolean,
  window: ArrayBuffer | undefined,
  multiple: number,
  use: (from: number, values: Float32Array | Uint16Array, dtype: DType, shape: number[]) => void,
): void {
  const { t, name, transposed, rows } = w;
  const dtype = floats[file.tensors.get(name)!.dtype]!;
  const width = dtype === 'f32' ? 4 : 2;
  const shape = transposed ? shapeInFile(w) : [...t.shape]; // of the part that is ours
  const rowValues = shape.slice(1).reduce((a, b) => a * b, 1);
  const first = rows ? rows.from * rowValues * width : 0;
  const count = t.size / Math.max(1, rowValues); // rows
  const fitting = Math.floor(WINDOW / Math.max(1, rowValues * width) / multiple) * multiple;
  const atOnce = window ? Math.max(multiple, fitting) : count;
  // Where reading a part costs as much as the whole, the whole is read once.
  const all = window ? undefined : file.read(name);
  for (let from = 0; from < count && rowValues > 0; from += atOnce) {
    const n = Math.min(atOnce, count - from);
    const [start, length] = [first + from * rowValues * width, n * rowValues * width];
    const bytes = all
      ? all.subarray(start, start + length)
      : new Uint8Array(length <= window!.byteLength ? window! : new ArrayBuffer(length), 0, length);
    if (!all) file.readInto(name, start, bytes);
    const values =
      dtype === 'f32'
        ? new Float32Array(bytes.buffer, bytes.byteOffset, n * rowValues)
        : new Uint16Array(bytes.buffer, bytes.byteOffset, n * rowValues);
    if (strict) checkValues(values, from * rowValues, w, path);
    use(from, values, dtype, [n, ...shape.slice(1)]);
  }
}

/** Rows of the file, `from` on, into `t`: widened, and turned where the file has them as columns. */
function place(t: Tensor, rows: Tensor, from: number, transposed = false): void {
  using stored = rows;
  using own = t.detach();
  using turned = transposed ? own.T : t.shape.length === 0 ? own.reshape([1]) : own.detach();
  using part = turned.slice(0, from, from + rows.shape[0]);
  part.copyFrom(stored);
}

/** What we saved ourselves is finite, and second moments are not negative. @throws CheckpointError NONFINITE, STATE */
function checkValues(values: Float32Array | Uint16Array, at: number, { name, nonNegative }: Wanted, path: string): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]))
      throw new CheckpointError('NONFINITE', path, `"${name}" holds ${values[i]} at index ${at + i}`, 'Use an older checkpoint');
    if (nonNegative && values[i] < 0)
      throw new CheckpointError(
        'STATE',
        path,
        `optimiser state "${name}": second moment is negative at index ${at + i}`,
        'Use an older checkpoint',
      );
  }
}
