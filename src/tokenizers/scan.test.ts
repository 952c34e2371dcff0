import { expect, test } from 'vitest';
import { cutAtBlanks, cutAtBlanksAndMarks } from './scan.ts';
import type { PreTokenizer } from './pretokenize.ts';

const pieces = (cut: PreTokenizer, text: string): [string, boolean][] => {
  const out: [string, boolean][] = [];
  cut(text, true, (piece, atStart) => out.push([piece, atStart]));
  return out;
};
const marked = (text: string, pattern: RegExp): [string, boolean][] =>
  Array.from(text.matchAll(pattern), (m): [string, boolean] => [m[0], m.index === 0]);

test('scanners cut as the patterns do, at every character of Unicode and in 20,000 random texts', () => {
  const words = /[^\p{White_Space}]+/gu;
  const bert = /[!-/:-@[-`{-~\p{P}]|[^\p{White_Space}!-/:-@[-`{-~\p{P}]+/gu;
  const check = (text: string) => {
    if (JSON.stringify(pieces(cutAtBlanks, text)) !== JSON.stringify(marked(text, words))) return false;
    return JSON.stringify(pieces(cutAtBlanksAndMarks, text)) === JSON.stringify(marked(text, bert));
  };
  const wrong: string[] = [];
  for (let start = 0; start < 0x30000; start += 64) {
    const chars = Array.from({ length: 64 }, (_, i) => start + i).filter((c) => c < 0xd800 || c > 0xdfff);
    const text = chars.map((c) => `a${String.fromCodePoint(c)}b`).join('');
    if (!check(text)) wrong.push(start.toString(16));
  }
  let state = 7;
  const random = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const alphabet = Array.from('ab ,.\t\n  。中𐤟𠀀😀\u0301$^');
  for (let i = 0; i < 20_000; i++) {
    const text = Array.from({ length: random(12) }, () => alphabet[random(alphabet.length)]).join('');
    if (!check(text)) wrong.push(text);
  }
  expect(wrong).toEqual([]);
});
