import { expect, test } from 'vitest';
import { duplicateParagraphs, jaccard, nearDuplicates, shingles } from './dedupe.ts';
import { leakTest } from './leak.ts';
import { uniformAt } from './order.ts';

/** Numbers that depend on nothing but (seed, i). */
const rng = (seed: number) => {
  let i = 0;
  return (n: number) => uniformAt(seed, i++, n);
};
const word = (k: number, han: boolean) => (han ? String.fromCodePoint(0x4e00 + k) : `w${k.toString(36)}`);

/** Documents of 60–200 words from a vocabulary of 2,000; some are copies of earlier ones with a few words replaced, deleted or inserted. */
function planted(count: number, han: boolean) {
  const random = rng(han ? 11 : 5);
  const texts: string[] = [];
  const origin: number[] = [];
  const fresh: number[] = [];
  for (let d = 0; d < count; d++) {
    if (d > 20 && random(4) === 0) {
      const of = fresh[random(fresh.length)];
      const words = texts[of].split(' ');
      for (let edits = random(1 + Math.floor(words.length / 60)); edits > 0; edits--) {
        const at = random(words.length);
        const what = random(3);
        if (what === 0) words[at] = word(random(2000), han);
        else if (what === 1) words.splice(at, 1);
        else words.splice(at, 0, word(random(2000), han));
      }
      texts.push(words.join(' ') + (random(2) ? '!' : ' '));
      origin.push(of);
    } else {
      fresh.push(d);
      // A third of the new documents share a long passage with an earlier one: alike, but not the same.
      const own = Array.from({ length: 60 + random(140) }, () => word(random(2000), han));
      if (d > 20 && random(3) === 0) own.push(...texts[fresh[random(fresh.length - 1)]].split(' ').slice(0, 40));
      texts.push(own.join(' '));
      origin.push(-1);
    }
  }
  return { texts, origin };
}

test.each([false, true])('planted near duplicates are found: precision and recall ≥ 0.95 (Han: %s)', (han) => {
  const { texts } = planted(1000, han);
  // Truth by the exact similarity to every kept document, at the same threshold.
  const sets = texts.map((t) => shingles(t, 5));
  const truth = new Set<number>();
  const pairs = nearDuplicates();
  const found = new Set<number>();
  texts.forEach((t, d) => {
    if (pairs.add(t) >= 0) found.add(d);
  });
  const containing = new Map<number, number[]>(); // shingle → kept documents
  sets.forEach((set, d) => {
    const shared = new Map<number, number>();
    for (const x of set) for (const k of containing.get(x) ?? []) shared.set(k, (shared.get(k) ?? 0) + 1);
    if ([...shared].some(([k, both]) => both / (set.size + sets[k].size - both) >= 0.8)) truth.add(d);
    else for (const x of set) containing.set(x, [...(containing.get(x) ?? []), d]);
  });
  const right = [...found].filter((d) => truth.has(d)).length;
  expect(truth.size).toBeGreaterThan(120);
  expect(right / found.size).toBeGreaterThanOrEqual(0.95);
  expect(right / truth.size).toBeGreaterThanOrEqual(0.95);
  expect(pairs.kept + found.size).toBe(texts.length);
});

test.each([false, true])('planted paragraphs are found in other documents: precision and recall ≥ 0.95 (Han: %s)', (han) => {
  const random = rng(han ? 23 : 29);
  const fresh = () => Array.from({ length: 25 + random(60) }, () => word(random(2000), han));
  const edited = (words: string[]) => {
    const copy = [...words];
    for (let edits = random(1 + Math.floor(copy.length / 60)); edits > 0; edits--)
      copy[random(copy.length)] = word(random(2000), han);
    return copy;
  };
  const paragraphs = duplicateParagraphs();
  const known: string[][] = [];
  const sets: Set<number>[] = [];
  const found = { right: 0, all: 0, planted: 0 };
  for (let d = 0; d < 160; d++) {
    const before = known.length;
    const document: { text: string; repeats: boolean }[] = [];
    for (let p = 0; p < 5; p++) {
      const copied = d > 10 && random(5) === 0;
      const words = copied ? edited(known[random(before)]) : fresh();
      if (!copied) known.push(words);
      const text = words.join(han ? '' : ' ');
      // Truth: the exact similarity to a kept paragraph.
      const set = shingles(text, 5);
      const repeats = sets.some((s) => jaccard(s, set) >= 0.8);
      if (!repeats) sets.push(set);
      else found.planted++;
      document.push({ text: `${text}.`, repeats });
    }
    document.splice(random(5), 0, { text: han ? '“是的，”他说。' : '“Yes,” he said.', repeats: false }); // too short to be a copy
    const { text, repeats } = paragraphs.add(document.map((p) => p.text).join('\n\n'));
    const out = new Set(repeats.map((r) => r.paragraph));
    found.all += out.size;
    found.right += document.filter((p) => p.repeats && out.has(p.text)).length;
    expect(text).toBe(
      document
        .filter((p) => !out.has(p.text))
        .map((p) => p.text)
        .join('\n\n'),
    );
  }
  expect(found.planted).toBeGreaterThan(100);
  expect(found.right / found.all).toBeGreaterThanOrEqual(0.95);
  expect(found.right / found.planted).toBeGreaterThanOrEqual(0.95);
});

test('paragraphs: lines where there is no empty line; a document of copies goes; says where it stood', () => {
  const long = (k: number) => Array.from({ length: 25 }, (_, i) => `w${k}x${i}`).join(' ');
  const paragraphs = duplicateParagraphs();
  expect(paragraphs.add(`${long(1)}\n${long(2)}`).repeats).toEqual([]);
  expect(paragraphs.add(`${long(3)}\n${long(2).toUpperCase()}!\nshort`)).toEqual({
    text: `${long(3)}\nshort`,
    repeats: [{ what: 'exact', paragraph: `${long(2).toUpperCase()}!`, of: 0 }],
  });
  expect(paragraphs.add(`${long(3)}\n\n${long(1)}`)).toMatchObject({ text: undefined, repeats: [{ of: 1 }, { of: 0 }] });
  expect(paragraphs.counts).toEqual({ documents: 3, paragraphs: 7, compared: 6, pairs: 3 });
});

test('the number returned is the document repeated; punctuation, case and width do not matter', () => {
  const pairs = nearDuplicates();
  const text = 'The boat went out at first light and came back with nothing but a broken net and two tired men.';
  expect(pairs.add('something else entirely, which is long enough to be told apart from the rest')).toBe(-1);
  expect(pairs.add(text)).toBe(-1);
  expect(pairs.add(text.toUpperCase().replaceAll(' ', '  ').replace('.', '!'))).toBe(1);
  expect(pairs.add('ｓhort')).toBe(-1);
  expect(pairs.add('Short')).toBe(3);
  expect(pairs.add('short too')).toBe(-1);
});

test('pairs are found with probability 1 − (1 − J⁶)²⁰, and the estimate keeps to the threshold', () => {
  const runs = 60;
  for (const shared of [40, 70, 80, 95]) {
    let found = 0;
    const J = shared / (200 - shared);
    for (let k = 0; k < runs; k++) {
      const a = Array.from({ length: 104 }, (_, i) => `a${k}x${i}`);
      const b = a.map((w, i) => (i < shared + 4 ? w : `b${k}x${i}`));
      if (k === 0) expect(jaccard(shingles(a.join(' '), 5), shingles(b.join(' '), 5))).toBeCloseTo(J, 10);
      const loose = nearDuplicates({ threshold: 0, seed: k });
      loose.add(a.join(' '));
      if (loose.add(b.join(' ')) === 0) found++;
      const strict = nearDuplicates({ threshold: J + 0.2, seed: k }); // four standard errors away
      strict.add(a.join(' '));
      expect(strict.add(b.join(' '))).toBe(-1);
    }
    const p = 1 - (1 - J ** 6) ** 20;
    expect(Math.abs(found / runs - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / runs) + 0.01);
  }
});

test('leak test: 13-grams of the test documents in the training text', () => {
  const passage = Array.from({ length: 30 }, (_, i) => `word${i}`).join(' ');
  const other = Array.from({ length: 40 }, (_, i) => `other${i}`).join(' ');
  const leak = leakTest([passage, other, `${passage} ${other}`]);
  leak.add(`before it ${passage.toUpperCase()}, and after`);
  leak.add(other.split(' ').slice(0, 12).join(' ')); // 12 words in a row are no leak
  expect(leak.shares()).toEqual([1, 0, 18 / 58]);
});
