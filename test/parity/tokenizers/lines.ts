/** Text for comparing tokenizers: mixed lines of English, Chinese, code, numbers, emoji, rare scripts and odd blanks, the same for the same seed. */

/** mulberry32: a small generator of uniform numbers in [0, 1). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const onsets = [
  'b',
  'c',
  'ch',
  'd',
  'f',
  'g',
  'gr',
  'h',
  'l',
  'm',
  'n',
  'p',
  'pl',
  'qu',
  'r',
  's',
  'st',
  'str',
  't',
  'th',
  'v',
  'w',
  'z',
  '',
];
const vowels = ['a', 'e', 'i', 'o', 'u', 'ai', 'ea', 'ou', 'é', 'ö', 'ß', 'ı', 'İ'];
const codas = ['', 'n', 'r', 's', 'ng', 'nd', 'll', 't', 'ction', 'ed', 'x', "'s", "'ll", "n't", "'VE", '’re'];
const hanzi =
  '的一是不了人在有我他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从';
const rare = ['𠀀', '𠮷', '𪚥', '𫝀', '𰻞', '㐂', '龘', '〇', '々', '豈', '﨎'];
const kana = 'あいうえおかきくけこさしすせそアイウエオカキクケコン';
const emoji = ['😀', '👍🏽', '👩‍👩‍👧‍👦', '🏳️‍🌈', '🇨🇳', '🇩🇪', '❤️', '☕', '1️⃣', '🫠'];
const marks = ['\u0301', '\u0308', '\u0327', '\u20d7', '\u0f71', '\u094d', '\u3099'];
const scripts = [
  'Привет',
  'Ελλάς',
  'שלום',
  'مرحبا',
  'नमस्ते',
  'ไทย',
  '한국어',
  'ქართული',
  'Việt',
  'ﬁne',
  'Å',
  'ΟΔΟΣ',
  '½',
  '²',
  '٣٤',
  '１２',
  'Ⅻ',
];
const blanks = [
  ' ',
  ' ',
  ' ',
  ' ',
  '  ',
  '   ',
  '\t',
  '\n',
  '\r\n',
  '\n\n',
  '\u00a0',
  '\u3000',
  '\u2003',
  '\u200b',
  '\u0085',
  '\ufeff',
  ' \n ',
  '\u2028',
];
const punctuation = [
  '.',
  ',',
  '!',
  '?',
  ';',
  ':',
  '...',
  '—',
  '“',
  '”',
  '。',
  '，',
  '！',
  '《',
  '》',
  '、',
  '"',
  "'",
  '(',
  ')',
  '[',
  ']',
  '$',
  '€',
  '@',
  '#',
  '%',
  '^',
  '~',
  '`',
  '|',
  '<',
  '>',
  '▁',
  '##',
  '\u0000',
  '\ufffd',
];
const code = [
  'const x = a[i + 1];',
  'def f(x):\n    return x ** 2',
  'if (a && b || !c) {',
  '</div>',
  '=> {}',
  '#include <vector>',
  '// TODO',
  'snake_case_name',
  'camelCaseName',
  '0xDEADBEEF',
  '1e-3',
  'a.b.c()',
  '\\n',
  '$${x}',
];

export function mixedLines(count: number, seed = 1): string[] {
  const random = generator(seed);
  const pick = <T>(from: ArrayLike<T>): T => from[Math.floor(random() * from.length)];
  const times = (most: number, make: () => string) => Array.from({ length: 1 + Math.floor(random() * most) }, make).join('');
  const hanziList = Array.from(hanzi);
  const word = () => {
    const plain = times(3, () => pick(onsets) + pick(vowels)) + pick(codas);
    const r = random();
    return r < 0.15 ? plain[0].toUpperCase() + plain.slice(1) : r < 0.2 ? plain.toUpperCase() : plain;
  };
  // Squared, so that some characters are frequent, as in a language.
  const han = () => hanziList[Math.floor(random() ** 2 * hanziList.length)];
  const parts: (() => string)[] = [
    () => times(4, () => word() + pick(blanks)),
    () => times(4, () => word() + pick(blanks)),
    () => times(8, han) + pick(['，', '。', '', '！', ' ']),
    () => times(8, han) + pick(['，', '。', '', '！', ' ']),
    () => pick(code) + pick(blanks),
    () => String(Math.floor(random() * 10 ** Math.floor(random() * 12))) + pick(['', '.', '%', ' ', '年']),
    () => pick(emoji),
    () => times(3, () => pick(rare)),
    () => pick(vowels) + times(3, () => pick(marks)),
    () => pick(scripts) + pick(blanks),
    () => times(4, () => pick(punctuation)) + pick(blanks),
    () => times(5, () => pick(blanks)),
    () => times(6, () => pick(kana)),
    // Any assigned character at all.
    () => times(4, () => anyCharacter(random)),
  ];
  return Array.from({ length: count }, () => times(5, () => pick(parts)()));
}

/**
 * Any character of blocks that were full long ago, so that all versions of Unicode in the compared programs agree on its class:
 * ASCII, Latin to Hebrew, symbols, CJK with kana, Hangul, pictographs, extension B.
 */
function anyCharacter(random: () => number): string {
  const spans = [
    [0x00, 0x7f],
    [0x80, 0x5ff],
    [0x2000, 0x2bff],
    [0x3000, 0x9fef],
    [0xac00, 0xd7a3],
    [0x1f300, 0x1f64f],
    [0x20000, 0x2a6d6],
  ];
  const [low, high] = spans[Math.floor(random() * spans.length)];
  return String.fromCodePoint(low + Math.floor(random() * (high - low + 1)));
}
