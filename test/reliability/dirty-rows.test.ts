import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DIRTY_CSV, DIRTY_JSON, dirtyRows } from './dirty-rows.ts';

// A million rows and a line of 600 MB are run by hand (dirty-rows.ts says how); this is the same program on a portion.
test('40 kinds of dirty rows among good ones, and a line of 80 MB: counts exact for each kind, every good row used', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-dirty-'));
  try {
    const { wrong, rows, counted } = await dirtyRows(join(folder, 'run'), { rows: 4000, times: 3, long: 80e6 });
    expect(wrong).toEqual([]);
    expect(rows).toBe(4000 + 3 * (DIRTY_JSON.length + DIRTY_CSV.length) + 2);
    expect(DIRTY_JSON.length).toBeGreaterThanOrEqual(40);
    for (const kind of ['bad_utf8', 'bad_json', 'bad_csv', 'bad_field', 'empty', 'surrogates', 'special_in_text'])
      expect(counted[kind]).toBeGreaterThan(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
