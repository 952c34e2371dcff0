import { expect, test } from 'vitest';
import { decodeStream, trainBpe } from './index.ts';

/** Spans of characters: controls and ASCII, Latin to Hebrew, marks, symbols, CJK, Hangul, private use, pictographs, extensions B to H, tags. */
const spans = [
  [0x00, 0x7f],
  [0x20, 0x7e],
  [0x80, 0x5ff],
  [0x300, 0x36f],
  [0x2000, 0x2bff],
  [0x3000, 0x9fff],
  [0xac00, 0xd7a3],
  [0xe000, 0xfffc],
  [0x1f1e6, 0x1faff],
  [0x20000, 0x323af],
  [0xe0001, 0xe01ef],
  [0x10fff0, 0x10ffff],
];
const words = ['the ', " it's", '床前', '明月光', '👩‍👩‍👧', '\r\n', '  ', '123', 'İ', '\ufeff', '<|end|>'];

test('5.1.3b byte level: decode(encode(x)) = x for 100,000 random texts, and streaming shows whole characters alone', () => {
  const tokenizer = trainBpe(['the cat sat on the mat. 床前明月光，疑是地上霜。 😀👩‍👩‍👧 𠀀𠮷 '.repeat(20)], {
    vocabSize: 500,
    pattern: 'llama3',
    specialTokens: ['<|end|>'],
  });
  let state = 1;
  const random = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  let wrong = 0;
  let broken = 0;
  for (let i = 0; i < 100_000; i++) {
    let text = '';
    for (let n = random(12); n > 0; n--) {
      const [low, high] = spans[random(spans.length)];
      text += random(4) === 0 ? words[random(words.length)] : String.fromCodePoint(low + random(high - low + 1));
    }
    const ids = tokenizer.encode(text);
    if (tokenizer.decode(ids) !== text) wrong++;
    const stream = decodeStream(tokenizer);
    let streamed = '';
    for (const id of ids) {
      const piece = stream.push(id);
      if (piece.includes('\ufffd') || /\p{Cs}/u.test(piece)) broken++;
      streamed += piece;
    }
    if (streamed + stream.end() !== text) wrong++;
  }
  expect({ wrong, broken }).toEqual({ wrong: 0, broken: 0 });
});
