// npm run parity [-- --json | --write]: every golden model beside its oracle, a row each. --write puts the table into docs/models.md and its twin.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { backend } from '../../src/tensor/index.ts';
import { compareDecoder } from './decoders.ts';
import { compareEncoder } from './encoders.ts';
import { bounds, goldenRoot, type ParityRow } from './golden.ts';
import { compareMixture, compareRecurrent } from './modules.ts';
import { compareT5, compareTransformer } from './seq2seq.ts';

// Whoever reads the rows may have had enough (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

const rows: ParityRow[] = [];
for (const name of readdirSync(goldenRoot('./decoders'))) rows.push(await compareDecoder(name));
for (const name of readdirSync(goldenRoot('./encoders'))) rows.push(compareEncoder(name));
for (const name of readdirSync(goldenRoot('./seq2seq'))) rows.push(await compareT5(name));
for (const name of readdirSync(goldenRoot('./torch'))) {
  if (name.startsWith('transformer')) rows.push(await compareTransformer(name));
  else rows.push(name.startsWith('mixture') ? compareMixture() : compareRecurrent(name));
}

const within = (row: ParityRow): boolean =>
  (Object.keys(bounds) as (keyof typeof bounds)[]).every((key) => row[key] <= bounds[key]) &&
  row.greedy !== false &&
  row.beams !== false;

const table = (zh: boolean): string => {
  const short = (x: number): string => (x === 0 ? '0' : x.toExponential(1));
  const text = (same?: boolean): string => (same === undefined ? '–' : same ? (zh ? '相同' : 'equal') : zh ? '不同' : 'DIFFERS');
  const head = zh
    ? '| 模型族 | 配置 | 对照 | 隐状态 | logits | 损失 | 梯度 | 贪心文本 | 束搜索 |'
    : '| family | configuration | beside | hidden | logits | loss | gradients | greedy text | beams |';
  const lines = rows.map((r) => {
    const numbers = [r.hidden, r.logits, r.loss, r.gradients].map(short);
    return `| ${[r.family, r.configuration, r.oracle, ...numbers, text(r.greedy), text(r.beams)].join(' | ')} |`;
  });
  return [head, '|---|---|---|---|---|---|---|---|---|', ...lines].join('\n');
};

if (process.argv.includes('--json')) {
  for (const row of rows) console.log(JSON.stringify({ ...row, within: within(row), backend: backend().name }));
} else if (process.argv.includes('--write')) {
  for (const page of ['models.md', 'models.zh.md']) {
    const path = fileURLToPath(new URL(`../../docs/${page}`, import.meta.url));
    const text = readFileSync(path, 'utf8');
    const [before, after] = [text.indexOf('<!-- parity -->'), text.indexOf('<!-- /parity -->')];
    if (before < 0 || after < before) throw new Error(`${path}: the table stands between <!-- parity --> and <!-- /parity -->`);
    writeFileSync(path, `${text.slice(0, before)}<!-- parity -->\n${table(page.includes('.zh'))}\n${text.slice(after)}`);
  }
} else console.log(table(false));
if (!rows.every(within)) process.exitCode = 1;
