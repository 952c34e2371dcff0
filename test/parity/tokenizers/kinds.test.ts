import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tokenizerFromJson, tokenizerToJson, trainWordPiece } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';
import { differences, official } from './official.ts';

// The kinds of tokenizer.json that published models use, each trained by the official package on generated text and read by both.
const corpus = mixedLines(1_500, 3);
const lines = mixedLines(4_000, 4);

/** Have the official package train `file.model` on the corpus with the defaults of its kind; returns the file it saves. */
function trainOfficially(file: Record<string, unknown>): string {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-tokenizers-'));
  try {
    writeFileSync(join(folder, 'corpus.txt'), corpus.join('\n'));
    const theirs = official.Tokenizer.fromString(JSON.stringify({ version: '1.0', added_tokens: [], ...file }));
    theirs.train([join(folder, 'corpus.txt')]);
    theirs.save(join(folder, 'tokenizer.json'));
    return readFileSync(join(folder, 'tokenizer.json'), 'utf8');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };

/** Kinds that are trained; [name, file]. */
const trained: [string, Record<string, unknown>][] = [
  [
    'Unigram with Metaspace (T5)',
    {
      normalizer: { type: 'NFKC' },
      pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
      decoder: metaspace,
      model: { type: 'Unigram', unk_id: null, vocab: [] },
    },
  ],
  [
    'WordLevel with Whitespace',
    { pre_tokenizer: { type: 'Whitespace' }, model: { type: 'WordLevel', vocab: { '<unk>': 0 }, unk_token: '<unk>' } },
  ],
];

test.each(trained)('%s: ids and texts equal the official package', async (_name, file) => {
  const json = JSON.parse(trainOfficially(file));
  if (json.model.type === 'Unigram') {
    // The trainer leaves no unknown token; published files have one.
    json.model.vocab.unshift(['<unk>', 0]);
    json.model.unk_id = 0;
  } else json.model.vocab['<unk>'] ??= Object.keys(json.model.vocab).length;
  await expectEqual(JSON.stringify(json));
});

test.each([
  ['uncased', true],
  ['cased, Chinese', false],
])('WordPiece (BERT %s): ids and texts equal the official package', async (_name, lowercase) => {
  await expectEqual(tokenizerToJson(trainWordPiece(corpus, { vocabSize: 2_500, lowercase, limitAlphabet: 900 })), true);
});

test('BPE on characters with byte fallback (Llama 2): ids and texts equal the official package', async () => {
  const json = JSON.parse(
    trainOfficially({ normalizer: null, pre_tokenizer: metaspace, model: { type: 'BPE', vocab: {}, merges: [] } }),
  );
  const ordered = Object.entries(json.model.vocab as Record<string, number>).sort((a, b) => a[1] - b[1]);
  // Half of the characters go, so that bytes are needed, and the merges with them.
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const gone = new Set(
    ordered
      .map(([token]) => token)
      .filter((token) => Array.from(token).some((c) => c.codePointAt(0)! > 0x7f && c.codePointAt(0)! % 2 && c !== '▁')),
  );
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...ordered.map(([token]) => token).filter((token) => !gone.has(token))];
  json.model.vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  json.model.merges = json.model.merges.filter(
    (merge: string[]) => !gone.has(merge.join('')) && !merge.some((part) => gone.has(part)),
  );
  json.model.unk_token = '<unk>';
  json.model.fuse_unk = true;
  json.model.byte_fallback = true;
  json.added_tokens = ['<unk>', '<s>', '</s>'].map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  json.normalizer = {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  };
  json.pre_tokenizer = null;
  json.decoder = {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  };
  await expectEqual(JSON.stringify(json));
});

async function expectEqual(json: string, addSpecialTokens = false) {
  const ours = tokenizerFromJson(json);
  const theirs = official.Tokenizer.fromString(json);
  const found = await differences(
    lines,
    (line) => ours.encode(line, { special: true, addSpecialTokens }),
    theirs,
    addSpecialTokens,
  );
  // Their reader of numbers may be off by the last bit of a log probability (serde_json), and so may choose the other of two cuts that are as good.
  const { vocab } = JSON.parse(json).model as { vocab: [string, number][] };
  const score = (ids: readonly number[]) => ids.reduce((sum, id) => sum + vocab[id][1], 0);
  const differ = Array.isArray(vocab) ? found.filter((f) => Math.abs(score(f.ours) - score(f.theirs)) > 1e-9) : found;
  expect(
    differ.slice(0, 3).map(({ line, ours: a, theirs: b }) => ({
      line,
      ours: a.map((id) => ours.idToToken(id)),
      theirs: b.map((id) => ours.idToToken(id)),
    })),
  ).toEqual([]);
  const ids = lines.slice(0, 1_000).map((line) => Array.from(ours.encode(line)));
  const texts = await theirs.decodeBatch(ids, false);
  expect(ids.map((row) => ours.decode(row)).findIndex((text, i) => text !== texts[i])).toBe(-1);
}
