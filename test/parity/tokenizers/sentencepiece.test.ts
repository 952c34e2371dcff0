import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { QkvError } from '../../../src/errors.ts';
import { tokenizerFromJson, tokenizerToJson, trainBpe, trainUnigram } from '../../../src/tokenizers/index.ts';
import { sentencePieceModel, tokenizerFromSentencePiece } from '../../../src/tokenizers/sentencepiece.ts';
import { mixedLines } from './lines.ts';

// Made by compare-sentencepiece.ts --golden with the library (0.2); the same script compares 30,000 lines.
const golden = JSON.parse(gunzipSync(readFileSync(new URL('./sentencepiece.golden.json.gz', import.meta.url))).toString()) as {
  lines: string[];
  models: Record<string, { model: string; ids: number[][]; texts: string[] }>;
};
const modelOf = (name: string) => new Uint8Array(Buffer.from(golden.models[name].model, 'base64'));

test.each(Object.keys(golden.models))(
  '%s: ids and texts are the SentencePiece library’s, also after writing and through tokenizer.json',
  (name) => {
    const { ids, texts } = golden.models[name];
    const tokenizer = tokenizerFromSentencePiece(modelOf(name));
    const forms = [
      tokenizer,
      tokenizerFromSentencePiece(sentencePieceModel(tokenizer)),
      tokenizerFromJson(tokenizerToJson(tokenizer)),
    ];
    for (const form of forms) expect(golden.lines.map((line) => Array.from(form.encode(line)))).toEqual(ids);
    golden.lines.forEach((line, i) => {
      if (!ids[i].includes(0) && !line.includes('▁')) expect(tokenizer.decode(ids[i])).toBe(texts[i]);
    });
  },
);

test('a model with bos and eos puts them around a text; control tokens in the text are text', () => {
  const tokenizer = tokenizerFromSentencePiece(modelOf('bpe'), { bos: true, eos: true });
  const plain = Array.from(tokenizer.encode('a b'));
  expect(Array.from(tokenizer.encode('a b', { addSpecialTokens: true }))).toEqual([1, ...plain, 2]);
  expect(tokenizer.encode('<s>')).not.toContain(1);
  expect(tokenizer.encode('<s>', { special: true })).toContain(1);
});

test('a vocabulary trained here is written and read with the same ids; what the library could not cut alike is refused', () => {
  const texts = mixedLines(300, 3);
  const trained = trainUnigram(texts, { vocabSize: 1_200, normalizer: null, byteFallback: true, characterCoverage: 0.98 });
  const reread = tokenizerFromSentencePiece(sentencePieceModel(trained));
  for (const text of ['the weather ', '  a b', 'le mot 你好 𠮷', '']) expect(reread.encode(text)).toEqual(trained.encode(text));
  const nfkc = trainUnigram(texts, { vocabSize: 1_200, characterCoverage: 0.98 });
  expect(() => sentencePieceModel(nfkc)).toThrow(/normalizer: null/);
  expect(() => sentencePieceModel(trainBpe(texts, { vocabSize: 300 }))).toThrow(QkvError);
});

test('damaged models end in a typed error or a tokenizer', () => {
  const bytes = modelOf('unigram-rules-symbols');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat(bytes.length)),
      (changes, cut) => {
        const mutant = bytes.slice(0, cut ?? bytes.length);
        for (const [at, value] of changes) if (at < mutant.length) mutant[at] = value;
        try {
          tokenizerFromSentencePiece(mutant).encode('foobar Ａ e\u0301 \u{20000}');
        } catch (error) {
          expect(error).toBeInstanceOf(QkvError);
        }
      },
    ),
    { numRuns: 400 },
  );
});
