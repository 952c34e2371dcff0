import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { differingValues } from './values.ts';

// pyarrow wrote them and read their rows: `compare-tables.ts --golden`, which also compares tables of any size.
const golden = JSON.parse(gunzipSync(readFileSync(new URL('./tables.golden.json.gz', import.meta.url))).toString()) as {
  rows: string[];
  files: Record<string, string>;
};
const folder = mkdtempSync(join(tmpdir(), 'qkv-tables-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(Object.keys(golden.files))('%s as pyarrow wrote it: every value is the one that pyarrow reads', async (name) => {
  const path = join(folder, name);
  writeFileSync(path, Buffer.from(golden.files[name], 'base64'));
  const { values, differing } = await differingValues(path, golden.rows);
  expect(differing).toEqual([]);
  expect(values).toBe(golden.rows.length * Object.keys(JSON.parse(golden.rows[0])).length);
});
