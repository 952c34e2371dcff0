// A decoder of ours as a GGUF file for llama.cpp and what is built on it.

import type { Decoder } from '../models/index.ts';
import { stateDict } from '../nn/index.ts';
import type { GgufValue } from './gguf-head.ts';
import { type GgufPart, type OurTensors, toGgufTensors } from './gguf-layout.ts';
import { architectureOf, type DecoderShape, ggufKeys, ropeFactors } from './gguf-models.ts';
import { ggufTypes, quantize, type WritableType } from './gguf-quant.ts';
import { ggufTokenizer, type SpecialIds } from './gguf-tokenizer.ts';
import { type GgufTensorToWrite, writeGguf } from './gguf-write.ts';

/** general.file_type: what most of the matrices are. */
const fileTypes: Record<WritableType, number> = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, Q4_K: 14, BF16: 32 };
/** What a matrix becomes whose rows are no whole blocks, one after the other. */
const fallbacks: Partial<Record<WritableType, WritableType>> = { Q4_K: 'Q4_0', Q4_0: 'F16', Q8_0: 'F16' };

export interface GgufToSave {
  model: Decoder;
  settings: DecoderShape;
  /** The type of the matrices; vectors and GPT-2's positions stay F32. */
  type: WritableType;
  /** tokenizer.json's text. */
  tokenizerJson?: string;
  ids?: SpecialIds;
  name?: string;
  chatTemplate?: string;
}

/**
 * Writes the model at `path`: metadata, vocabulary and tensors in llama.cpp's names and layouts, one tensor in memory at a time.
 * @returns the architecture, how many tensors have which type, and what a person should know
 * @throws CheckpointError CONFIG for a model that llama.cpp does not compute, TOKENIZER for a tokenizer that it does not have
 */
export function saveGguf(path: string, { model, settings, type, tokenizerJson, ids = {}, name, chatTemplate }: GgufToSave) {
  const notes: string[] = [];
  const architecture = architectureOf(settings);
  const ours: OurTensors = new Map(
    [...stateDict(model)].map(([key, t]) => [key, { shape: t.shape, values: () => t.readSync() as Float32Array }]),
  );
  const parts = toGgufTensors(architecture, settings, ours);
  const factors = ropeFactors(settings);
  if (factors) parts.push({ name: 'rope_freqs.weight', shape: [factors.length], values: () => factors });
  const headName = parts.some((part) => part.name === 'output.weight') ? 'output.weight' : 'token_embd.weight';
  const tensors = packed(parts, type, headName, notes);
  const counts: Partial<Record<WritableType, number>> = {};
  for (const { type: as } of tensors) counts[as as WritableType] = (counts[as as WritableType] ?? 0) + 1;
  const keys: [string, GgufValue][] = [
    ...generalKeys(architecture, name, type),
    ...ggufKeys(architecture, settings, notes),
    ...(tokenizerJson === undefined
      ? noTokenizer(settings.vocabSize)
      : ggufTokenizer(tokenizerJson, settings.vocabSize, ids, notes)),
  ];
  if (chatTemplate !== undefined) keys.push(['tokenizer.chat_template', { type: 'string', value: chatTemplate }]);
  writeGguf(path, keys, tensors);
  return { architecture, counts, notes };
}

export const generalKeys = (architecture: string, name: string | undefined, type: WritableType): [string, GgufValue][] => [
  ['general.architecture', { type: 'string', value: architecture }],
  ['general.name', { type: 'string', value: name ?? 'qkv' }],
  ['general.file_type', { type: 'u32', value: fileTypes[type] }],
  ['general.quantization_version', { type: 'u32', value: 2 }],
];

/** The tensors as they are written, each in its type; `notes` gains which could not have the one asked for. */
export function packed(parts: readonly GgufPart[], type: WritableType, headName: string, notes: string[]): GgufTensorToWrite[] {
  const others = new Map<WritableType, number>();
  const tensors = parts.map((part): GgufTensorToWrite => {
    const as = typeOf(part, type, headName);
    if (as !== type && as !== 'F32' && !(as === 'Q8_0' && type.startsWith('Q4'))) others.set(as, (others.get(as) ?? 0) + 1);
    return { name: part.name, type: as, shape: part.shape, bytes: () => quantize(as, part.values()) };
  });
  for (const [as, n] of others)
    notes.push(`${n} matrices are ${as.toLowerCase()}: their rows are no whole blocks of ${type.toLowerCase()}`);
  return tensors;
}

/** llama.cpp runs such a file on ids alone. */
export const noTokenizer = (vocabSize: number): [string, GgufValue][] => [
  ['tokenizer.ggml.model', { type: 'string', value: 'none' }],
  ['general.vocab_size', { type: 'u32', value: vocabSize }],
];

/** Vectors, positions, segments and routers as they are; the head, on which every logit depends, in eight bits where the others have four. */
function typeOf({ name, shape }: GgufPart, type: WritableType, headName: string): WritableType {
  if (shape.length < 2 || /^(position_embd|token_types|.*ffn_gate_inp)\.weight$/.test(name)) return 'F32';
  let as: WritableType = name === headName && (type === 'Q4_0' || type === 'Q4_K') ? 'Q8_0' : type;
  while (shape[shape.length - 1] % ggufTypes[as].values !== 0) as = fallbacks[as]!;
  return as;
}
