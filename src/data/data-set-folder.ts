/**
 * A data set folder as the `datasets` library of Hugging Face saves it (`save_to_disk`): Arrow files that `state.json` lists in their order, beside
 * `dataset_info.json`; several splits in folders of their own, under a `dataset_dict.json`.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { damagedTable, severalSplits } from './errors.ts';

const MAX_JSON_BYTES = 64 << 20;

/** The Arrow files of such a folder, in order; undefined for any other folder. E146 when it holds several splits. */
export async function dataSetFiles(folder: string): Promise<string[] | undefined> {
  const dict = await json(join(folder, 'dataset_dict.json'));
  if (dict && Array.isArray(dict['splits']) && dict['splits'].length > 0 && dict['splits'].every(isPlainName))
    throw severalSplits(folder, dict['splits']);
  const state = await json(join(folder, 'state.json'));
  const listed = state?.['_data_files'];
  if (!Array.isArray(listed)) return undefined;
  const path = join(folder, 'state.json');
  const names = listed.map((f) => (f as { filename?: unknown } | null)?.filename);
  if (!names.every(isPlainName)) throw damagedTable(path, 'Arrow', 'it names files outside of its folder');
  if (Array.isArray(state?.['_indices_data_files']) && state['_indices_data_files'].length > 0)
    throw damagedTable(path, 'Arrow', 'its rows are chosen by an index; save it again after flatten_indices()');
  return names;
}

const isPlainName = (name: unknown): name is string =>
  typeof name === 'string' && /^[^/\\\0]+$/.test(name) && name !== '.' && name !== '..';

async function json(path: string): Promise<Record<string, unknown> | undefined> {
  const bytes = await readFile(path).catch(() => undefined);
  if (!bytes || bytes.length > MAX_JSON_BYTES) return undefined;
  try {
    const value = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
