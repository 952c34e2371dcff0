// A decoder from what was published: config.json says what to build, the file of weights fills it.

import { buildDecoder, type Decoder } from '../models/index.ts';
import { dispose, quantise, smallMatrices, stateDict, type WeightPrecision } from '../nn/index.ts';
import { Rng } from '../tensor/index.ts';
import { fillFrom, type FillOptions, type Wanted } from './fill-tensors.ts';
import { type Family, type PublishedShape, settingsOfPublished, type Stored, storedAs } from './hugging-face.ts';
import { phi3StoredAs } from './hugging-face-decoders-write.ts';
import { configOf, type PublishedSource } from './published.ts';
import { openWeights } from './weights.ts';

export interface LoadedDecoder {
  model: Decoder;
  settings: PublishedShape & { model: Family };
  /** The model_type of config.json: mistral, qwen2 … */
  modelType: string;
  /** Where the file keeps one of our tensors. */
  stored: (ours: string) => Stored;
}

/**
 * A decoder from a folder in Hugging Face's layout, as `save_pretrained` writes it: config.json and the weights (safetensors or PyTorch, whole
 * or in shards), or from what `openPublished` opened. Tied heads and the mask buffers of older GPT-2 files may be there and are passed over.
 * `weights`: the matrices as `quantise` makes them, one after another, so that the memory needed is that of the small ones.
 * @throws CheckpointError CONFIG, MODEL_MISMATCH and those of the reader
 */
export function loadPretrained(
  source: PublishedSource,
  { dropout = 0, weights = 'f32' }: { dropout?: number; weights?: WeightPrecision } = {},
): LoadedDecoder {
  const { file, config } = configOf(source);
  const settings = { ...settingsOfPublished(config, file), dropout };
  const model = buildDecoder({ ...settings, seed: 0 }, settings.vocabSize, Rng.none); // all of it is in the file, or it is refused
  const modelType = String(config['model_type']);
  const plain = (ours: string): Stored => storedAs(settings.model, ours, settings);
  const stored = modelType === 'phi3' ? (ours: string) => phi3StoredAs(settings, ours, plain) : plain;
  try {
    const wanted = [...stateDict(model)].map(([name, t]) => ({ t, ...stored(name) }));
    fillPublished(source, wanted, prefixes[settings.model], publishedExtras(settings), { small: smallMatrices(model, weights) });
    if (weights !== 'f32') quantise(model, weights);
    return { model, settings, modelType, stored };
  } catch (error) {
    dispose(model);
    throw error;
  }
}
const prefixes: Record<Family, string> = {
  gpt2: 'transformer.',
  llama: 'model.',
  gemma: 'model.',
  olmo2: 'model.',
  neox: 'gpt_neox.',
  mixtral: 'model.',
};
const buffers = 'attn\\.(masked_)?bias$|attention\\.(masked_)?bias$|rotary_emb\\.inv_freq$';
const publishedExtras = ({ tied }: PublishedShape): RegExp =>
  new RegExp(tied ? `^(lm_head|embed_out)\\.weight$|${buffers}` : buffers);

/**
 * Fills `wanted` from the weights of a published folder. A model saved without its head names its tensors without the family's `prefix`.
 * `optional` tensors (a new head) keep their values when the file has none; their names are returned.
 */
export function fillPublished(
  source: PublishedSource,
  wanted: readonly Wanted[],
  prefix: string,
  ignore: RegExp,
  { optional = () => false, small }: { optional?: (name: string) => boolean } & Pick<FillOptions, 'small'> = {},
): string[] {
  const folder = typeof source === 'string' ? source : source.source;
  const file = typeof source === 'string' ? openWeights(source) : source.weights;
  try {
    const bare = ![...file.tensors.keys()].some((name) => name.startsWith(prefix));
    const strip = (name: string): string => (bare && name.startsWith(prefix) ? name.slice(prefix.length) : name);
    const named = wanted.map((w) => ({ ...w, name: strip(w.name), aliases: w.aliases?.map(strip) }));
    const fresh = named.filter((w) => optional(w.name) && ![w.name, ...(w.aliases ?? [])].some((name) => file.tensors.has(name)));
    fillFrom(
      file,
      folder,
      named.filter((w) => !fresh.includes(w)),
      { strict: false, ignore, small },
    );
    return fresh.map((w) => w.name);
  } finally {
    if (typeof source === 'string') file.close();
  }
}
