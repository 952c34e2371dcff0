import { expect, test } from 'vitest';
import { mixedLines } from '../../test/parity/tokenizers/lines.ts';
import { compilePattern, literalPattern, splitPatterns } from './pattern.ts';
import { translatePattern } from './pattern-reader.ts';

test('GPT-2 cuts contractions, words, numbers, marks and blanks', () => {
  expect("I'll pay $42,  ok?\n\n  x".match(compilePattern(splitPatterns.gpt2))).toEqual([
    'I',
    "'ll",
    ' pay',
    ' $',
    '42',
    ',',
    ' ',
    ' ok',
    '?',
    '\n\n ',
    ' x',
  ]);
});

test('cjk keeps ideographs and kana apart from other letters, and numbers to three digits', () => {
  expect('用Python3写了12345行，あア𠀀。I’m “ok”'.match(compilePattern(splitPatterns.cjk))).toEqual([
    '用',
    'Python',
    '3',
    '写了',
    '123',
    '45',
    '行',
    '，',
    'あア𠀀',
    '。',
    'I',
    '’',
    'm',
    ' “',
    'ok',
    '”',
  ]);
});

test('classes mean what Oniguruma means', () => {
  // \s has U+0085 and lacks U+FEFF; JavaScript's own is the other way round.
  expect('\u0085'.match(compilePattern('\\s'))).not.toBeNull();
  expect('\ufeff'.match(compilePattern('\\s'))).toBeNull();
  expect('٣'.match(compilePattern('\\d'))).not.toBeNull();
  expect('½a²'.match(compilePattern('\\w'))).toEqual(['½', 'a', '²']);
  expect('½a²'.match(compilePattern('[\\w]'))).toEqual(['a']);
  expect("'S 'ſ".match(compilePattern("(?i:'s)"))).toEqual(["'S", "'ſ"]);
  expect('ab[]-z'.match(compilePattern('[\\]a-]'))).toEqual(['a', ']', '-']);
  expect('中a文'.match(compilePattern('[\\p{L}&&[^\\p{Han}]]'))).toEqual(['a']);
  expect('aaab'.match(compilePattern('a++b?'))).toEqual(['aaab']);
  expect('a'.match(compilePattern('a?+a'))).toBeNull();
  expect('a.c|[x]'.match(literalPattern('a.c|[x]'))).toEqual(['a.c|[x]']);
});

test.each([
  ['(a+)+b', /choices of its own/],
  ['(a|aa)+$', /choices of its own/],
  ['(a?){30}a{30}', /choices/],
  [`${'a?'.repeat(30)}b`, /repeats in one alternative/],
  ['a*a*a*b', /for ever/],
  ['a*b', /for ever/],
  ['[^x]*x', /for ever/],
  ['x*y', /for ever/],
  ['[\\x{1f00}-\\x{1f0f}]*y', /for ever/],
  ['(?:xy)*z', /for ever/],
  ['(?<=q*)z', /for ever/],
  ['((a{1,3}))*', /choices of its own/],
  ['(x+x+)+y', /choices of its own/],
  ['a**', /repeat of a repeat/],
  ['(a)\\1', /escape/],
  ['a{100000}', /./],
  ['((a{1000}){1000})', /./],
  ['(', /without/],
  ['a)', /without/],
  ['[a', /without/],
  ['[z-a]', /backwards/],
  ['(?i:ß)', /ignores case/],
  ['(?i:[σ])', /ignores case/],
  ['\\p{Nonsense}', /Unicode class/],
  ['*a', /nothing to repeat/],
  ['$+', /repeat of a place/],
  ['^{2,}', /repeat of a place/],
  ['(?=a){2}', /repeat of a place/],
  ['\\z?', /repeat of a place/],
  ['(?<name>a)', /not supported/],
  ['('.repeat(40) + 'a' + ')'.repeat(40), /groups inside/],
  ['['.repeat(40) + 'a' + ']'.repeat(40), /sets inside/],
  ['a*a*a*a*a*a*a*b', /unbounded repeats/],
  [Array.from({ length: 65 }, (_, i) => `${String.fromCodePoint(0x4e00 + i)}+`).join('|'), /different repeats/],
])('refuses %j', (pattern, why) => {
  let error: unknown;
  try {
    compilePattern(pattern);
  } catch (caught) {
    error = caught;
  }
  expect(error).toMatchObject({ code: 'TOKENIZER', message: expect.stringMatching(why) });
});

test('a long pattern is refused before it is read', () => {
  expect(() => compilePattern('a'.repeat(9_000))).toThrow(/limit/);
});

const published = [
  '(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+',
  '[!-/:-~]?[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
  '\\p{N}{1,3}',
  '[一-龥぀-ゟ゠-ヿ]+',
  ' ?[^(\\s|[.,!?…。，、।۔،])]+',
];

test('patterns of other published tokenizers pass the check', () => {
  for (const pattern of published) expect(() => compilePattern(pattern)).not.toThrow();
});

test('the matcher that counts steps ends where the platform’s ends, at every place', () => {
  const odd = [
    '(a|ab)(?:c|bcd)?',
    'a{2,3}?b|a??b',
    'a?+ab|(?:ab){2}',
    '(?<=ab|c)d|(?<!\\s)x',
    'a*+b|a+?$',
    '^b|\\A.|c\\z',
    '(?=a.c)a|(?!b)\\w',
  ];
  const lines = [
    ...mixedLines(40, 11),
    ...Array.from({ length: 200 }, (_, i) => [...(i * 7919).toString(5)].map((d) => 'abcd\n'[Number(d)]).join('')),
  ];
  for (const pattern of [...Object.values(splitPatterns), ...published, ...odd]) {
    const { source, match } = translatePattern(pattern);
    const sticky = new RegExp(source, 'vy');
    for (const line of lines) {
      const chars = Array.from(line);
      for (let at = 0, unit = 0; at <= chars.length; unit += chars[at++]?.length ?? 0) {
        sticky.lastIndex = unit;
        let end = -1;
        match({ chars, steps: 0, limit: 1e6 }, at, (found) => (end = found) >= 0);
        expect(end < 0 ? null : chars.slice(at, end).join(''), `${pattern} at ${at} of ${JSON.stringify(line)}`).toBe(
          sticky.exec(line)?.[0] ?? null,
        );
      }
    }
  }
});
