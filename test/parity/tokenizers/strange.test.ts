import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { tokenizerFromJson } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';

// Combinations that no published file has, as strangers bring them: the official package's ids and offsets, or a refusal that says why.
const { Tokenizer } = createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers');

const letters = Array.from(new Set(`${mixedLines(400, 51).join('')}▁_<s>`)).filter((c) => c !== '龘');
const vocab = Object.fromEntries(['<unk>', '<s>', '</s>', ...letters].map((token, id) => [token, id]));
const added = (content: string, flags: Record<string, boolean> = {}) => ({
  id: vocab[content] ?? Object.keys(vocab).length,
  content,
  ...{ single_word: false, lstrip: false, rstrip: false, normalized: false, special: false },
  ...flags,
});
const file = (parts: Record<string, unknown>) =>
  JSON.stringify({
    ...{ version: '1.0', added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
    model: { type: 'BPE', vocab, merges: [], unk_token: '<unk>', fuse_unk: false, byte_fallback: false },
    ...parts,
  });
const sequence = (key: string, ...list: unknown[]) => ({ type: 'Sequence', [key]: list });
const metaspace = (prepend_scheme: string) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme, split: true });
const byteLevel = (add_prefix_space: boolean) => ({ type: 'ByteLevel', add_prefix_space, trim_offsets: true, use_regex: true });
const pieces = Object.entries(vocab).map(([token, id]) => [token, -2 - (id % 7)]);
const strip = { type: 'Strip', strip_left: true, strip_right: false };

const strange: [string, Record<string, unknown>][] = [
  ['a newline that takes newlines', { added_tokens: [added('\n', { rstrip: true })] }],
  ['a newline that takes blanks on both sides', { added_tokens: [added('\n', { lstrip: true, rstrip: true })] }],
  ['a blank before the word, and blanks around', { added_tokens: [added(' a', { lstrip: true, rstrip: true })] }],
  ['whole words only', { added_tokens: [added('a', { single_word: true, rstrip: true })] }],
  ['blanks gone before the first word’s mark', { normalizer: strip, pre_tokenizer: metaspace('first') }],
  [
    'a first character that becomes several',
    {
      normalizer: { type: 'NFKC' },
      pre_tokenizer: sequence('pretokenizers', { type: 'Punctuation', behavior: 'MergedWithNext' }, metaspace('first')),
    },
  ],
  [
    'two marks at the start',
    { pre_tokenizer: sequence('pretokenizers', metaspace('always'), { type: 'Whitespace' }, metaspace('first')) },
  ],
  [
    'a first character as bytes',
    {
      pre_tokenizer: sequence(
        'pretokenizers',
        { ...byteLevel(false), use_regex: false },
        { type: 'Whitespace' },
        metaspace('first'),
      ),
    },
  ],
  ['marks in canonical order', { normalizer: { type: 'NFD' } }],
  [
    'word characters of Latin 1',
    { pre_tokenizer: { type: 'Split', pattern: { Regex: '\\w+' }, behavior: 'Removed', invert: false } },
  ],
  ['half-width kana that compose', { normalizer: { type: 'NFKC' } }],
  ['half-width kana that do not', { normalizer: { type: 'NFKD' } }],
  [
    'offsets trimmed twice, and the blanks of an added token',
    {
      added_tokens: [added('a', { lstrip: true, rstrip: true })],
      post_processor: sequence('processors', byteLevel(false), {
        type: 'RobertaProcessing',
        ...{ sep: ['</s>', 2], cls: ['<s>', 1], trim_offsets: true, add_prefix_space: true },
      }),
    },
  ],
  ['the unknown token’s own text', { model: { type: 'Unigram', unk_id: 2, vocab: pieces, byte_fallback: false } }],
  [
    'a word as long as a word may be, in characters',
    {
      pre_tokenizer: { type: 'Whitespace' },
      model: {
        ...{ type: 'WordPiece', unk_token: '<unk>', continuing_subword_prefix: '##', max_input_chars_per_word: 2 },
        vocab: { '<unk>': 0, '<s>': 1, '</s>': 2, 𠀀: 3, '##𠀀': 4, a: 5, '##a': 6 },
      },
    },
  ],
  [
    'marks of the end of a word',
    {
      model: {
        ...{ type: 'BPE', merges: [], unk_token: '<unk>', fuse_unk: true, end_of_word_suffix: '_' },
        vocab: { ...vocab, __: Object.keys(vocab).length },
      },
    },
  ],
];

const texts = [
  ...[
    '',
    ' ',
    '\n\n',
    ' \n \n ',
    '  a',
    ' a a',
    ' a  a ',
    'a\n\nb',
    ' ▁a',
    '…',
    '½ ½',
    '#',
    '</s>',
    'ｶﾞ',
    'ｶﾞｷﾞ',
    'é\u0f71',
    '龘__',
    '龘 龘_',
    '𠀀𠀀 𠀀𠀀𠀀 aa aaa',
  ],
  ...mixedLines(250, 52),
];

test.each(strange)('%s: ids and offsets are the official package’s', async (_, parts) => {
  const json = file(parts);
  const [ours, theirs] = [tokenizerFromJson(json), Tokenizer.fromString(json)];
  for (const text of texts) {
    const expected = await theirs.encode(text, null, { addSpecialTokens: true });
    const { ids, offsets } = ours.encodeWithOffsets(text, { special: true, addSpecialTokens: true, unit: 'character' });
    expect([text, Array.from(ids)]).toEqual([text, expected.getIds()]);
    expect([text, Array.from(ours.encode(text, { special: true, addSpecialTokens: true }))]).toEqual([text, expected.getIds()]);
    expect([text, Array.from(offsets)]).toEqual([text, expected.getOffsets().flat()]);
  }
});

const replace = (text: string) => ({ type: 'Replace', pattern: { String: text }, content: ' ' });
const stripped = (start: number) => ({ type: 'Strip', content: ' ', start, stop: 0 });
const [fuse, bytes] = [{ type: 'Fuse' }, { type: 'ByteFallback' }];

test.each([
  ['fuse, then one character replaced', [fuse, replace('▁'), stripped(1)]],
  ['one character replaced, then fuse', [replace('▁'), fuse, stripped(1)]],
  ['byte level, then a blank stripped', [byteLevel(false), stripped(1)]],
])('decoder %s: texts are the official package’s', async (_, decoders) => {
  const json = file({ decoder: sequence('decoders', ...decoders) });
  const [ours, theirs] = [tokenizerFromJson(json), Tokenizer.fromString(json)];
  for (const text of ['▁▁a', ' a', '▁', 'a▁b', '', ...mixedLines(100, 53)]) {
    const ids = Array.from(ours.encode(text));
    expect(ours.decode(ids)).toBe(await theirs.decode(ids, false));
  }
});

test.each([{ Regex: 'a|' }, { Regex: 'x*' }, { Regex: '^' }, { Regex: '(?=a)' }, { String: '' }])(
  'a pattern that may match nothing is refused: %j',
  (pattern) => {
    const why = /matches the empty text/;
    expect(() => tokenizerFromJson(file({ normalizer: { type: 'Replace', pattern, content: 'x' } }))).toThrow(why);
    expect(() =>
      tokenizerFromJson(file({ pre_tokenizer: { type: 'Split', pattern, behavior: 'Isolated', invert: false } })),
    ).toThrow(why);
  },
);

test.each([
  [fuse, replace('ab')],
  [fuse, stripped(2)],
  [fuse, { type: 'WordPiece', prefix: '##', cleanup: true }],
  [fuse, bytes],
  [bytes, replace('a')],
  [bytes, stripped(1)],
  [byteLevel(false), metaspace('always')],
  [byteLevel(false), byteLevel(false)],
])('decoders that look across tokens are refused: %j, %j', (first, second) => {
  expect(() => tokenizerFromJson(file({ decoder: sequence('decoders', first, second) }))).toThrow(/sees more than one token/);
});
