import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tokenizerToJson, trainBpe } from '../index.ts';

const mergesOf = (texts: string[], options: Parameters<typeof trainBpe>[1]): string[] =>
  JSON.parse(tokenizerToJson(trainBpe(texts, options))).model.merges;

test('the most frequent pair first, ties to the smaller ids, rare pairs not at all', () => {
  // " hug" 2, " pug" 1: ug 3 · Ġh 2 · (Ġh, ug) 2; Ġp and the rest occur once.
  expect(mergesOf([' hug pug hug'], { vocabSize: 400 })).toEqual(['u g', 'h ug', 'Ġ hug']);
  expect(mergesOf(['ab ab'.replace(' ', '\n')], { vocabSize: 400 })).toEqual(['a b']);
  expect(mergesOf(['cd\nab\nab\ncd'], { vocabSize: 400 })).toEqual(['a b', 'c d']);
});

test('vocabulary: special tokens, 256 bytes, merges; no more than asked for', () => {
  const tokenizer = trainBpe(['low lower lowest low low'], { vocabSize: 260, specialTokens: ['<|endoftext|>'] });
  expect(tokenizer.vocabSize).toBe(260);
  expect(tokenizer.tokenToId('<|endoftext|>')).toBe(0);
  expect(tokenizer.tokenToId('!')).toBe(1);
  expect(tokenizer.idToToken(257)).toBe('lo');
  expect(() => trainBpe(['a'], { vocabSize: 256, specialTokens: ['<|endoftext|>'] })).toThrow(
    expect.objectContaining({ code: 'TOKENIZER' }),
  );
});

test('progress tells both stages, and its last figures are the result', () => {
  const seen: { stage: string; vocabulary?: number; characters?: number }[] = [];
  trainBpe(['a b c a b', 'a b'], { vocabSize: 300, onProgress: (progress) => seen.push(progress) });
  expect(seen.find((p) => p.stage === 'count')?.characters).toBe(12);
  expect(seen.at(-1)).toEqual({ stage: 'merge', vocabulary: 257, target: 300 });
});

/** The algorithm with nothing clever: count all pairs of all words anew, take the best, rewrite all words. */
function naive(words: [string, number][], steps: number): string[] {
  const ids = new Map<string, number>();
  const idOf = (token: string) => ids.get(token) ?? ids.set(token, ids.size).get(token)!;
  for (const char of [...new Set(words.flatMap(([word]) => Array.from(word)))].sort()) idOf(char);
  const split = words.map(([word]) => Array.from(word));
  const merges: string[] = [];
  for (let s = 0; s < steps; s++) {
    const pairs = new Map<string, { a: string; b: string; count: number }>();
    split.forEach((symbols, w) => {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const [a, b] = [symbols[i], symbols[i + 1]];
        const pair = pairs.get(`${a} ${b}`) ?? { a, b, count: 0 };
        pair.count += words[w][1];
        pairs.set(`${a} ${b}`, pair);
      }
    });
    const best = [...pairs.values()].sort((x, y) => y.count - x.count || idOf(x.a) - idOf(y.a) || idOf(x.b) - idOf(y.b))[0];
    if (!best || best.count < 2) break;
    merges.push(`${best.a} ${best.b}`);
    idOf(best.a + best.b);
    for (const symbols of split)
      for (let i = 0; i + 1 < symbols.length; i++)
        if (symbols[i] === best.a && symbols[i + 1] === best.b) symbols.splice(i, 2, best.a + best.b);
  }
  return merges;
}

test('incremental counts equal counting anew', () => {
  // No letter twice in a row: overlapping pairs (aaa) are counted by the official trainer in its own way, which the parity test holds.
  const word = fc
    .string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), minLength: 1, maxLength: 12 })
    .filter((w) => !/(.+)\1/.test(w));
  fc.assert(
    fc.property(
      fc.uniqueArray(word, { minLength: 1, maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 8, maxLength: 8 }),
      (words, counts) => {
        const counted = words.map((w, i): [string, number] => [w, counts[i]]);
        const text = counted.map(([w, n]) => `${w}\n`.repeat(n)).join('');
        const expected = naive(counted, 10);
        expect(mergesOf([text], { vocabSize: 256 + expected.length }).slice(0, expected.length)).toEqual(expected);
      },
    ),
    { numRuns: 150 },
  );
});
