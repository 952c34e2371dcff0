import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Bert, type BertConfig, type BertVariant, bertVariants } from '../models/index.ts';
import { dispose } from '../nn/index.ts';
import { Rng, scope } from '../tensor/index.ts';
import { tokenizerFromJson, tokenizerToJson, trainWordPiece } from '../tokenizers/index.ts';
import { parseGguf } from './gguf.ts';
import { saveBertGguf } from './gguf-bert.ts';
import { publishedBertGguf } from './gguf-bert-read.ts';
import { loadEncoder } from './hugging-face-bert.ts';
import { openPublished } from './published.ts';

// llama.cpp itself reads what is written here: test/engines/gguf-bert.test.ts.

const home = mkdtempSync(join(tmpdir(), 'qkv-gguf-bert-'));
afterAll(() => rmSync(home, { recursive: true }));
const path = join(home, 'm.gguf');
const text = 'The quick brown foxes jump over the lazy dog; 敏捷的狐狸跳过了懒狗。 Attention is all you need!';
const tokenizer = (lowercase: boolean) => trainWordPiece([text.repeat(3)], { vocabSize: 120, lowercase });
const size = { nLayer: 2, nHead: 3, dModel: 12, dFF: 20, contextLength: 16 };

test.each<[BertVariant, lowercase: boolean]>([
  ['bert', true],
  ['bert', false],
  ['roberta', true],
  ['distilbert', true],
])('%s comes back from GGUF: the same hidden states, the same ids (lower case %s)', async (variant, lowercase) => {
  const pieces = tokenizer(lowercase);
  const shape: BertConfig = { ...size, ...bertVariants[variant], vocabSize: pieces.vocabSize, pooler: false };
  const bert = new Bert(shape, new Rng(3));
  saveBertGguf(path, { bert, variant, type: 'F32', tokenizerJson: tokenizerToJson(pieces) });
  const published = await openPublished(path);
  const { model, fresh, task } = loadEncoder(published);
  published.close();
  const ids = Int32Array.from([2, 7, 11, 5, 3, 19, 23]);
  const hidden = (m: Bert) => {
    using _ = scope();
    return m
      .hidden(ids, [1, 7], {
        segments: Int32Array.from(shape.nSegment === undefined ? [0, 0, 0, 1, 1, 1, 1] : new Int32Array(7)),
      })
      .readSync();
  };
  expect(task).toBe('base');
  expect(hidden(model as Bert)).toEqual(hidden(bert));
  expect(fresh).toEqual(['bert.pooler.dense.weight', 'bert.pooler.dense.bias']); // GGUF has no place for it
  const read = tokenizerFromJson(published.tokenizerJson!);
  for (const addSpecialTokens of [false, true])
    expect(read.encode(text, { addSpecialTokens })).toEqual(pieces.encode(text, { addSpecialTokens }));
  expect(read.decode(read.encode(text))).toBe(pieces.decode(pieces.encode(text)));
  dispose(bert);
  dispose(model);
});

const bert = new Bert({ ...size, vocabSize: 30, pooler: false }, new Rng(1));
saveBertGguf(path, { bert, variant: 'bert', type: 'F32' });
dispose(bert);
const good = readFileSync(path);
test.each<[key: string, value: number | boolean, words: string]>([
  ['bert.block_count', 1e9, 'bert.block_count is 1000000000, the file has 37 tensors'],
  ['bert.block_count', 0, 'bert.block_count is 0'],
  ['bert.attention.head_count', 5, 'head_count 5 does not divide 12'],
  ['bert.embedding_length', 24, 'expected [… 24]'],
  ['bert.feed_forward_length', 1e9, 'bert.feed_forward_length is not the 20 rows'],
  ['bert.attention.causal', true, 'bert.attention.causal is true'],
])('%s of %s is held against the tensors', (key, value, words) => {
  const changed = parseGguf(good, 'm.gguf');
  changed.metadata.set(key, typeof value === 'boolean' ? { type: 'bool', value } : { type: 'u32', value });
  expect(() => publishedBertGguf(changed, 'm.gguf')).toThrow(words);
});
