import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bounds, goldenRoot } from './golden.ts';

const configurations = ['decoders', 'encoders', 'seq2seq', 'torch'].flatMap((kind) => readdirSync(goldenRoot(`./${kind}`)));

test.each(['models.md', 'models.zh.md'])('docs/%s has a row for every golden model, within the bounds', (page) => {
  const text = readFileSync(goldenRoot(`../../docs/${page}`), 'utf8');
  const table = text.slice(text.indexOf('<!-- parity -->'), text.indexOf('<!-- /parity -->'));
  const rows = table
    .split('\n')
    .slice(3)
    .filter((line) => line.startsWith('|'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  const named = rows.map(([, , configuration]) => configuration.replace(/ \(\w+\)$/, ''));
  const expected = configurations.map((name) => (name === 'mixture-mixtral' ? 'mixture of experts' : name));
  expect([...named].sort(), 'npm run parity -- --write').toEqual(expected.sort());
  for (const [, , name, , ...cells] of rows) {
    Object.values(bounds).forEach((bound, i) => expect(Number(cells[i]), `${name} ${cells[i]}`).toBeLessThanOrEqual(bound));
    for (const same of cells.slice(4, 6)) expect(['–', 'equal', '相同'], name).toContain(same);
  }
});
