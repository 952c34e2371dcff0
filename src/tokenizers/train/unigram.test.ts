import { expect, test } from 'vitest';
import { tokenizerFromJson, tokenizerToJson, trainUnigram } from '../index.ts';
import type { Unigram } from '../unigram.ts';

const texts = Array.from(
  { length: 300 },
  (_, i) => `the weather today is better than the weather of yesterday ${i % 7} 今天天气比昨天好`,
);

test('the wanted size, every character, frequent words as one piece, probabilities that sum to at most one', () => {
  const tokenizer = trainUnigram(texts, { vocabSize: 90, characterCoverage: 1 });
  expect(tokenizer.vocabSize).toBeLessThanOrEqual(90);
  const { pieces } = (tokenizer.parts.model as Unigram).options;
  for (const char of new Set(texts.join(' ').replaceAll(' ', '▁'))) expect(tokenizer.tokenToId(char)).toBeDefined();
  const total = pieces.slice(3).reduce((sum, [, logProb]) => sum + Math.exp(logProb), 0);
  expect(total).toBeGreaterThan(0.9);
  expect(total).toBeLessThanOrEqual(1 + 1e-9);
  expect(tokenizer.encode('the weather')).toHaveLength(2);
  expect(tokenizer.decode(tokenizer.encode('the weather 今天'))).toBe('the weather 今天');
  expect(tokenizerFromJson(tokenizerToJson(tokenizer)).encode(texts[0])).toEqual(tokenizer.encode(texts[0]));
});

test('characters beyond the coverage become bytes when asked for', () => {
  const tokenizer = trainUnigram(texts, { vocabSize: 400, byteFallback: true });
  expect(tokenizer.decode(tokenizer.encode('the 𠀀 weather'))).toBe('the 𠀀 weather');
});

test('the best cut equals the best of all cuts', () => {
  const pieces: [string, number][] = [
    ['<unk>', 0],
    ['a', -2],
    ['b', -2.5],
    ['ab', -3],
    ['ba', -3.2],
    ['aba', -5.1],
    ['bb', -4],
  ];
  const tokenizer = tokenizerFromJson({ model: { type: 'Unigram', unk_id: 0, vocab: pieces }, decoder: { type: 'Fuse' } });
  const best = (text: string): number =>
    text === ''
      ? 0
      : Math.max(
          ...pieces
            .slice(1)
            .filter(([p]) => text.startsWith(p))
            .map(([p, lp]) => lp + best(text.slice(p.length))),
        );
  for (let i = 0; i < 2 ** 9; i++) {
    const text = i.toString(2).replaceAll('0', 'a').replaceAll('1', 'b');
    const score = tokenizer.encode(text).reduce((sum, id) => sum + pieces[id][1], 0);
    expect(score).toBeCloseTo(best(text), 9);
  }
});

test('a vocabulary too small for the characters is refused', () => {
  expect(() => trainUnigram(texts, { vocabSize: 10 })).toThrow(expect.objectContaining({ code: 'TOKENIZER' }));
});

test('asSentencePiece: a word that is always followed by a blank is no piece; without it, it is', () => {
  const sentences = Array.from({ length: 60 }, (_, i) => `no${i % 7} weather ma${i % 5}`);
  const pieces = (asSentencePiece: boolean) => trainUnigram(sentences, { vocabSize: 40, characterCoverage: 1, asSentencePiece });
  expect(pieces(false).tokenToId('▁weather')).toBeDefined();
  expect(pieces(true).tokenToId('▁weather')).toBeUndefined();
});
