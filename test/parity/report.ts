// npm run parity [-- --json]: every golden model beside its oracle, a row each. The rows of docs/models.md are these.

import { readdirSync } from 'node:fs';
import { backend } from '../../src/tensor/index.ts';
import { compareDecoder } from './decoders.ts';
import { compareEncoder } from './encoders.ts';
import { bounds, goldenRoot, type ParityRow } from './golden.ts';
import { compareMixture, compareRecurrent } from './modules.ts';
import { compareT5, compareTransformer } from './seq2seq.ts';

const rows: ParityRow[] = [];
for (const name of readdirSync(goldenRoot('./decoders'))) rows.push(await compareDecoder(name));
for (const name of readdirSync(goldenRoot('./encoders'))) rows.push(compareEncoder(name));
for (const name of readdirSync(goldenRoot('./seq2seq'))) rows.push(await compareT5(name));
for (const name of readdirSync(goldenRoot('./torch'))) {
  if (name.startsWith('transformer')) rows.push(await compareTransformer(name));
  else rows.push(name.startsWith('mixture') ? compareMixture() : compareRecurrent(name));
}

const within = (row: ParityRow): boolean =>
  (Object.keys(bounds) as (keyof typeof bounds)[]).every((key) => row[key] <= bounds[key]) && row.greedy !== false;

if (process.argv.includes('--json')) {
  for (const row of rows) console.log(JSON.stringify({ ...row, within: within(row), backend: backend().name }));
} else {
  const short = (x: number): string => (x === 0 ? '0' : x.toExponential(1));
  console.log('| family | configuration | beside | hidden | logits | loss | gradients | greedy text |');
  console.log('|---|---|---|---|---|---|---|---|');
  for (const r of rows) {
    const numbers = [r.hidden, r.logits, r.loss, r.gradients].map(short);
    const text = r.greedy === undefined ? '–' : r.greedy ? 'equal' : 'DIFFERS';
    console.log(`| ${[r.family, r.configuration, r.oracle, ...numbers, text].join(' | ')} |`);
  }
}
if (!rows.every(within)) process.exitCode = 1;
