/**
 * Parquet and Arrow files that pyarrow wrote, value for value with what pyarrow reads in them.
 *   QKV_PYTHON=python npx tsx test/parity/tables/compare-tables.ts [--rows=20000] [--seed=1] [--golden]
 * `--golden` writes the small files and rows of tables.test.ts. The Python needs `pyarrow`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { differingValues } from './values.ts';

const args = process.argv.slice(2);
const option = (name: string, otherwise: string) => args.find((a) => a.startsWith(`--${name}=`))?.split('=')[1] ?? otherwise;
const golden = args.includes('--golden');
const folder = mkdtempSync(join(tmpdir(), 'qkv-tables-'));
try {
  const script = fileURLToPath(new URL('./make_tables.py', import.meta.url));
  const made = spawnSync(
    process.env['QKV_PYTHON'] ?? 'python3',
    [script, folder, golden ? '5' : option('rows', '20000'), option('seed', '1')],
    { encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(made.stderr.slice(-2000));
  const rows = readFileSync(join(folder, 'rows.jsonl'), 'utf8').trim().split('\n');
  const names = readdirSync(folder).filter((n) => n !== 'rows.jsonl');
  for (const name of names) {
    const { values, differing } = await differingValues(join(folder, name), rows);
    console.log(`${name.padEnd(20)} ${values} values, ${differing.length} differ`, ...differing.slice(0, 3));
    if (differing.length > 0) process.exitCode = 1;
  }
  if (golden) {
    const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), 'base64')]));
    const bytes = gzipSync(JSON.stringify({ rows, files }), { level: 9 });
    writeFileSync(new URL('./tables.golden.json.gz', import.meta.url), bytes);
  }
} finally {
  rmSync(folder, { recursive: true });
}
