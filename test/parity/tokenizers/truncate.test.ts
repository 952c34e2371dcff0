import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { QkvError } from '../../../src/errors.ts';
import { tokenizerFromJson, tokenizerToJson, trainWordPiece } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';

const { Tokenizer } = createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers');
const base = JSON.parse(tokenizerToJson(trainWordPiece(mixedLines(400, 61), { vocabSize: 1_500, limitAlphabet: 600 })));
const lines = ['', ...mixedLines(60, 62)];
const pad = { pad_id: 0, pad_type_id: 0, pad_token: '[PAD]' };

test.each([
  [
    'cut right, pad to the longest',
    { direction: 'Right', max_length: 12, strategy: 'LongestFirst', stride: 0 },
    { ...pad, strategy: 'BatchLongest', direction: 'Right', pad_to_multiple_of: null },
  ],
  [
    'cut left, pad left to a multiple',
    { direction: 'Left', max_length: 9, strategy: 'OnlyFirst', stride: 2 },
    { ...pad, strategy: 'BatchLongest', direction: 'Left', pad_to_multiple_of: 8 },
  ],
  ['not cut, fixed length', null, { ...pad, strategy: { Fixed: 20 }, direction: 'Right', pad_to_multiple_of: null }],
  ['cut, not padded', { direction: 'Right', max_length: 3, strategy: 'LongestFirst', stride: 0 }, null],
])('%s: ids and attention mask are the official package’s, with and without the frame', async (_name, truncation, padding) => {
  const json = JSON.stringify({ ...base, truncation, padding });
  const ours = tokenizerFromJson(json);
  const theirs = Tokenizer.fromString(json);
  for (const addSpecialTokens of [true, false]) {
    const expected = await theirs.encodeBatch(lines, { addSpecialTokens });
    const rows = ours.encodeBatch(lines, { special: true, addSpecialTokens });
    expect(rows.map((row) => Array.from(row.ids))).toEqual(expected.map((e) => e.getIds()));
    expect(rows.map((row) => Array.from(row.attentionMask))).toEqual(expected.map((e) => e.getAttentionMask()));
  }
  const written = JSON.parse(tokenizerToJson(ours));
  expect([written.truncation, written.padding]).toEqual([truncation, padding]);
});

test('rows that no memory holds are refused', () => {
  for (const padding of [
    { ...pad, strategy: { Fixed: 1e9 } },
    { ...pad, strategy: 'BatchLongest', pad_to_multiple_of: 1e9 },
    { ...pad, strategy: 'x' },
  ])
    expect(() => tokenizerFromJson({ ...base, padding })).toThrow(QkvError);
});
