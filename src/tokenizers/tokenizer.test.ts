import fc from 'fast-check';
import { expect, test } from 'vitest';
import { QkvError } from '../errors.ts';
import { byteTokenizer, charTokenizer, decodeStream, describeToken, trainBpe } from './index.ts';
import type { Tokenizer } from './index.ts';

const corpus = ['the cat sat on the mat. 床前明月光，疑是地上霜。 😀👩‍👩‍👧 𠀀𠮷 '.repeat(20)];
/** Byte-level tokenizers: every text has ids and comes back. */
const byteLevel: [string, Tokenizer][] = [
  ['byte', byteTokenizer()],
  ['bpe gpt2', trainBpe(corpus, { vocabSize: 400, pattern: 'gpt2' })],
  ['bpe cjk', trainBpe(corpus, { vocabSize: 400, pattern: 'cjk' })],
];

/** Any text: any UTF-16 units with lone surrogates, any characters, and those that the corpus has merges for. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc
    .array(fc.constantFrom('the ', 'cat', '明月', '光', '😀', '𠀀', '👩‍👩‍👧', ' ', '\n', "'s", '\u0301', '1'), { maxLength: 40 })
    .map((a) => a.join('')),
  fc.array(fc.integer({ min: 0x20000, max: 0x2a6df }), { maxLength: 20 }).map((a) => String.fromCodePoint(...a)),
);

test.each(byteLevel)('%s: decode(encode(x)) = x for every text', (_name, tokenizer) => {
  fc.assert(
    fc.property(anyText, (text) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.replace(/\p{Cs}/gu, '\ufffd'));
    }),
    { numRuns: 2_000 },
  );
});

test.each(byteLevel)('%s: streaming gives whole characters, and the same text', (_name, tokenizer) => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', maxLength: 30 }).filter((text) => !text.includes('\ufffd')),
      (text) => {
        const stream = decodeStream(tokenizer);
        const pieces = Array.from(tokenizer.encode(text), (id) => stream.push(id));
        for (const piece of pieces) expect(piece.includes('\ufffd')).toBe(false);
        expect(pieces.join('')).toBe(text);
        expect(stream.end()).toBe('');
      },
    ),
    { numRuns: 500 },
  );
});

test('streaming any bytes: the pieces joined equal decoding at once, and nothing incomplete is shown before the end', () => {
  const tokenizer = byteTokenizer();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const stream = decodeStream(tokenizer);
      const pieces = Array.from(bytes, (byte) => stream.push(byte));
      expect(pieces.join('') + stream.end()).toBe(tokenizer.decode(bytes));
    }),
    { numRuns: 2_000 },
  );
  const stream = decodeStream(tokenizer);
  expect([0xf0, 0x9f, 0x98].map((byte) => stream.push(byte))).toEqual(['', '', '']);
  expect(stream.end()).toBe('\ufffd');
});

test('lone surrogates become U+FFFD and are counted; pairs are characters', () => {
  let count = 0;
  const onLoneSurrogates = (n: number) => (count += n);
  const tokenizer = byteTokenizer();
  expect(tokenizer.decode(tokenizer.encode('a\ud800b\udc00\ud83d\ude00\udfff', { onLoneSurrogates }))).toBe(
    'a\ufffdb\ufffd😀\ufffd',
  );
  expect(count).toBe(3);
});

test('a byte-order mark, U+FFFD and NUL are characters like others', () => {
  for (const [, tokenizer] of byteLevel) expect(tokenizer.decode(tokenizer.encode('\ufeffa\ufffd\0'))).toBe('\ufeffa\ufffd\0');
});

test('the text of a special token is ordinary text unless asked for', () => {
  const tokenizer = trainBpe(corpus, { vocabSize: 400, specialTokens: ['<|endoftext|>', '<|end|>'] });
  expect([...tokenizer.specialTokens]).toEqual([
    ['<|endoftext|>', 0],
    ['<|end|>', 1],
  ]);
  const text = 'the<|endoftext|>cat';
  const ordinary = tokenizer.encode(text);
  expect(ordinary.includes(0)).toBe(false);
  expect(tokenizer.decode(ordinary)).toBe(text);
  const special = tokenizer.encode(text, { special: true });
  expect(Array.from(special)).toEqual([...tokenizer.encode('the'), 0, ...tokenizer.encode('cat')]);
  expect(tokenizer.decode(special)).toBe(text);
  expect(tokenizer.decode(special, { skipSpecial: true })).toBe('thecat');
  const stream = decodeStream(tokenizer, { skipSpecial: true });
  expect(Array.from(special, (id) => stream.push(id)).join('') + stream.end()).toBe('thecat');
});

test('characters: ids in order of code points, all of them, and no others', () => {
  const tokenizer = charTokenizer('hello 世界😀');
  expect(tokenizer.vocabSize).toBe(8);
  expect(Array.from({ length: 8 }, (_, id) => tokenizer.idToToken(id))).toEqual([' ', 'e', 'h', 'l', 'o', '世', '界', '😀']);
  expect(Array.from(tokenizer.encode('hello😀'))).toEqual([2, 1, 3, 3, 4, 7]);
  expect(tokenizer.decode(tokenizer.encode('世界 hello'))).toBe('世界 hello');
  expect(() => tokenizer.encode('hé')).toThrow(
    expect.objectContaining({ code: 'TOKENIZER', message: expect.stringContaining('U+00E9') }),
  );
  const lenient = charTokenizer('ab', { unk: '<unk>' });
  expect(Array.from(lenient.encode('aéb'))).toEqual([1, 0, 2]);
});

test('an id outside the vocabulary is an error, not a gap', () => {
  const tokenizer = byteTokenizer();
  for (const id of [256, -1, 1.5, Number.NaN]) expect(() => tokenizer.decode([id])).toThrow(QkvError);
});

test('a token as a person reads it: characters, or bytes in brackets, never a broken character', () => {
  const tokenizer = byteTokenizer({ specialTokens: ['<|endoftext|>'] });
  expect(describeToken(tokenizer, 0x41)).toEqual({ id: 0x41, token: 'A', text: 'A', hex: '41', special: false });
  expect(describeToken(tokenizer, 0x20).text).toBe('␣');
  expect(describeToken(tokenizer, 0x0a)).toEqual({ id: 10, token: 'Ċ', text: '⏎', hex: '0a', special: false });
  expect(describeToken(tokenizer, 0).text).toBe('<U+0000>');
  expect(describeToken(tokenizer, 0xe4).text).toBe('<e4>');
  expect(describeToken(tokenizer, 256)).toMatchObject({ text: '<|endoftext|>', special: true });
  const bpe = byteLevel[1][1];
  for (let id = 0; id < bpe.vocabSize; id++) {
    const { text, hex } = describeToken(bpe, id);
    expect(text).not.toContain('\ufffd');
    expect(hex.split(' ')).toHaveLength(bpe.tokenBytes(id).length);
  }
  const replacement = charTokenizer('\ufffd');
  expect(describeToken(replacement, 0).text).toBe('<U+FFFD>');
});
