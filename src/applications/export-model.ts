// A run, or anything published, goes out in a form that others read.

import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join, resolve as resolvePath } from 'node:path';
import { QkvError } from '../errors.ts';
import {
  CheckpointError,
  findCheckpoint,
  openPublished,
  type Published,
  resolveRun,
  writeFileAtomically,
  writeSafetensors,
} from '../io/index.ts';
import { fromFloat32, toFloat32 } from '../io/floats.ts';
import type { WritableType } from '../io/gguf-quant.ts';
import type { Bert } from '../models/index.ts';
import { dispose, parameterCount } from '../nn/index.ts';
import { idsAndTemplate, json, type LoadedPublished, loadPublished } from './exchange.ts';

/** Forms of export, and the types of weights that each can have. */
export const exportTypes = {
  hf: ['f32', 'f16', 'bf16'],
  pytorch: ['f32', 'f16', 'bf16'],
  gguf: ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_k'],
  onnx: ['f32', 'f16'],
  tfjs: ['f32', 'f16'],
} as const;
export type ExportForm = keyof typeof exportTypes;
export type ExportType = (typeof exportTypes)['gguf'][number];

export interface Exported {
  form: ExportForm;
  source: string;
  /** The folder or file that was made. */
  path: string;
  bytes: number;
  /** What the form calls the architecture. */
  architecture: string;
  /** What most weights are; `kept` where they stayed as they were. */
  dtype: ExportType | 'kept';
  parameters?: number;
  files: string[];
  notes: string[];
}

/** What an export begins with: a run (`NAME`, `NAME@STEP`, a path), or anything published. @throws E150, E152, E155 and those of the readers */
export async function openForExport(spec: string, { root }: { root?: string } = {}): Promise<Published & { name: string }> {
  const path = spec;
  const isPublished =
    existsSync(path) && (statSync(path).isFile() || !existsSync(join(path, 'log.jsonl'))) && !existsSync(join(path, 'env.json'));
  if (isPublished) return Object.assign(await openPublished(path), { name: basename(resolvePath(path), '.gguf') });
  const { name, folder, step } = resolveRun(spec, { root });
  const found = findCheckpoint(folder, { step });
  if (!found) throw new QkvError('E152', `run "${name}" has no checkpoint yet`, { name });
  return Object.assign(await openPublished(found.folder), { name });
}

/**
 * Writes what `published` holds in another form at `path`: a folder appears by one rename, a file too. What was there is replaced as a whole.
 * @throws CheckpointError CONFIG, TOKENIZER, ONNX_SIZE
 */
export async function exportModel(
  published: Published & { name: string },
  { form, type, path }: { form: ExportForm; type?: ExportType; path: string },
): Promise<Exported> {
  const notes = [...published.notes];
  const common = { form, source: published.source, path, notes };
  if (form === 'hf' || form === 'pytorch' || form === 'tfjs') {
    const write = { hf: writeHuggingFace, pytorch: writeHuggingFace, tfjs: writeTfjs }[form];
    const { files, bytes } = await inNewFolder(path, async (folder) => write(folder, published, type, form));
    const dtype = type ?? (form === 'tfjs' ? 'f32' : 'kept');
    return { ...common, bytes, files, architecture: String(published.config['model_type']), dtype };
  }
  const loaded = loadPublished(published);
  try {
    const parameters = parameterCount(loaded.model);
    if (form === 'gguf') {
      if (loaded.kind === 'encoder-decoder')
        throw new CheckpointError(
          'CONFIG',
          published.source,
          'GGUF is written for decoders and encoders; this is an encoder-decoder',
          'Use hf or onnx',
          1,
        );
      const dtype = type ?? 'f32';
      const as = dtype.toUpperCase() as WritableType;
      const file = { ...common, files: [basename(path)], dtype, parameters };
      if (loaded.kind === 'encoder') {
        const { saveBertGguf } = await import('../io/gguf-bert.ts');
        const bert = loaded.task === 'base' ? (loaded.model as Bert) : (loaded.model as { bert: Bert }).bert;
        const { architecture, notes: more } = saveBertGguf(path, {
          ...{ bert, variant: loaded.variant, type: as, tokenizerJson: published.tokenizerJson, name: published.name },
        });
        notes.push(...more);
        return { ...file, bytes: statSync(path).size, architecture };
      }
      const { saveGguf } = await import('../io/gguf-save.ts');
      const { architecture, notes: more } = saveGguf(path, {
        model: loaded.model,
        settings: loaded.settings,
        type: as,
        tokenizerJson: published.tokenizerJson,
        ...idsAndTemplate(published),
        name: published.name,
      });
      notes.push(...more);
      return { ...file, bytes: statSync(path).size, architecture };
    }
    const { files, bytes } = await inNewFolder(path, (folder) =>
      writeOnnxFolder(folder, published, loaded, type === 'f16' ? 'f16' : 'f32'),
    );
    return { ...common, bytes, files, architecture: String(published.config['model_type']), dtype: type ?? 'f32', parameters };
  } finally {
    dispose(loaded.model);
  }
}

/** Fills a temporary folder beside `path`, then renames it. */
async function inNewFolder(
  path: string,
  fill: (folder: string) => Promise<string[]>,
): Promise<{ files: string[]; bytes: number }> {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    mkdirSync(temporary, { recursive: true });
    const files = await fill(temporary);
    const bytes = files.reduce((sum, file) => sum + statSync(join(temporary, file)).size, 0);
    const old = `${path}.old-${process.pid}`;
    const replaces = existsSync(path);
    if (replaces) renameSync(path, old);
    renameSync(temporary, path);
    if (replaces) rmSync(old, { recursive: true });
    return { files, bytes };
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

const floats = ['F32', 'F16', 'BF16'];
const torchTypes = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' } as const;

/** @throws CheckpointError CONFIG for the families that are qkv's own */
function refuseOwn({ config, source }: Published): void {
  const model = String(config['model_type']);
  if (model.startsWith('qkv_'))
    throw new CheckpointError('CONFIG', source, `the family ${model.slice(4)} has no published form`, 'It stays a run of qkv', 1);
}

/** model.json and shards of 4 MB under Hugging Face's names: weights without a graph, for `tf.io.loadWeights`. */
async function writeTfjs(folder: string, published: Published, type?: ExportType): Promise<string[]> {
  refuseOwn(published);
  const { saveTfjs } = await import('../io/tfjs.ts');
  const { weights, config } = published;
  const tensors = [...weights.tensors].map(([name, { dtype, shape }]) => ({
    name,
    dtype,
    shape,
    bytes: () => weights.read(name),
  }));
  const { files } = saveTfjs(folder, tensors, { notes: config, quantization: type === 'f16' ? 'float16' : undefined });
  return [...files, ...writeCompanions(folder, published, config)];
}

/** model.safetensors, or pytorch_model.bin as it was before; tensors that are tied in the source stay so in the latter. */
async function writeHuggingFace(folder: string, published: Published, type?: ExportType, form?: ExportForm): Promise<string[]> {
  refuseOwn(published);
  const { tensors, tied } = published.weights;
  const entries = [...tensors].map(([name, { dtype, shape }]) => {
    const to = type !== undefined && floats.includes(dtype) ? (type.toUpperCase() as 'F32' | 'F16' | 'BF16') : dtype;
    const bytes = () => published.weights.read(name);
    if (to === dtype) return { name, dtype, shape, bytes };
    return { name, dtype: to, shape, bytes: () => fromFloat32(to as 'F32', toFloat32(dtype as 'F32', bytes())) };
  });
  const file = form === 'pytorch' ? 'pytorch_model.bin' : 'model.safetensors';
  if (form === 'pytorch') {
    const bytesOf = new Map(entries.map(({ name, bytes }) => [name, bytes]));
    const { writePytorch } = await import('../io/pytorch-write.ts');
    writePytorch(
      join(folder, file),
      entries.map((entry) => ({ ...entry, bytes: bytesOf.get(tied?.get(entry.name) ?? entry.name)! })),
    );
  } else writeSafetensors(join(folder, file), entries, { format: 'pt' });
  const dtype = type === undefined ? {} : { torch_dtype: torchTypes[type as keyof typeof torchTypes] };
  return [file, ...writeCompanions(folder, published, { ...published.config, ...dtype })];
}

/** config.json and the tokenizer's files, as transformers and transformers.js look for them. */
function writeCompanions(folder: string, published: Published, config: Record<string, unknown>): string[] {
  const files = new Map<string, Uint8Array | string>([['config.json', json(config)]]);
  for (const { name, bytes } of published.others) files.set(name, bytes);
  if (published.tokenizerJson !== undefined) {
    files.set('tokenizer.json', published.tokenizerJson);
    if (!files.has('tokenizer_config.json')) files.set('tokenizer_config.json', json(tokenizerConfig(published)));
  }
  for (const [name, bytes] of files) writeFileAtomically(join(folder, name), bytes);
  return [...files.keys()];
}

/** What AutoTokenizer needs beside tokenizer.json: the class, and which tokens have a meaning. */
function tokenizerConfig(published: Published): Record<string, unknown> {
  const { ids } = idsAndTemplate(published);
  const { added_tokens: added = [] } = JSON.parse(published.tokenizerJson!) as {
    added_tokens?: { id: number; content: string }[];
  };
  const named = (id: number | undefined): string | undefined => added.find((token) => token.id === id)?.content;
  const marks = { unk_token: '[UNK]', pad_token: '[PAD]', cls_token: '[CLS]', sep_token: '[SEP]', mask_token: '[MASK]' };
  const bert = Object.entries(marks).filter(([, content]) => added.some((token) => token.content === content));
  const tokens = {
    bos_token: named(ids.bos),
    eos_token: named(ids.eos?.[0]),
    pad_token: named(ids.pad),
    ...Object.fromEntries(bert),
  };
  return { tokenizer_class: 'PreTrainedTokenizerFast', clean_up_tokenization_spaces: false, ...tokens };
}

/** The layout of transformers.js: the graphs in onnx/, the small files beside it. */
async function writeOnnxFolder(
  folder: string,
  published: Published,
  loaded: LoadedPublished,
  type: 'f32' | 'f16',
): Promise<string[]> {
  const { writeOnnx } = await import('../io/onnx-write.ts');
  mkdirSync(join(folder, 'onnx'));
  const suffix = type === 'f16' ? '_fp16' : '';
  const write = async (name: string, graph: Parameters<typeof writeOnnx>[1]): Promise<string> => {
    const file = join('onnx', `${name}${suffix}.onnx`);
    await writeOnnx(join(folder, file), graph);
    return file;
  };
  const files: string[] = [];
  if (loaded.kind === 'decoder') {
    const { decoderGraph } = await import('../io/onnx-decoder.ts');
    files.push(await write('model', decoderGraph(loaded.model, loaded.settings, type)));
  } else if (loaded.kind === 'encoder') {
    const { encoderGraph } = await import('../io/onnx-encoder.ts');
    files.push(await write('model', encoderGraph(loaded, type)));
  } else {
    const { t5DecoderGraph, t5EncoderGraph } = await import('../io/onnx-t5.ts');
    files.push(await write('encoder_model', t5EncoderGraph(loaded.model, type)));
    files.push(await write('decoder_model_merged', t5DecoderGraph(loaded.model, type)));
  }
  return [...files, ...writeCompanions(folder, published, published.config)];
}
