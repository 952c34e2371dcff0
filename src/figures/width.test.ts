import { expect, test } from 'vitest';
import { clip, displayWidth, padEnd, padStart, wrap } from './width.ts';

test('Han, kana, Hangul and fullwidth forms take two columns; letters one; marks none', () => {
  for (const [text, width] of [
    ['abc', 3],
    ['解码器', 6],
    ['解a', 3],
    ['，。', 4],
    ['カタカナ', 8],
    ['ｶﾀｶﾅ', 4], // halfwidth
    ['한글', 4],
    ['ＡＢ', 4],
    ['é', 1],
    ['e\u0301', 1],
    ['👍', 2],
    ['👨‍👩‍👧', 2],
    ['🇨🇳', 2],
    ['♥\ufe0f', 2],
    ['\u200b', 0],
    ['\u001b[1;31m红\u001b[0m', 2],
    ['𠮷', 2],
    ['', 0],
  ] as const)
    expect(displayWidth(text), JSON.stringify(text)).toBe(width);
});

test('every assigned character of the scripts written wide is wide, every one of the others narrow (oracle: the Unicode data in the JavaScript engine)', () => {
  const isWide =
    /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\p{Script=Yi}\p{Emoji_Presentation}]$/u;
  const isNarrow =
    /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Hebrew}\p{Script=Thai}\p{Script=Armenian}\p{Script=Ethiopic}]$/u;
  const wrong: string[] = [];
  for (let c = 0x20; c < 0x33480; c++) {
    if (c >= 0xd800 && c < 0xe000) continue;
    const char = String.fromCodePoint(c);
    if (/\p{M}|\p{Cn}|\p{Cf}|\p{Regional_Indicator}/u.test(char)) continue;
    const half = (c >= 0xff61 && c <= 0xffdc) || (c >= 0x1160 && c <= 0x11ff) || (c >= 0xd7b0 && c <= 0xd7fb);
    const want =
      half || c < 0x1100
        ? isNarrow.test(char)
          ? 1
          : undefined
        : isWide.test(char)
          ? 2
          : isNarrow.test(char) && !(c >= 0xff00 && c <= 0xff60)
            ? 1
            : undefined;
    if (want !== undefined && displayWidth(char) !== want) wrong.push(c.toString(16));
  }
  // Emoji of Unicode 15 and later, which some engines know and our table may not, are the only exceptions allowed.
  expect(wrong.filter((h) => !/^1fa|^1f6d|^1f7|^1f8/.test(h))).toEqual([]);
});

test('ambiguous characters follow the terminal', () => {
  expect(displayWidth('█▓▒░│─')).toBe(6);
  expect(displayWidth('█▓▒░│─', 'wide')).toBe(11); // ░ stays narrow
});

test('padding, clipping and wrapping count columns', () => {
  expect(padEnd('解码', 6)).toBe('解码  ');
  expect(padStart('解码', 5)).toBe(' 解码');
  expect(clip('解码器的核心', 7)).toBe('解码器…');
  expect(clip('解码器的核心', 6)).toBe('解码…');
  expect(clip('short', 7)).toBe('short');
  expect(wrap('the quick brown fox', 10)).toEqual(['the quick', 'brown fox']);
  expect(wrap('千里无人来。山中', 12)).toEqual(['千里无人来。', '山中']);
  expect(wrap('千里无人来。山中', 10)).toEqual(['千里无人', '来。山中']);
  expect(wrap('', 5)).toEqual(['']);
});
