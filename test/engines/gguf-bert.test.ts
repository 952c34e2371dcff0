// Encoders as GGUF, run by llama.cpp: the ids of a text, and the mean of its hidden states.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { saveBertGguf } from '../../src/io/gguf-bert.ts';
import { Bert, type BertVariant, bertVariants, meanPool } from '../../src/models/index.ts';
import { dispose } from '../../src/nn/index.ts';
import { Rng, scope } from '../../src/tensor/index.ts';
import { tokenizerFromJson, tokenizerToJson, trainBpe, trainWordPiece } from '../../src/tokenizers/index.ts';
import { embedWithLlama } from './llama-cpp.ts';
import { someText, spread } from './models.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-bert-gguf-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'm.gguf');
const pieces = trainWordPiece([someText()], { vocabSize: 200, lowercase: true });
const texts = ['The decoder looks back at 第42句, said the text.', 'attention', 'writes the next word, zq!'];

/** RoBERTa's: BPE on bytes, <s> … </s> around a text. */
function roberta() {
  const plain = tokenizerToJson(trainBpe([someText()], { vocabSize: 384, pattern: 'gpt2', specialTokens: ['<s>', '</s>'] }));
  const json = JSON.parse(plain) as { added_tokens: { id: number; content: string }[] } & Record<string, unknown>;
  const id = (token: string) => json.added_tokens.find((t) => t.content === token)!.id;
  const special = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const frame = [special('<s>'), { Sequence: { id: 'A', type_id: 0 } }, special('</s>')];
  const tokens = Object.fromEntries(['<s>', '</s>'].map((t) => [t, { id: t, ids: [id(t)], tokens: [t] }]));
  json['post_processor'] = { type: 'TemplateProcessing', single: frame, pair: frame, special_tokens: tokens };
  return tokenizerFromJson(JSON.stringify(json));
}

test.each([
  ['bert', 'F32', 1e-3],
  ['distilbert', 'F32', 1e-3],
  ['roberta', 'F32', 1e-3],
  ['bert', 'F16', 2e-3],
  ['bert', 'Q8_0', 2e-2],
] as const)('%s in %s: ids and vectors', async (variant: BertVariant, type, far) => {
  const tokenizer = variant === 'roberta' ? roberta() : pieces;
  const size = { vocabSize: tokenizer.vocabSize, nLayer: 3, nHead: 4, dModel: 64, dFF: 96, contextLength: 64 };
  const bert = new Bert({ ...size, ...bertVariants[variant], pooler: false }, new Rng(1));
  spread(bert);
  saveBertGguf(path, { bert, variant, type, tokenizerJson: tokenizerToJson(tokenizer) });
  const theirs = await embedWithLlama(path, texts);
  using _ = scope();
  let worst = 0;
  for (const [i, text] of texts.entries()) {
    const ids = Int32Array.from(tokenizer.encode(text, { addSpecialTokens: true }));
    expect(theirs[i].ids).toEqual([...tokenizer.encode(text)]);
    const ours = meanPool(bert.hidden(ids, [1, ids.length]), [ids.length]).readSync();
    expect(theirs[i].vector).toHaveLength(64);
    const length = Math.hypot(...theirs[i].vector); // ours has the length 1
    for (const [d, x] of theirs[i].vector.entries()) worst = Math.max(worst, Math.abs(x / length - ours[d]));
  }
  console.log(`${variant} ${type}: largest difference of a vector ${worst.toExponential(1)}`);
  expect(worst).toBeLessThan(far); // ggml takes GELU from a table of half-precision numbers
  dispose(bert);
});
