import { expect, test } from 'vitest';
import { Annotating, type Item, itemId } from '../data/index.ts';
import { memory } from '../tensor/index.ts';
import { LabelSuggester } from './suggest-labels.ts';

/**
 * Four kinds of text, of which one is common and three are rare: each has words of its own among words that all share. Random order spends its labels on the common kind,
 * whose texts are alike; the classifier is unsure of what it has not seen.
 */
function planted(seed: number, count: number): { items: Item[]; truth: Map<string, string> } {
  let s = seed * 7919 + 17;
  const random = (n: number) => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
  const truth = new Map<string, string>();
  const items = Array.from({ length: count }, (_, i) => {
    const kind = [0, 0, 0, 0, 0, 0, 0, 1, 2, 3][random(10)];
    const words = Array.from({ length: 14 }, (_, w) => (w < 3 ? `kind${kind}x${random(12)}` : `w${random(250)}`));
    const text = `${words.join(' ')} n${i}`;
    truth.set(itemId(text), 'abcd'[kind]);
    return { id: itemId(text), text, source: 's', line: i + 1 };
  });
  return { items, truth };
}

/** Labels until the accuracy on all items is `goal`, learning after every 16. */
function labelsNeeded(seed: number, order: 'uncertain' | 'random', goal: number): number {
  const { items, truth } = planted(seed, 400);
  const suggester = new LabelSuggester(items, ['a', 'b', 'c', 'd'], { steps: 40, every: 16 });
  const annotating = new Annotating(items, [], order === 'uncertain' ? { priority: (i) => suggester.uncertainty(i.id) } : {}); // the items are in random order
  for (let labels = 1; labels <= items.length; labels++) {
    const item = annotating.next('me')!;
    annotating.label(item.id, 'me', truth.get(item.id)!);
    if (!suggester.update(annotating)) continue;
    const right = items.filter((i) => suggester.suggest(i.id)!.label === truth.get(i.id)).length;
    if (right >= goal * items.length) {
      suggester.dispose();
      return labels;
    }
  }
  return items.length;
}

test('asked by uncertainty, it reaches 95 % with fewer labels than in random order, with each of three seeds', () => {
  const live = memory.liveBytes;
  const needed = [1, 2, 3].map((seed) => ({
    uncertain: labelsNeeded(seed, 'uncertain', 0.95),
    random: labelsNeeded(seed, 'random', 0.95),
  }));
  for (const { uncertain, random } of needed) expect(uncertain, JSON.stringify(needed)).toBeLessThan(0.75 * random);
  expect(memory.liveBytes).toBe(live);
});

test('Chinese by characters and pairs; nothing is suggested before two kinds are known; probabilities sum to one', () => {
  const items = ['好极了，很喜欢', '太好了，喜欢', '不好，讨厌', '真讨厌，不行', '很喜欢，好', '讨厌，不好'].map((text, i) => ({
    id: itemId(text),
    text,
    source: 's',
    line: i,
  }));
  const suggester = new LabelSuggester(items, ['1', '2'], { every: 2 });
  const annotating = new Annotating(items);
  annotating.label(items[0].id, 'a', 1);
  annotating.label(items[1].id, 'a', 1);
  expect(suggester.update(annotating)).toBe(false);
  expect(suggester.suggest(items[4].id)).toBeUndefined();
  expect(suggester.uncertainty(items[4].id)).toBe(0);
  annotating.label(items[2].id, 'b', 2);
  annotating.skip(items[3].id, 'b');
  expect(suggester.update(annotating)).toBe(true);
  expect(suggester.update(annotating)).toBe(false);
  expect(suggester.suggest(items[4].id)).toMatchObject({ label: '1' });
  const guess = suggester.suggest(items[5].id)!;
  expect(guess.label).toBe('2');
  expect(guess.all.reduce((sum, a) => sum + a.probability, 0)).toBeCloseTo(1, 5);
  expect(guess.probability).toBeGreaterThan(0.5);
  suggester.dispose();
});
