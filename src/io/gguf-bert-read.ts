// An encoder in a GGUF file as what was published: llama.cpp's `bert`, which has no heads.

import { Bert, type BertConfig } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { Rng } from '../tensor/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { type GgufReader, ggufKey } from './gguf.ts';
import { bertGgufName } from './gguf-bert.ts';
import { ggufFloats, readGgufFloats } from './gguf-floats.ts';
import { tokenizerOfGguf } from './gguf-vocabulary.ts';
import { publishedBertConfig } from './hugging-face-bert.ts';
import { bertStoredAs } from './hugging-face-bert-names.ts';
import type { Published } from './published.ts';
import type { SafetensorsReader } from './safetensors.ts';
import type { TensorEntry } from './safetensors-header.ts';

/** Weights and biases of one block. */
const TENSORS_A_BLOCK = 16;

/** The encoder of a GGUF file that `openGguf` opened. @throws CheckpointError GGUF_KEY, CONFIG */
export function publishedBertGguf(file: GgufReader, path: string): Published {
  const settings = settingsOf(file, path);
  const bert = new Bert(settings, Rng.none);
  const { json, notes } = tokenizerOfGguf(file);
  const padId = file.metadata.get('tokenizer.ggml.padding_token_id')?.value;
  const published: Published = {
    source: path,
    kind: `GGUF ${[...new Set([...file.tensors.values()].map((t) => t.type))].join(' ')}`,
    config: publishedBertConfig('bert', 'base', bert.config, { padId: typeof padId === 'number' ? padId : 0 }),
    configFile: path,
    weights: asPublished(file, path, [...stateDict(bert).keys()]),
    tokenizerJson: json,
    others: [],
    notes,
    close: () => file.close(),
  };
  dispose(bert);
  return published;
}

/** What the keys say must be what the tensors are: a number alone would make a model of any size. */
function settingsOf(file: GgufReader, path: string): BertConfig {
  const fail = (detail: string): never => {
    throw new CheckpointError('CONFIG', path, detail);
  };
  const number = (key: string): number => ggufKey(file, `bert.${key}`, 'number');
  const rows = (name: string, columns?: number): number => {
    const shape = file.tensors.get(name)?.shape ?? fail(`the tensor ${name} is missing`);
    if (columns !== undefined && (shape.length !== 2 || shape[1] !== columns))
      fail(`${name} is [${shape}], expected [… ${columns}]`);
    return shape[0];
  };
  const [dModel, nHead, nLayer] = ['embedding_length', 'attention.head_count', 'block_count'].map(number);
  if (!(dModel > 0 && Number.isSafeInteger(nHead) && nHead > 0 && dModel % nHead === 0))
    fail(`bert.attention.head_count ${nHead} does not divide ${dModel}`);
  if (!(Number.isSafeInteger(nLayer) && nLayer > 0 && nLayer * TENSORS_A_BLOCK <= file.tensors.size))
    fail(`bert.block_count is ${nLayer}, the file has ${file.tensors.size} tensors`);
  if (file.metadata.get('bert.attention.causal')?.value === true) fail('bert.attention.causal is true; BERT is an encoder here');
  const dFF = rows('blk.0.ffn_up.weight', dModel);
  if (number('feed_forward_length') !== dFF) fail(`bert.feed_forward_length is not the ${dFF} rows of blk.0.ffn_up.weight`);
  return {
    vocabSize: rows('token_embd.weight', dModel),
    contextLength: rows('position_embd.weight', dModel),
    ...{ nLayer, nHead, dModel, dFF, pooler: false },
    nSegment: file.tensors.has('token_types.weight') ? rows('token_types.weight', dModel) : 0,
    normEps: Number(number('attention.layer_norm_epsilon').toPrecision(6)), // 1e-12 is kept as the nearest f32
  };
}

/** The tensors under the names of BertModel, in f32; those that are none of ours keep their own name, for the loader to say. */
function asPublished(file: GgufReader, path: string, ours: string[]): SafetensorsReader {
  const origins = new Map(ours.map((name) => [bertGgufName(name), bertStoredAs('bert', 'base', name).name]));
  const tensors = new Map<string, TensorEntry>();
  const theirs = new Map<string, string>();
  let byteOffset = 0;
  for (const [name, { shape }] of file.tensors) {
    const byteLength = 4 * shape.reduce((a, b) => a * b, 1);
    tensors.set(origins.get(name) ?? name, { dtype: 'F32', shape, byteOffset, byteLength });
    theirs.set(origins.get(name) ?? name, name);
    byteOffset += byteLength;
  }
  return ggufFloats(file, path, tensors, (name) => {
    const origin = theirs.get(name);
    return origin === undefined ? undefined : readGgufFloats(file, path, origin);
  });
}
