// A GGUF file as what was published: its keys become config.json, its tensors get Hugging Face's names and layouts, its vocabulary becomes tokenizer.json.

import { type GgufReader, ggufKey, openGguf } from './gguf.ts';
import { publishedBertGguf } from './gguf-bert-read.ts';
import { ggufFloats, readGgufFloats } from './gguf-floats.ts';
import { fromGgufValues } from './gguf-layout.ts';
import { type Architecture, type DecoderShape, ourName } from './gguf-models.ts';
import { settingsOfGguf } from './gguf-settings.ts';
import { tokenizerOfGguf } from './gguf-vocabulary.ts';
import { publishedConfig, storedAs } from './hugging-face.ts';
import { turnsSome } from './hugging-face-decoders-write.ts';
import type { Published } from './published.ts';
import type { SafetensorsReader } from './safetensors.ts';
import type { TensorEntry } from './safetensors-header.ts';

/** Opens a GGUF file. Weights in blocks are unpacked to f32 as they are read. @throws CheckpointError GGUF_*, CONFIG */
export function openPublishedGguf(path: string): Published {
  const file = openGguf(path);
  try {
    if (file.metadata.get('general.architecture')?.value === 'bert') return publishedBertGguf(file, path);
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
  const origins = new Map<string, { theirs: string; ours: string; transposed?: boolean; first?: number; rows?: number }>();
  let byteOffset = 0;
  for (const [theirs, { shape }] of file.tensors) {
    if (/^rope_(freqs|factors_long|factors_short)\.weight$/.test(theirs)) continue;
    if (architecture === 'gpt2' && theirs === 'output.weight') continue; // a copy of the embedding
    const ours = ourName(theirs);
    const parts = ours === undefined ? [] : partsOf(architecture, settings, ours, shape);
    if (parts.length === 0) {
      // Not a tensor of this family: the loader says so, by its own name.
      tensors.set(theirs, { dtype: 'F32', shape, byteOffset, byteLength: 4 * shape.reduce((a, b) => a * b, 1) });
      continue;
    }
    let row = 0;
    for (const { name, rows, shape: own = shape } of parts) {
      const stored = storedAs(settings.model, name, settings);
      const entry = stored.transposed ? [own[1], own[0]] : own;
      const byteLength = 4 * own.reduce((a, b) => a * b, 1);
      tensors.set(stored.name, { dtype: 'F32', shape: entry, byteOffset, byteLength });
      byteOffset += byteLength;
      origins.set(stored.name, {
        theirs,
        ours: name,
        transposed: stored.transposed,
        ...(rows === undefined ? {} : { first: row, rows }),
      });
      row += rows ?? 0;
    }
  }
  return ggufFloats(file, path, tensors, (name) => {
    const origin = origins.get(name);
    const entry = tensors.get(name);
    if (!origin || !entry) return undefined;
    const { theirs, ours, first, rows } = origin;
    const values = fromGgufValues(architecture, settings, ours, readGgufFloats(file, path, theirs, first, rows));
    return origin.transposed ? transposed(values, entry.shape[0], entry.shape[1]) : values;
  });
}

/** A tensor of ours in one of theirs: its rows there (of the last axis), all when left out. */
interface Part {
  name: string;
  rows?: number;
  shape?: number[];
}
/** Phi-3's file keeps q, k, v in one tensor and gate, up in another; all experts of a layer are one. Ours are rows of them. */
function partsOf(architecture: Architecture, c: DecoderShape, ours: string, shape: number[]): Part[] {
  if (ours.includes('.mlp.experts.')) {
    const [E, rows, columns] = shape;
    if (shape.length !== 3 || E !== c.nExpert) return [];
    const name = (e: number) => ours.replace('experts.', `experts.${e}.`);
    return Array.from({ length: E }, (_, e) => ({ name: name(e), rows, shape: [rows, columns] }));
  }
  if (ours.endsWith('.mlp.sharedGate.weight')) return [{ name: ours, shape: [1, ...shape] }];
  if (architecture !== 'phi3') return [{ name: ours }];
  if (turnsSome(c)) return [{ name: ours.replace('qkvProj', 'qProj').replace('upProj', 'gateProj') }]; // fused there as well
  const headDim = c.headDim ?? c.dModel / c.nHead;
  const part = (from: string, to: string, rows: number): Part => ({
    name: ours.replace(from, to),
    rows,
    shape: [rows, ...shape.slice(1)],
  });
  if (ours.includes('.attn.qkvProj.')) {
    const letters: [string, number][] = [['qProj', c.nHead], ['kProj', c.nKvHead], ['vProj', c.nKvHead]]; // biome-ignore format: a table
    return letters.map(([to, heads]) => part('qkvProj', to, heads * headDim));
  }
  if (ours.includes('.mlp.upProj.')) return ['gateProj', 'upProj'].map((to) => part('upProj', to, c.dFF));
  return [{ name: ours }];
}

/** (rows of the file's tensor) (dOut, dIn) → (dIn, dOut), the shape `rows` × `columns` of the result. */
function transposed(x: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[r * columns + c] = x[c * rows + r];
  return out;
}
