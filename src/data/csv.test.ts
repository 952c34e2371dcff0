import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CsvOptions, CsvReader } from './csv.ts';

function readAll(text: string, kind: CsvOptions['kind'] = 'csv') {
  const refused: [number, string][] = [];
  const empty: number[] = [];
  const reader = new CsvReader({
    kind,
    refuse: (line, reason) => refused.push([line, reason]),
    empty: (line) => empty.push(line),
  });
  const rows = [];
  for (const [i, line] of (text.match(/[^\n]*\n|[^\n]+$/g) ?? []).entries()) {
    const end = /\r?\n$/.exec(line)?.[0] ?? '';
    rows.push(...reader.add({ text: line.slice(0, line.length - end.length), end: end as '\n', number: i + 1 }));
  }
  rows.push(...reader.end());
  return { rows: rows.map((r) => ({ line: r.line, values: { ...r.values } })), refused, empty, columns: reader.columns };
}

test('RFC 4180: quotes, doubled quotes, delimiters and line ends inside, CRLF', () => {
  const { rows, refused } = readAll('a,b,c\r\n1,"x, ""y""",\r\n"two\r\nlines","","z"\r\n');
  expect(refused).toEqual([]);
  expect(rows).toEqual([
    { line: 2, values: { a: '1', b: 'x, "y"', c: '' } },
    { line: 3, values: { a: 'two\r\nlines', b: '', c: 'z' } },
  ]);
});

test('whatever is written by the rules is read as it was', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r\n', ' ', '文', ';'), maxLength: 8 });
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 6 }), (cells) => {
      const quoted = (s: string) => (/[",\r\n]/.test(s) || s.trim() === '' ? `"${s.replaceAll('"', '""')}"` : s);
      const text = `p,q,r\n${cells.map((row) => `${row.map(quoted).join(',')}\n`).join('')}`;
      const { rows, refused } = readAll(text);
      expect(refused).toEqual([]);
      expect(rows.map((r) => [r.values['p'], r.values['q'], r.values['r']])).toEqual(cells);
    }),
    { numRuns: 300 },
  );
});

test('a stray quote costs its own row and no other', () => {
  const good = Array.from({ length: 500 }, (_, i) => `${i},row ${i}`);
  const dirty = [...good];
  dirty.splice(17, 0, '9,"a quote that opens');
  dirty.splice(300, 0, '"so" it is said,x', '1,2,3', '7');
  const { rows, refused } = readAll(`n,t\n${dirty.join('\n')}\n9,"open at the end\n1,last\n`);
  expect(rows.map((r) => r.values['t'])).toEqual([...good.map((g) => g.split(',')[1]), 'last']);
  expect(refused.map(([line]) => line)).toEqual([19, 302, 303, 304, 506]);
});

test('a quote that never closes in a long file is given up after a mebibyte', () => {
  const lines = Array.from({ length: 30_000 }, (_, i) => `${i},${'x'.repeat(50)}`);
  const { rows, refused } = readAll(`n,t\n1,"open\n${lines.join('\n')}\n`);
  expect(rows).toHaveLength(30_000);
  expect(refused).toEqual([[2, 'a quote opens here and does not close within 1048576 characters']]);
});

test('semicolons where the header has no comma; tabs without quoting; names given twice; empty lines', () => {
  expect(readAll('a;b\n1,5;2\n').rows[0].values).toEqual({ a: '1,5', b: '2' });
  expect(readAll('a\tb\n"x\t"y\n', 'tsv').rows[0].values).toEqual({ a: '"x', b: '"y' });
  expect(readAll('\na, a ,b\n\n1,2,3\n')).toMatchObject({ columns: ['a', 'a_2', 'b'], empty: [1, 3], refused: [] });
});
