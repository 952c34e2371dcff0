// A GGUF file as what was published: its keys become config.json, its tensors get Hugging Face's names and layouts, its vocabulary becomes tokenizer.json.

import { CheckpointError, quote } from './checkpoint-error.ts';
import { type GgufReader, ggufKey, openGguf } from './gguf.ts';
import { fromGgufValues } from './gguf-layout.ts';
import { type Architecture, type DecoderShape, ourName } from './gguf-models.ts';
import { settingsOfGguf } from './gguf-settings.ts';
import { tokenizerOfGguf } from './gguf-vocabulary.ts';
import { publishedConfig, type Stored, storedAs } from './hugging-face.ts';
import type { Published } from './published.ts';
import type { SafetensorsReader } from './safetensors.ts';
import type { TensorEntry } from './safetensors-header.ts';

/** Opens a GGUF file. Weights in blocks are unpacked to f32 as they are read. @throws CheckpointError GGUF_*, CONFIG */
export function openPublishedGguf(path: string): Published {
  const file = openGguf(path);
  try {
    const { architecture, settings } = settingsOfGguf(file, path);
    const { json, notes } = tokenizerOfGguf(file);
    const id = (key: string): number | undefined => {
      const value = file.metadata.get(`tokenizer.ggml.${key}_token_id`)?.value;
      return typeof value === 'number' ? value : undefined;
    };
    const config = {
      ...publishedConfig(settings.model, settings),
      ...{ bos_token_id: id('bos') ?? null, eos_token_id: id('eos') ?? null },
      ...(settings.model === 'gpt2' ? { layer_norm_epsilon: settings.normEps } : {}),
    };
    const ends = [id('eos'), id('eot')].filter((x, i, all) => x !== undefined && all.indexOf(x) === i);
    const text = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
    const others = [{ name: 'generation_config.json', bytes: text({ bos_token_id: id('bos') ?? null, eos_token_id: ends }) }];
    const template = file.metadata.get('tokenizer.chat_template');
    if (template?.type === 'string')
      others.push({
        name: 'tokenizer_config.json',
        bytes: text({ tokenizer_class: 'PreTrainedTokenizerFast', ...namesOf(file, id), chat_template: template.value }),
      });
    return {
      source: path,
      kind: `GGUF ${[...new Set([...file.tensors.values()].map((t) => t.type))].join(' ')}`,
      config,
      configFile: path,
      weights: asPublished(file, path, architecture, settings),
      tokenizerJson: json,
      others,
      notes,
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

function namesOf(file: GgufReader, id: (key: string) => number | undefined): Record<string, string> {
  const tokens = ggufKey(file, 'tokenizer.ggml.tokens', 'strings', []);
  const named = (['bos', 'eos', 'unknown', 'padding'] as const).map((key) => [key, tokens[id(key) ?? -1]] as const);
  const keys = { bos: 'bos_token', eos: 'eos_token', unknown: 'unk_token', padding: 'pad_token' };
  return Object.fromEntries(named.filter(([, token]) => token !== undefined).map(([key, token]) => [keys[key], token]));
}

/** The tensors of `file` under the names and in the layouts of the family's Hugging Face files, in f32. */
function asPublished(file: GgufReader, path: string, architecture: Architecture, settings: DecoderShape): SafetensorsReader {
  const tensors = new Map<string, TensorEntry>();
  const origins = new Map<string, { theirs: string; ours: string; stored: Stored }[]>();
  let byteOffset = 0;
  for (const [theirs, { shape }] of file.tensors) {
    if (/^rope_(freqs|factors_long|factors_short)\.weight$/.test(theirs)) continue;
    if (architecture === 'gpt2' && theirs === 'output.weight') continue; // a copy of the embedding
    const ours = ourName(theirs);
    const parts = ours === undefined ? [] : partsOf(architecture, settings, ours);
    if (ours === undefined) {
      // Not a tensor of this family: the loader says so, by its own name.
      tensors.set(theirs, { dtype: 'F32', shape, byteOffset, byteLength: 4 * shape.reduce((a, b) => a * b, 1) });
      continue;
    }
    let row = 0;
    for (const { name, rows } of parts) {
      const stored = storedAs(settings.model, name);
      const own = rows === undefined ? shape : [rows, ...shape.slice(1)];
      const entry = stored.transposed ? [own[1], own[0]] : own;
      const byteLength = 4 * own.reduce((a, b) => a * b, 1);
      tensors.set(stored.name, { dtype: 'F32', shape: entry, byteOffset, byteLength });
      byteOffset += byteLength;
      origins.set(stored.name, [
        { theirs, ours: name, stored: { ...stored, rows: rows === undefined ? undefined : { from: row, of: shape[0] } } },
      ]);
      row += rows ?? 0;
    }
  }
  const read = (name: string): Uint8Array => {
    const origin = origins.get(name)?.[0];
    const entry = tensors.get(name);
    if (!origin || !entry)
      throw new CheckpointError('NO_TENSOR', path, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
    const { theirs, ours, stored } = origin;
    let values = readFloats(file, path, theirs);
    if (stored.rows) {
      const width = values.length / stored.rows.of;
      values = values.slice(stored.rows.from * width, stored.rows.from * width + entry.byteLength / 4);
    }
    values = fromGgufValues(architecture, settings, ours, values);
    if (stored.transposed) values = transposed(values, entry.shape[0], entry.shape[1]);
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  };
  return {
    metadata: new Map(),
    tensors,
    read,
    readInto: (name, offset, target) => target.set(read(name).subarray(offset, offset + target.length)),
    close: () => file.close(),
  };
}

/** Phi-3's file keeps q, k, v in one tensor and gate, up in another; ours are rows of them. */
function partsOf(architecture: Architecture, c: DecoderShape, ours: string): { name: string; rows?: number }[] {
  const headDim = c.headDim ?? c.dModel / c.nHead;
  if (architecture !== 'phi3') return [{ name: ours }];
  if (ours.includes('.attn.qkvProj.')) {
    const part = (p: string, n: number) => ({ name: ours.replace('qkvProj', p), rows: n * headDim });
    return [part('qProj', c.nHead), part('kProj', c.nKvHead), part('vProj', c.nKvHead)];
  }
  if (ours.includes('.mlp.upProj.')) return ['gateProj', 'upProj'].map((p) => ({ name: ours.replace('upProj', p), rows: c.dFF }));
  return [{ name: ours }];
}

function readFloats(file: GgufReader, path: string, name: string): Float32Array {
  try {
    return file.readFloats(name);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new CheckpointError('GGUF_TYPE', path, `${quote(name)} is ${file.tensors.get(name)?.type}, which is not unpacked here`);
  }
}

/** (rows of the file's tensor) (dOut, dIn) → (dIn, dOut), the shape `rows` × `columns` of the result. */
function transposed(x: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[r * columns + c] = x[c * rows + r];
  return out;
}
