import { expect, test } from 'vitest';
import { charTokenizer, trainBpe, trainWordPiece } from '../tokenizers/index.ts';
import { wordNumbers } from './words.ts';

/** Runs of ids that are one word, as text. */
function words(tokenizer: ReturnType<typeof charTokenizer>, text: string): string[] {
  const ids = tokenizer.encode(text, { special: true });
  const numbers = wordNumbers(tokenizer, ids);
  const found: number[][] = [];
  ids.forEach((id, i) => (i > 0 && numbers[i] === numbers[i - 1] ? found.at(-1)!.push(id) : found.push([id])));
  return found.map((run) => tokenizer.decode(run).trim()).filter(Boolean);
}

test('the tokens of a word belong together, in English', () => {
  const text = 'unbelievable stories, again';
  for (const tokenizer of [
    charTokenizer(text, { specialTokens: ['[MASK]'] }),
    trainBpe([text], { vocabSize: 260, specialTokens: ['[MASK]'] }),
  ]) {
    expect(words(tokenizer, text)).toEqual(['unbelievable', 'stories', ',', 'again']);
    expect(words(tokenizer, 'stories[MASK]again')).toEqual(['stories', '[MASK]', 'again']);
  }
  const pieces = trainWordPiece([text, text], { vocabSize: 60 });
  expect(words(pieces, text)).toEqual(['unbelievable', 'stories', ',', 'again']);
});

test('Chinese words are those of the segmenter, not single characters', () => {
  const text = '我们在图书馆学习语言模型';
  const found = words(charTokenizer(text), text);
  expect(found.join('')).toBe(text);
  expect(found).toEqual(expect.arrayContaining(['我们', '学习', '语言', '模型']));
  expect(words(trainBpe([text], { vocabSize: 300 }), text)).toEqual(found); // bytes, too, belong to their word
});
