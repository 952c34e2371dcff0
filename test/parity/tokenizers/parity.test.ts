import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  byteTokenizer,
  charTokenizer,
  splitPatterns,
  tokenizerFromJson,
  tokenizerToJson,
  trainBpe,
  trainWordPiece,
  utf8Bytes,
} from '../../../src/tokenizers/index.ts';
import type { SplitPatternName, Tokenizer } from '../../../src/tokenizers/index.ts';
import { toByteAlphabet } from '../../../src/tokenizers/byte-alphabet.ts';
import { compilePattern } from '../../../src/tokenizers/pattern.ts';
import { mixedLines } from './lines.ts';
import { differences, official } from './official.ts';

const corpus = mixedLines(2_500, 1);
const lines = mixedLines(10_000, 2);

async function expectEqualIds(tokenizer: Tokenizer, cases: readonly string[] = lines) {
  const json = tokenizerToJson(tokenizer);
  const theirs = official.Tokenizer.fromString(json);
  const found = await differences(cases, (line) => tokenizer.encode(line), theirs);
  expect(found.slice(0, 3)).toEqual([]);
  const reread = tokenizerFromJson(json);
  expect((await differences(cases.slice(0, 1_000), (line) => reread.encode(line), theirs)).slice(0, 3)).toEqual([]);
  const ids = cases.slice(0, 1_000).map((line) => Array.from(tokenizer.encode(line)));
  expect(await theirs.decodeBatch(ids, false)).toEqual(ids.map((row) => tokenizer.decode(row)));
}

test.each(Object.keys(splitPatterns) as SplitPatternName[])(
  'byte-level BPE, pattern %s: mixed lines have the ids of the official package',
  async (pattern) => {
    const tokenizer = trainBpe(corpus, { vocabSize: 3_000, pattern, specialTokens: ['<|endoftext|>'] });
    await expectEqualIds(tokenizer, pattern === 'gpt2' || pattern === 'cjk' ? lines : lines.slice(0, 2_000));
  },
);

test('bytes and characters: 10,000 mixed lines have the ids of the official package', async () => {
  await expectEqualIds(byteTokenizer({ specialTokens: ['<|endoftext|>'] }));
  await expectEqualIds(charTokenizer(lines));
  await expectEqualIds(charTokenizer(corpus, { unk: '<unk>' }));
});

/** An empty tokenizer of the official package that cuts by a pattern. */
function officialSplit(pattern: string) {
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return official.Tokenizer.fromString(
    JSON.stringify({
      version: '1.0',
      added_tokens: [],
      pre_tokenizer: { type: 'Sequence', pretokenizers: [split, bytes] },
      model: { type: 'BPE', vocab: {}, merges: [] },
    }),
  );
}

test.each(Object.entries(splitPatterns))('pattern %s cuts mixed lines where Oniguruma cuts them', (_name, pattern) => {
  const theirs = officialSplit(pattern).getPreTokenizer();
  const ours = compilePattern(pattern);
  for (const line of lines.slice(0, 1_000)) {
    const bytes = (line.match(ours) ?? []).map((piece) => toByteAlphabet(utf8Bytes(piece)));
    expect(bytes).toEqual(theirs.preTokenizeString(line).map(([piece]) => piece));
  }
});

test.each(['gpt2', 'cjk'] as const)('5.1.3a training, pattern %s: merges equal those of the official trainer', (pattern) => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-tokenizers-'));
  try {
    // The official trainer reads files by lines, so each text is one line with its newline; without options it wants 30,000 entries,
    // merges from a count of 1 and starts from the characters that occur.
    const texts = corpus.join('\n').split(/(?<=\n)/);
    writeFileSync(join(folder, 'corpus.txt'), texts.join(''));
    const theirs = officialSplit(splitPatterns[pattern]);
    theirs.train([join(folder, 'corpus.txt')]);
    theirs.save(join(folder, 'theirs.json'));
    const expected = JSON.parse(readFileSync(join(folder, 'theirs.json'), 'utf8')).model;
    const ours = JSON.parse(tokenizerToJson(trainBpe(texts, { vocabSize: 30_000, minFrequency: 1, pattern }))).model;
    const merges: string[] = expected.merges.map((merge: string | string[]) =>
      typeof merge === 'string' ? merge : merge.join(' '),
    );
    // Their alphabet may lack bytes that never occur, which leaves room for a few more merges at the end.
    const common = Math.min(merges.length, ours.merges.length);
    expect(common).toBeGreaterThan(8_000);
    const firstDifference = merges.slice(0, common).findIndex((merge, i) => merge !== ours.merges[i]);
    expect(firstDifference).toBe(-1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('5.1.3a training WordPiece: the vocabulary, in order, is that of the official trainer', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-tokenizers-'));
  try {
    writeFileSync(join(folder, 'corpus.txt'), corpus.join('\n'));
    const empty = JSON.parse(tokenizerToJson(trainWordPiece(corpus.slice(0, 50), { vocabSize: 2_000 })));
    empty.added_tokens = [];
    empty.post_processor = null;
    empty.model = { ...empty.model, vocab: {} };
    const theirs = official.Tokenizer.fromString(JSON.stringify(empty));
    theirs.train([join(folder, 'corpus.txt')]);
    theirs.save(join(folder, 'theirs.json'));
    const { vocab } = JSON.parse(readFileSync(join(folder, 'theirs.json'), 'utf8')).model as { vocab: Record<string, number> };
    const expected = Object.entries(vocab)
      .sort((a, b) => a[1] - b[1])
      .map(([token]) => token);
    // The order of its single characters changes from run to run, and ties follow it: ours is given theirs.
    const alphabet = expected.filter((token) => Array.from(token.replace(/^##(?=.)/su, '')).length === 1);
    const special = ['[UNK]', '[CLS]', '[SEP]'];
    const ours = trainWordPiece(corpus, {
      vocabSize: special.length + expected.length,
      specialTokens: special,
      alphabet,
      minFrequency: 1,
    });
    const tokens = Array.from({ length: ours.vocabSize - special.length }, (_, i) => ours.idToToken(i + special.length)!);
    expect(expected.length).toBeGreaterThan(5_000);
    expect(tokens.findIndex((token, i) => token !== expected[i])).toBe(-1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
