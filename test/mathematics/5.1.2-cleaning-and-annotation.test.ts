/** Statements 5.1.1b and 5.1.2a–c of the outline, each with its number; the parts have tests of their own beside them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  agreementOf,
  Annotating,
  cleanFiles,
  dedupFiles,
  exportConll,
  exportRows,
  itemId,
  leakBetween,
  rulesFrom,
} from '../../src/data/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-5.1.2-'));
afterAll(() => rmSync(folder, { recursive: true }));
let state = 5;
const random = (n: number) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};
const WORDS = `boat harbour morning water crew captain letter window garden river winter summer stone bread lamp road market horse
carried found asked waited wanted walked opened closed painted remembered slowly early later quiet heavy bright narrow
warm under over beside behind after before through without almost always never children brother sister neighbour
village mountain evening story answer question table kitchen wooden silver green yellow`.split(/\s+/);
const word = () => (random(4) === 0 ? ['the', 'of', 'and', 'that', 'with'][random(5)] : WORDS[random(WORDS.length)]);
const sentence = (words: number) => `The ${Array.from({ length: words + 6 }, word).join(' ')} and all.`;
const story = (sentences = 8) => Array.from({ length: sentences }, () => sentence(9)).join(' ');
const write = (name: string, texts: string[]) => {
  writeFileSync(join(folder, name), texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  return join(folder, name);
};

test('5.1.1b leak test: a planted passage of 13 words is found, one of 12 is not', async () => {
  const passage = Array.from({ length: 13 }, (_, i) => `passage${i}`);
  const train = write('leak-train.jsonl', [
    ...Array.from({ length: 50 }, () => story()),
    `${story()} ${passage.join(' ')}`,
    `${story()} ${passage
      .map((w) => `x${w}`)
      .slice(0, 12)
      .join(' ')}`,
  ]);
  const test = write('leak-test.jsonl', [passage.join(' '), passage.map((w) => `x${w}`).join(' '), story()]);
  const report = await leakBetween(train, test, { n: 13, threshold: 0.5 });
  expect(report).toMatchObject({ leaked: 1, touched: 1 });
  expect(report.worst[0]).toMatchObject({ share: 1, at: { line: 1 } });
});

test('5.1.2a every kind of rule: kept, changed and dropped add up, with examples and reasons; the same input gives the same bytes', async () => {
  const good = Array.from({ length: 20 }, () => story());
  const input = write('web.jsonl', [
    ...good,
    'ｆｕｌｌ width: ' + story(), // NFKC
    `${story()}\u0007\u200b`, // control characters
    `<html><body><nav>Home</nav><p>${story()}</p><footer>© 2024</footer></body></html>`, // HTML
    `Home | News | About | Contact\n${story()}`, // boilerplate
    `${story()} Mail me@example.org or 13912345678, 11010519491231002X, 10.0.0.1.`, // personal data
    '漁船清早離開了港口，人們都不知道它在什麼時候回來。這是一個關於大海的故事，我們在這裡把它說完。他不是第一個。', // traditional, then another language
    'Das Boot verließ den Hafen früh am Morgen, und niemand wusste, wann es zurückkommen würde. '.repeat(3), // language
    'Too short.', // length
    `${'#word '.repeat(40)}${story(3)}`, // symbols
    `${sentence(9)}\n`.repeat(12), // repetition
    `function f() { return 1; } ${story()}`, // code, by C4
  ]);
  const rules = () =>
    rulesFrom({
      rules: [
        { unicode: { form: 'NFKC' } },
        'controls',
        { html: { content: true } },
        'whitespace',
        'boilerplate',
        { chinese: { to: 'simplified' } },
        { languages: { codes: ['en', 'zh'] } },
        'personal',
        'c4',
        { gopherQuality: { minWords: 20 } },
        'gopherRepetition',
        { length: { min: 20 } },
      ],
    });
  const report = await cleanFiles(input, { out: join(folder, 'a.jsonl'), rules: rules() });
  const again = await cleanFiles(input, { out: join(folder, 'b.jsonl'), rules: rules() });
  expect(again.sha256).toBe(report.sha256);
  expect(readFileSync(join(folder, 'a.jsonl'))).toEqual(readFileSync(join(folder, 'b.jsonl')));
  expect(again.pipeline).toBe(report.pipeline);
  let reached = report.documents;
  for (const r of report.rules) {
    expect(r.seen, r.name).toBe(reached);
    expect(r.kept + r.changed + r.dropped, r.name).toBe(r.seen);
    expect(r.examples.length, r.name).toBe(Math.min(3, r.changed) + Math.min(3, r.dropped));
    reached -= r.dropped;
  }
  const of = (name: string) => report.rules.find((r) => r.name.startsWith(name))!;
  for (const name of ['unicode', 'controls', 'html', 'boilerplate', 'chinese']) expect(of(name).changed, name).toBeGreaterThan(0);
  expect(of('languages')).toMatchObject({ dropped: 1, notes: { zh: 1, de: 1 } });
  expect(of('personal').notes).toEqual({ EMAIL: 1, PHONE: 1, ID: 1, IP: 1 });
  expect(of('c4')).toMatchObject({ dropped: 2, notes: { braces: 1, 'too few sentences': 1 } });
  expect(of('gopherQuality')).toMatchObject({ dropped: 1, notes: { symbols: 1 } });
  expect(of('gopherRepetition')).toMatchObject({ dropped: 1, notes: { lines: 1 } });
  expect(report.kept).toBe(report.documents - 5);
});

test('5.1.2b near duplicates: precision and recall ≥ 0.95 on planted ones', async () => {
  const texts = Array.from({ length: 600 }, () => story(10));
  const copies = Array.from({ length: 120 }, () => {
    const words = texts[random(600)].split(' ');
    words[random(words.length)] = 'changed'; // 5 of some 130 shingles: J ≈ 0.93
    return words.join(' ').toUpperCase();
  });
  const decoys = Array.from({ length: 120 }, () => `${texts[random(600)].slice(0, 400)} ${story(6)}`); // alike in less than half
  const report = await dedupFiles(write('planted.jsonl', [...texts, ...copies, ...decoys]), {
    out: join(folder, 'unique.jsonl'),
  });
  const kept = new Set(
    readFileSync(join(folder, 'unique.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((l) => (JSON.parse(l) as { text: string }).text),
  );
  const found = copies.filter((c) => !kept.has(c)).length;
  const dropped = report.documents - report.kept;
  expect(found / dropped).toBeGreaterThanOrEqual(0.95);
  expect(found / copies.length).toBeGreaterThanOrEqual(0.95);
});

test('5.1.2c two annotators: κ and α equal to the reference; undo; JSONL and CoNLL', () => {
  const golden = JSON.parse(readFileSync(new URL('../parity/agreement.json', import.meta.url), 'utf8')).full as {
    ratings: (string | number)[][];
    cohen: number[][];
    alpha: { nominal: number };
  };
  const two = golden.ratings.slice(0, 2);
  const items = two[0].map((_, i) => ({ id: itemId(`text ${i}`), text: `text ${i}`, source: 's', line: i + 1 }));
  const annotating = new Annotating(items);
  for (const [a, ratings] of two.entries())
    for (const [i, label] of ratings.entries()) {
      annotating.label(items[i].id, `annotator ${a}`, 'slip of the finger');
      expect(annotating.undo(`annotator ${a}`)?.id).toBe(items[i].id);
      annotating.label(items[i].id, `annotator ${a}`, label);
    }
  const agreement = agreementOf(annotating)!;
  expect(agreement.cohen[0].kappa).toBeCloseTo(golden.cohen[0][1], 12); // scikit-learn
  const third = new Annotating(items, []);
  for (const [a, ratings] of golden.ratings.entries())
    for (const [i, label] of ratings.entries()) third.label(items[i].id, `annotator ${a}`, label);
  expect(agreementOf(third)!.alpha.nominal).toBeCloseTo(golden.alpha.nominal, 12); // krippendorff
  expect(exportRows(annotating)).toHaveLength(items.length);
  const spans = new Annotating([{ id: 'x', text: 'Ann met 李白', source: 's', line: 1 }]);
  spans.label('x', 'me', [{ from: 8, to: 10, label: 'PER' }]);
  expect(exportConll(exportRows(spans))).toBe('Ann\tO\nmet\tO\n李\tB-PER\n白\tI-PER\n');
});
