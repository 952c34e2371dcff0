import fc from 'fast-check';
import { expect, test } from 'vitest';
import { QkvError } from '../errors.ts';
import { byteTokenizer, charTokenizer, decodeStream, tokenizerFromJson, tokenizerToJson, trainBpe } from './index.ts';

const trained = () =>
  trainBpe(['to be or not to be, that is the question. 生存还是毁灭 __proto__ 7 10 '.repeat(9)], {
    vocabSize: 380,
    minFrequency: 1,
    pattern: 'cjk',
    specialTokens: ['<|endoftext|>', '__proto__', '7'],
  });

test('written and read again: the same file, ids and texts', () => {
  for (const tokenizer of [
    trained(),
    byteTokenizer({ specialTokens: ['<s>'] }),
    charTokenizer('a\n"\\ 中😀__proto__7', { unk: '<unk>' }),
  ]) {
    const json = tokenizerToJson(tokenizer);
    const again = tokenizerFromJson(json);
    expect(tokenizerToJson(again)).toBe(json);
    expect(again.kind).toBe(tokenizer.kind);
    expect(again.vocabSize).toBe(tokenizer.vocabSize);
    expect([...again.specialTokens]).toEqual([...tokenizer.specialTokens]);
    for (let id = 0; id < again.vocabSize; id++) expect(again.idToToken(id)).toBe(tokenizer.idToToken(id));
    expect(again.encode('a7 a')).toEqual(tokenizer.encode('a7 a'));
  }
  expect(tokenizerFromJson(tokenizerToJson(trained())).tokenToId('__proto__')).toBe(1);
});

/** A small WordPiece and a small Unigram file, for the paths that only reading has. */
const bert = {
  version: '1.0',
  added_tokens: [
    { id: 0, content: '[UNK]', special: true },
    { id: 1, content: '[CLS]', special: true },
    { id: 2, content: '[SEP]', special: true },
  ],
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
      { Sequence: { id: 'B', type_id: 1 } },
      { SpecialToken: { id: '[SEP]', type_id: 1 } },
    ],
    special_tokens: {
      '[CLS]': { id: '[CLS]', ids: [1], tokens: ['[CLS]'] },
      '[SEP]': { id: '[SEP]', ids: [2], tokens: ['[SEP]'] },
    },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    vocab: { '[UNK]': 0, '[CLS]': 1, '[SEP]': 2, un: 3, '##aff': 4, '##able': 5, 中: 6, '.': 7, a: 8 },
  },
};

test('BERT: longest match first, frames for one text and for a pair, words joined again', () => {
  const tokenizer = tokenizerFromJson(bert);
  expect(tokenizer.kind).toBe('wordpiece');
  expect(Array.from(tokenizer.encode('Ünaffable 中国.'))).toEqual([3, 4, 5, 6, 0, 7]);
  expect(Array.from(tokenizer.encode('a', { addSpecialTokens: true }))).toEqual([1, 8, 2]);
  const { ids, typeIds } = tokenizer.encodePair('a', '中.');
  expect(Array.from(ids)).toEqual([1, 8, 2, 6, 7, 2]);
  expect(Array.from(typeIds)).toEqual([0, 0, 0, 1, 1, 1]);
  expect(tokenizer.decode([3, 4, 5, 8, 7])).toBe('unaffable a.');
  const stream = decodeStream(tokenizer, { skipSpecial: true });
  expect([1, 3, 4, 5, 8, 7, 2].map((id) => stream.push(id)).join('')).toBe('unaffable a.');
});

test('Unigram: the most likely cut, unknown runs as one token, a blank before the first word dropped again', () => {
  const tokenizer = tokenizerFromJson({
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: [
        ['<unk>', 0],
        ['▁', -2],
        ['a', -2],
        ['b', -2],
        ['ab', -3],
        ['▁a', -3.5],
        ['bc', -1],
      ],
    },
  });
  // ▁|ab = −5, ▁a|b = −5.5, ▁|a|b = −6.
  expect(Array.from(tokenizer.encode('ab'), (id) => tokenizer.idToToken(id))).toEqual(['▁', 'ab']);
  expect(Array.from(tokenizer.encode('abc'), (id) => tokenizer.idToToken(id))).toEqual(['▁a', 'bc']);
  expect(Array.from(tokenizer.encode('aéüb'))).toEqual([5, 0, 3]);
  expect(tokenizer.decode(tokenizer.encode('ab abc'))).toBe('ab abc');
});

test('added tokens: longest first, blanks taken along, single words only', () => {
  const json = JSON.parse(tokenizerToJson(charTokenizer('abcdefgh <>[]')));
  const n = Object.keys(json.model.vocab).length;
  const token = (id: number, content: string, more = {}) => ({ id: n + id, content, special: false, normalized: false, ...more });
  json.added_tokens = [
    token(0, '<a>'),
    token(1, '<a>b'),
    token(2, '[]', { lstrip: true, rstrip: true }),
    token(3, 'ab', { single_word: true }),
  ];
  const tokenizer = tokenizerFromJson(json);
  const tokens = (text: string) => Array.from(tokenizer.encode(text), (id) => tokenizer.idToToken(id));
  expect(tokens('c<a>bc<a>c')).toEqual(['c', '<a>b', 'c', '<a>', 'c']);
  expect(tokens('c  []  c')).toEqual(['c', '[]', 'c']);
  expect(tokens('ab abc cab')).toEqual(['ab', ' ', 'a', 'b', 'c', ' ', 'c', 'a', 'b']);
});

const refused = (json: unknown) => {
  let error: unknown;
  try {
    tokenizerFromJson(json);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(QkvError);
  expect((error as QkvError).code).toBe('TOKENIZER');
  return (error as Error).message;
};

const with_ = (change: Record<string, unknown>) => ({ model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] }, ...change });

test.each([
  ['not JSON', '{"model":'],
  ['null', null],
  ['a list', []],
  ['no model', {}],
  ['an unknown model', with_({ model: { type: 'Magic', vocab: {} } })],
  ['an empty vocabulary', with_({ model: { type: 'BPE', vocab: {}, merges: [] } })],
  ['an id that is no integer', with_({ model: { type: 'BPE', vocab: { a: 0.5 }, merges: [] } })],
  ['an id of 10⁹, which would need as many rows', with_({ model: { type: 'BPE', vocab: { a: 1e9 }, merges: [] } })],
  ['two tokens with one id', with_({ model: { type: 'BPE', vocab: { a: 0, b: 0 }, merges: [] } })],
  ['a merge with an absent token', with_({ model: { type: 'BPE', vocab: { a: 0 }, merges: ['a z'] } })],
  ['a merge of three', with_({ model: { type: 'BPE', vocab: { a: 0 }, merges: ['a a a'] } })],
  ['random merges', with_({ model: { type: 'BPE', vocab: { a: 0 }, merges: [], dropout: 0.1 } })],
  ['an unknown token that is absent', with_({ model: { type: 'BPE', vocab: { a: 0 }, merges: [], unk_token: 'x' } })],
  ['10⁷ added tokens', with_({ added_tokens: { length: 1e7 } })],
  ['too many added tokens', with_({ added_tokens: new Array(200_000).fill({ id: 5, content: 'x' }) })],
  ['an added token that is empty', with_({ added_tokens: [{ id: 5, content: '' }] })],
  ['an added token with two ids', with_({ added_tokens: [{ id: 5, content: 'a' }] })],
  [
    'two added tokens with one id',
    with_({
      added_tokens: [
        { id: 5, content: 'x' },
        { id: 5, content: 'y' },
      ],
    }),
  ],
  [
    'a pattern that takes for ever',
    with_({ pre_tokenizer: { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated' } }),
  ],
  [
    'a replacement pattern that takes for ever',
    with_({ normalizer: { type: 'Replace', pattern: { Regex: '(.*)*x' }, content: '' } }),
  ],
  ['an unknown normalizer', with_({ normalizer: { type: 'Evil' } })],
  ['an unknown pre-tokenizer', with_({ pre_tokenizer: { type: 'constructor' } })],
  ['an unknown decoder', with_({ decoder: { type: 'CTC' } })],
  [
    'a template that names an absent token',
    with_({
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: 'toString', type_id: 0 } }],
        pair: [],
        special_tokens: {},
      },
    }),
  ],
  ['a charsmap that is cut short', with_({ normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAAEA==' } })],
  ['a Unigram score that is no number', with_({ model: { type: 'Unigram', unk_id: 0, vocab: [['a', null]] } })],
  ['a Unigram unknown token outside', with_({ model: { type: 'Unigram', unk_id: 9, vocab: [['a', -1]] } })],
])('refuses %s with a typed error', (_name, json) => {
  expect(refused(json).length).toBeGreaterThan(10);
});

test('refuses sequences nested without end', () => {
  let normalizer: unknown = { type: 'NFC' };
  for (let i = 0; i < 50; i++) normalizer = { type: 'Sequence', normalizers: [normalizer] };
  expect(refused(with_({ normalizer }))).toContain('inside each other');
});

test('mutated files: read, or refused with a typed error, and then usable', () => {
  const original = JSON.stringify(JSON.parse(tokenizerToJson(trained())), (key, value) =>
    key === 'merges' ? value.slice(0, 5) : value,
  );
  const sources = [original, JSON.stringify(bert)];
  fc.assert(
    fc.property(
      fc.nat(1),
      fc.nat(),
      fc.nat(),
      fc.constantFrom('', '0', 'null', '-1', '"', '{}', '[]', '1e999', '\\', 'true'),
      (which, at, cut, patch) => {
        const source = sources[which];
        const start = at % source.length;
        const mutant = source.slice(0, start) + patch + source.slice(start + (cut % 12));
        try {
          const tokenizer = tokenizerFromJson(mutant);
          tokenizer.decode(tokenizer.encode('to be, or 生存', { addSpecialTokens: true }));
        } catch (error) {
          if (!(error instanceof QkvError)) throw error;
        }
      },
    ),
    { numRuns: 500 },
  );
});
