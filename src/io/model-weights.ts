import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildDecoder, type Decoder } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { type DType, Tensor } from '../tensor/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { type Family, type PublishedShape, settingsOfPublished, storedAs } from './hugging-face.ts';
import { openSafetensors, type SafetensorsReader } from './safetensors.ts';
import { openShardedSafetensors } from './safetensors-index.ts';
import { parseStrictJson, toPlain } from './strict-json.ts';

/** A tensor to be filled, and where the file keeps it. */
export interface Wanted {
  t: Tensor;
  name: string;
  /** The file has (dIn, dOut) where `t` has (dOut, dIn). */
  transposed?: boolean;
  nonNegative?: boolean;
}

const INDEX = 'model.safetensors.index.json';
const floats: Partial<Record<string, DType>> = { F32: 'f32', BF16: 'bf16', F16: 'f16' };

/**
 * Fills every wanted tensor from a safetensors file, and says all that does not fit before the first is touched. `strict`: f32 only, nothing
 * more in the file, every number finite; else bf16 and f16 are widened, and names that `ignore` matches may be there.
 * @throws CheckpointError MODEL_MISMATCH, NONFINITE, STATE and those of the reader
 */
export function fillTensors(
  path: string,
  wanted: readonly Wanted[],
  { strict, ignore }: { strict: boolean; ignore?: RegExp },
): void {
  const file = path.endsWith(INDEX) ? openShardedSafetensors(path) : openSafetensors(path);
  try {
    checkAll(file, path, wanted, strict, ignore);
    for (const w of wanted) fill(file, path, w, strict);
  } finally {
    file.close();
  }
}

function checkAll(file: SafetensorsReader, path: string, wanted: readonly Wanted[], strict: boolean, ignore?: RegExp): void {
  const faults: string[] = [];
  const names = new Set(wanted.map((w) => w.name));
  for (const { t, name, transposed } of wanted) {
    const found = file.tensors.get(name);
    const shape = transposed ? [t.shape[1], t.shape[0]] : [...t.shape];
    if (!found) faults.push(`"${name}" is missing`);
    else if (strict ? found.dtype !== 'F32' : !floats[found.dtype])
      faults.push(`"${name}" is ${found.dtype}, expected ${strict ? 'F32' : 'F32, BF16 or F16'}`);
    else if (`${found.shape}` !== `${shape}`) faults.push(`"${name}" is [${found.shape}], expected [${shape}]`);
  }
  for (const name of file.tensors.keys())
    if (!names.has(name) && !ignore?.test(name)) faults.push(`"${name}" is not part of this model`);
  if (faults.length === 0) return;
  const shown = faults.slice(0, 10).join('; ') + (faults.length > 10 ? `; and ${faults.length - 10} more` : '');
  throw new CheckpointError(
    'MODEL_MISMATCH',
    path,
    `${faults.length} tensors do not fit the config: ${shown}`,
    'Is config.json from another model?',
  );
}

function fill(file: SafetensorsReader, path: string, { t, name, transposed, nonNegative }: Wanted, strict: boolean): void {
  const bytes = file.read(name);
  const dtype = floats[file.tensors.get(name)!.dtype]!;
  const shape = transposed ? [t.shape[1], t.shape[0]] : t.shape;
  const values =
    dtype === 'f32'
      ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
      : new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  for (let i = 0; strict && i < values.length; i++) {
    if (!Number.isFinite(values[i]))
      throw new CheckpointError('NONFINITE', path, `"${name}" holds ${values[i]} at index ${i}`, 'Use an older checkpoint');
    if (nonNegative && values[i] < 0)
      throw new CheckpointError(
        'STATE',
        path,
        `optimiser state "${name}": second moment is negative at index ${i}`,
        'Use an older checkpoint',
      );
  }
  if (dtype === 'f32' && !transposed) {
    t.write(values as Float32Array);
    return;
  }
  using stored = Tensor.from(values, shape, dtype);
  using wide = stored.cast('f32');
  if (!transposed) t.copyFrom(wide);
  else {
    using turned = wide.T;
    t.copyFrom(turned);
  }
}

/** The weights of a checkpoint folder of ours into `model`. @throws CheckpointError as fillTensors */
export function loadWeights(folder: string, family: Family, model: Decoder): void {
  const wanted = [...stateDict(model)].map(([name, t]) => ({ t, ...storedAs(family, name) }));
  fillTensors(join(folder, 'model.safetensors'), wanted, { strict: true });
}

/**
 * A decoder from a folder in Hugging Face's layout, as `save_pretrained` writes it: config.json and model.safetensors, or shards with an index.
 * Tied heads and the mask buffers of older GPT-2 files may be there and are passed over.
 * @throws CheckpointError CONFIG, MODEL_MISMATCH and those of the reader
 */
export function loadPretrained(folder: string): { model: Decoder; settings: PublishedShape & { model: Family } } {
  const file = join(folder, 'config.json');
  const settings = settingsOfPublished(toPlain(parseStrictJson(readFileSync(file), { file })) as Record<string, unknown>, file);
  const model = buildDecoder({ ...settings, seed: 0 }, settings.vocabSize);
  try {
    const path = existsSync(join(folder, INDEX)) ? join(folder, INDEX) : join(folder, 'model.safetensors');
    const wanted = [...stateDict(model)].map(([name, t]) => ({ t, ...storedAs(settings.model, name) }));
    const prefix = 'transformer.';
    const bare = settings.model === 'gpt2' && !namesIn(path).some((n) => n.startsWith(prefix)); // the first GPT-2 files have no prefix
    const named = wanted.map((w) => ({ ...w, name: bare ? w.name.slice(prefix.length) : w.name }));
    const extras = settings.tied ? /^lm_head\.weight$|attn\.(masked_)?bias$|rotary_emb\.inv_freq$/ : /rotary_emb\.inv_freq$/;
    fillTensors(path, named, { strict: false, ignore: extras });
    return { model, settings };
  } catch (error) {
    dispose(model);
    throw error;
  }
}

function namesIn(path: string): string[] {
  const file = path.endsWith(INDEX) ? openShardedSafetensors(path) : openSafetensors(path);
  try {
    return [...file.tensors.keys()];
  } finally {
    file.close();
  }
}
