import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cohenKappa } from './agreement.ts';
import {
  agreementOf,
  Annotating,
  type AnnotationEvent,
  AnnotationLog,
  annotationTokens,
  exportConll,
  exportRows,
  itemId,
} from './annotate.ts';

const items = ['good', 'bad', 'so so', '不错', 'meh'].map((text, i) => ({
  id: itemId(text),
  text,
  source: 'x.txt',
  line: i + 1,
}));
const id = (i: number) => items[i].id;
const now = () => new Date(0);

test('the queue: next is what this annotator has not seen; undo brings the last one back, a skip too', () => {
  const events: AnnotationEvent[] = [];
  const a = new Annotating(items, [], { now, onEvent: (e) => events.push(e) });
  expect(a.undo('ann')).toBeUndefined();
  a.label(id(0), 'ann', 'pos');
  a.skip(id(1), 'ann');
  expect(a.next('ann')?.text).toBe('so so');
  expect(a.next('bob')?.text).toBe('good');
  expect(a.undo('ann')).toEqual({ id: id(1), annotator: 'ann' });
  expect(a.undo('ann')).toMatchObject({ label: 'pos' });
  expect(a.next('ann')?.text).toBe('good');
  a.label(id(0), 'ann', 'neg');
  expect(a.progress('ann')).toEqual({ items: 5, labelled: 1, skipped: 0, left: 4 });
  // The state is the log replayed.
  expect(new Annotating(items, events).of('ann')).toEqual(a.of('ann'));
  expect(events).toHaveLength(5);
});

test('priority: the most uncertain first', () => {
  const a = new Annotating(items, [], { priority: (i) => i.text.length });
  expect(a.next('x')?.text).toBe('so so');
  a.skip(id(2), 'x');
  expect(a.next('x')?.text).toBe('good');
});

test('agreement of several annotators, each over what was shared', () => {
  const a = new Annotating(items);
  const say = (who: string, labels: (string | null)[]) => {
    for (const [i, label] of labels.entries()) if (label !== null) a.label(id(i), who, label);
  };
  say('ann', ['p', 'n', 'p', 'p', 'n']);
  expect(agreementOf(a)).toBeUndefined();
  say('bob', ['p', 'n', 'n', 'p', null]);
  say('cy', ['p', null, 'n', 'p', null]);
  const found = agreementOf(a)!;
  expect(found).toMatchObject({ annotators: ['ann', 'bob', 'cy'], items: 4 });
  expect(found.cohen.map((c) => [c.a, c.b, c.items])).toEqual([
    ['ann', 'bob', 4],
    ['ann', 'cy', 3],
    ['bob', 'cy', 3],
  ]);
  expect(found.cohen[0].kappa).toBe(cohenKappa(['p', 'n', 'p', 'p'], ['p', 'n', 'n', 'p']));
  expect(found.alpha.ordinal).toBeUndefined();
  expect(exportRows(a).map((r) => r['label'])).toEqual(['p', 'n', 'n', 'p', 'n']);
  expect(exportRows(a)[2]).toMatchObject({ text: 'so so', labels: { ann: 'p', bob: 'n', cy: 'n' }, line: 3 });
});

test('spans come out as CoNLL, in Chinese a character a line', () => {
  const text = 'Ann Lee met 李白, twice.';
  const a = new Annotating([
    { id: 'x', text, source: 's', line: 1 },
    { id: 'y', text: 'No one', source: 's', line: 2 },
  ]);
  a.label('x', 'me', [
    { from: 0, to: 7, label: 'PER' },
    { from: 12, to: 14, label: 'PER' },
  ]);
  a.label('y', 'me', []);
  expect(exportConll(exportRows(a))).toBe(
    'Ann\tB-PER\nLee\tI-PER\nmet\tO\n李\tB-PER\n白\tI-PER\n,\tO\ntwice\tO\n.\tO\n\nNo\tO\none\tO\n',
  );
  expect(annotationTokens('a1-é 🙂').map((t) => t.text)).toEqual(['a1', '-', 'é', '🙂']);
});

test('the log survives a process that was killed in the middle of a line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-annotate-'));
  try {
    const path = join(folder, 'log.jsonl');
    const log = new AnnotationLog(path);
    log.append({ id: id(0), annotator: 'ann', label: 'p', at: 'now' });
    log.close();
    appendFileSync(path, '{"id":"half');
    const again = new AnnotationLog(path);
    expect(again.events).toHaveLength(1);
    again.append({ annotator: 'ann', undo: true, at: 'now' });
    again.close();
    expect(
      readFileSync(path, 'utf8')
        .trimEnd()
        .split('\n')
        .map((l) => JSON.parse(l)),
    ).toMatchObject([{ label: 'p' }, { undo: true }]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
