import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Bpe } from './bpe.ts';
import type { BpeOptions } from './bpe.ts';
import { IdList } from './ids.ts';

function tokens(bpe: Bpe, piece: string): (string | undefined)[] {
  const out = new IdList();
  bpe.encode(piece, out);
  return Array.from(out.toArray(), (id) => bpe.idToToken(id));
}

function bpeOf(list: string[], merges: [string, string][], options: Partial<BpeOptions> = {}) {
  return new Bpe({ vocab: new Map(list.map((token, id) => [token, id])), merges, ...options });
}

test('merges in the order learned, leftmost first', () => {
  const bpe = bpeOf(
    ['a', 'b', 'c', 'ab', 'bc', 'abc', 'aa'],
    [
      ['b', 'c'],
      ['a', 'b'],
      ['a', 'bc'],
      ['a', 'a'],
    ],
  );
  expect(tokens(bpe, 'abc')).toEqual(['abc']);
  expect(tokens(bpe, 'abab')).toEqual(['ab', 'ab']);
  expect(tokens(bpe, 'aaa')).toEqual(['aa', 'a']);
  expect(tokens(bpe, 'aaaa')).toEqual(['aa', 'aa']);
  expect(tokens(bpe, '')).toEqual([]);
});

/** The definition, with nothing clever: of all neighbours the pair with the least rank, the leftmost of these, until none has a rank. */
function naive(piece: string, merges: [string, string][]): string[] {
  const symbols = Array.from(piece);
  for (;;) {
    let best = merges.length;
    let at = -1;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const rank = merges.findIndex(([a, b]) => a === symbols[i] && b === symbols[i + 1]);
      if (rank >= 0 && rank < best) [best, at] = [rank, i];
    }
    if (at < 0) return symbols;
    symbols.splice(at, 2, symbols[at] + symbols[at + 1]);
  }
}

test('short pieces (scan) and long ones (heap) equal the definition', () => {
  // Random merges over three letters: any two tokens so far may merge, in any order of ranks.
  const scenario = fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 1, maxLength: 12 }).chain((choices) => {
    const list = ['a', 'b', 'c'];
    const merges: [string, string][] = [];
    for (const [i, j] of choices) {
      const pair: [string, string] = [list[i % list.length], list[j % list.length]];
      if (list.includes(pair.join('')) || pair.join('').length > 8) continue;
      merges.push(pair);
      list.push(pair.join(''));
    }
    return fc.tuple(
      fc.constant(list),
      fc.shuffledSubarray(merges),
      fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 90 }),
    );
  });
  fc.assert(
    fc.property(scenario, ([list, merges, text]) => {
      const bpe = bpeOf(list, merges);
      expect(tokens(bpe, text)).toEqual(naive(text, merges));
      expect(tokens(bpe, text)).toEqual(naive(text, merges));
    }),
    { numRuns: 500 },
  );
});

test('100,000 characters without a break take n log n, not n²', () => {
  const bpe = bpeOf(
    ['a', 'aa', 'aaaa'],
    [
      ['a', 'a'],
      ['aa', 'aa'],
    ],
  );
  expect(tokens(bpe, 'a'.repeat(100_000))).toHaveLength(25_000);
});

test('unknown characters: refused, one token each, one for a run, or bytes', () => {
  expect(() => tokens(bpeOf(['a'], []), 'aé')).toThrow(/U\+00E9/);
  expect(tokens(bpeOf(['a', '?'], [], { unk: '?' }), 'éüaé')).toEqual(['?', '?', 'a', '?']);
  expect(tokens(bpeOf(['a', '?'], [], { unk: '?', fuseUnk: true }), 'éüaé')).toEqual(['?', 'a', '?']);
  expect(tokens(bpeOf(['a', '?', '<0xC3>', '<0xA9>'], [], { unk: '?', byteFallback: true }), 'aé')).toEqual([
    'a',
    '<0xC3>',
    '<0xA9>',
  ]);
});

test('marks inside and at the end of a word', () => {
  const inside = bpeOf(['a', '##b', 'a##', 'ab'], [['a', '##b']], { continuingSubwordPrefix: '##' });
  expect(tokens(inside, 'ab')).toEqual(['ab']);
  const end = bpeOf(['a', 'b</w>', 'ab</w>'], [['a', 'b</w>']], { endOfWordSuffix: '</w>' });
  expect(tokens(end, 'ab')).toEqual(['ab</w>']);
});

test('ignoreMerges takes a piece that is a token as it is', () => {
  const list = ['a', 'b', 'ab', 'aba'];
  expect(tokens(bpeOf(list, [['a', 'b']], { byteLevel: true, ignoreMerges: true }), 'aba')).toEqual(['aba']);
  expect(tokens(bpeOf(list, [['a', 'b']], { byteLevel: true }), 'aba')).toEqual(['ab', 'a']);
});

test('a merge that names no token of the vocabulary is refused', () => {
  expect(() => bpeOf(['a', 'b'], [['a', 'b']])).toThrow(expect.objectContaining({ code: 'TOKENIZER' }));
});
