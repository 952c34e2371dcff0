import fc from 'fast-check';
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { c4, gopherQuality } from './quality.ts';
import { gopherRepetition } from './repetition.ts';
import { countLetters, hanShare, hashWords, hasWords, wordsOf } from './words.ts';

/** The slow twin of gopherRepetition: n-grams as strings, every table counted. */
function repetitionSlowly(text: string): boolean {
  for (const parts of [text.split('\n'), text.split(/\n{2,}/)]) {
    const filled = parts.filter((p) => p.trim() !== '');
    const copies = filled.filter((p, i) => filled.indexOf(p) < i);
    if (copies.length > 0.3 * filled.length || copies.join('').length > 0.2 * text.length) return false;
  }
  const words = wordsOf(text);
  const total = words.join('').length;
  const grams = (n: number) => words.slice(0, Math.max(0, words.length - n + 1)).map((_, i) => words.slice(i, i + n).join('\0'));
  for (const [n, share] of [
    [2, 0.2],
    [3, 0.18],
    [4, 0.16],
  ]) {
    const counts = new Map<string, number>();
    let top: [string, number] = ['', 0];
    for (const g of grams(n)) {
      counts.set(g, (counts.get(g) ?? 0) + 1);
      if (counts.get(g)! > top[1]) top = [g, counts.get(g)!];
    }
    if (top[1] > 1 && top[1] * (top[0].length - n + 1) > share * total) return false;
  }
  for (const [n, share] of [
    [5, 0.15],
    [6, 0.14],
    [7, 0.13],
    [8, 0.12],
    [9, 0.11],
    [10, 0.1],
  ]) {
    const seen = new Set<string>();
    const covered = new Set<number>();
    grams(n).forEach((g, i) => {
      if (seen.has(g)) for (let k = i; k < i + n; k++) covered.add(k);
      seen.add(g);
    });
    if ([...covered].reduce((sum, k) => sum + words[k].length, 0) > share * total) return false;
  }
  return true;
}

test('repetition equals the slow twin on texts around every limit', () => {
  const rule = gopherRepetition();
  let kept = 0;
  let dropped = 0;
  const text = fc
    .record({
      vocabulary: fc.integer({ min: 2, max: 200 }),
      han: fc.boolean(),
      words: fc.array(fc.nat(), { minLength: 1, maxLength: 160 }),
      copy: fc.nat({ max: 30 }),
      at: fc.nat({ max: 100 }),
    })
    .map(({ vocabulary, han, words, copy, at }) => {
      const spelled = words
        .map((w) => w % vocabulary)
        .map((w) =>
          han ? String.fromCodePoint((w % 7 === 0 ? 0x20000 : 0x4e00) + w) : `w${w.toString(36).repeat(1 + (w % 5))}`,
        );
      const all = [...spelled, ...spelled.slice(at, at + copy)];
      return all.map((w, i) => w + (i % 11 === 10 ? '\n' : i % 37 === 36 ? '\n\n' : han ? '' : ' ')).join('');
    });
  fc.assert(
    fc.property(text, (t) => {
      const expected = repetitionSlowly(t);
      if (expected) kept++;
      else dropped++;
      expect(rule.apply(t) === t).toBe(expected);
    }),
    { numRuns: 1500 },
  );
  expect(Math.min(kept, dropped)).toBeGreaterThan(150);
});

test('words counted by classes are the words that patterns find', () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.oneof(fc.constantFrom(...'aZ9 ,.-\n\t　的李𠀀🙂éあ한\ud800'), fc.string({ unit: 'grapheme', maxLength: 1 })),
        maxLength: 60,
      }),
      (text) => {
        const letters = text.match(/\p{L}/gu)?.length ?? 0;
        const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
        expect(countLetters(text)).toMatchObject({ letters, han });
        expect(hanShare(text)).toBe(letters === 0 ? 0 : han / letters);
        for (const chinese of [false, true]) {
          const words = wordsOf(text, chinese);
          const hashed = hashWords(text, 'blanks', chinese);
          expect([...hashed.lengths.subarray(0, hashed.count)]).toEqual(words.map((w) => w.length));
          expect(hashed.total).toBe(words.join('').length);
          expect(hashed.withLetter).toBe(words.filter((w) => /\p{L}/u.test(w)).length);
          const same = words.map((w) => words.indexOf(w));
          expect([...hashed.hashes.subarray(0, hashed.count)].map((h, _, all) => all.indexOf(h))).toEqual(same);
          for (const least of [1, 3, 5]) expect(hasWords(text, 0, text.length, chinese, least)).toBe(words.length >= least);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('Gopher says why, in Chinese too', () => {
  const why = (text: string) => {
    const notes: string[] = [];
    gopherQuality({ minWords: 20 }).apply(text, (n) => notes.push(n));
    return notes.join();
  };
  expect(why('短。')).toBe('too few words');
  expect(why('首页新闻体育财经娱乐科技汽车房产教育旅游健康时尚游戏视频图片博客论坛社区商城的了是在和不有我这他'.repeat(3))).toBe(
    'phrase length',
  );
  expect(why('这是在海上★☆★☆★☆★☆★☆。'.repeat(20))).toBe('letters');
  expect(why('天地玄黄，宇宙洪荒，日月盈昃，辰宿列张，寒来暑往，秋收冬藏。')).toBe('function words');
  expect(why('船员们在甲板上工作，修好了三个零件，大家都很高兴，因为天气是晴朗的。')).toBe('');
  expect(why('the of and that with have '.repeat(5).replaceAll(' ', ' 12 34 56 '))).toBe('word length');
  expect(why('①the end\n'.repeat(20))).toBe('bullets');
});

test('C4: marks of sources go, policy lines go, a list of bad words is ours to give', () => {
  const text =
    'The boat left the harbour early.[1] It came back late.[citation needed] Nobody on it said a word.\nPlease read our privacy policy before you use it.';
  expect(c4().apply(text)).toBe('The boat left the harbour early. It came back late. Nobody on it said a word.');
  expect(c4().apply('船很早就离开了港口。[2] 它很晚才回来。没有人说一句话！\n请先阅读我们的隐私政策和使用条款。')).toBe(
    '船很早就离开了港口。 它很晚才回来。没有人说一句话！',
  );
  const folder = mkdtempSync(join(tmpdir(), 'qkv-words-'));
  try {
    writeFileSync(join(folder, 'bad.txt'), 'harbour\n港口\n');
    const strict = c4({ badWords: join(folder, 'bad.txt') });
    expect(strict.name).toMatch(/^c4\(3,[0-9a-f]{8}\)$/);
    expect(strict.apply(text)).toBeUndefined();
    expect(strict.apply(text.replaceAll('harbour', 'harbours'))).toBeDefined(); // another word
    expect(strict.apply('船很早就离开了港口。它很晚才回来。没有人说一句话！')).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
