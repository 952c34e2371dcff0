/** Values of a table file beside those that it should have. */
import { isDeepStrictEqual } from 'node:util';
import { type TableKind, tableBatches } from '../../../src/data/table.ts';

/** `rows`: JSON lines, as make_tables.py writes them. A text that is no UTF-8 comes as bytes here, as base64 there. */
export async function differingValues(path: string, rows: readonly string[]): Promise<{ values: number; differing: string[] }> {
  const differing: string[] = [];
  let values = 0;
  let at = 0;
  for await (const batch of tableBatches(path, path.split('.').at(-1) as TableKind))
    for (const row of batch.rows) {
      const expected = JSON.parse(rows[at] ?? 'null') as Record<string, unknown> | null;
      for (const name of new Set([...Object.keys(row), ...Object.keys(expected ?? {})])) {
        values++;
        const value = row[name];
        const found = value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
        if (!isDeepStrictEqual(found, expected?.[name]))
          differing.push(`row ${at}, ${name}: ${JSON.stringify(found)}, pyarrow has ${JSON.stringify(expected?.[name])}`);
      }
      at++;
    }
  if (at !== rows.length) differing.push(`${at} rows, pyarrow has ${rows.length}`);
  return { values, differing };
}
