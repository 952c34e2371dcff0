/** Which files are meant: one that is named, all of a folder that hold text or rows, or standard input. */
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { dataSetFiles } from './data-set-folder.ts';
import { emptyData, ioFailed, notFound, notText } from './errors.ts';
import { describesData } from './licence.ts';
import type { FileIdentity } from './lines.ts';
import type { RowKind } from './rows.ts';
import type { TableKind } from './table.ts';

export type SourceKind = 'text' | RowKind | TableKind;

/** Standard input, as a path. */
export const STDIN = '-';

/** A file that documents come from. */
export interface SourceFile extends FileIdentity {
  /** As it can be opened. */
  path: string;
  /** Relative to the folder that was named, with `/`; the file's own name when a file was named. */
  name: string;
  kind: SourceKind;
}

/** File name endings that a folder is searched for. A file that is named itself is read whatever its ending. */
const TEXT_ENDINGS: Readonly<Record<string, SourceKind>> = {
  '.txt': 'text',
  '.text': 'text',
  '.md': 'text',
  '.markdown': 'text',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.parquet': 'parquet',
  '.arrow': 'arrow',
  '.feather': 'arrow',
};

/** The files at `paths` (files or folders, folders recursively), sorted by name within each. E130 when a path is absent, E134 when no file is left. */
export async function listSources(paths: string | readonly string[]): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  for (const path of typeof paths === 'string' ? [paths] : paths) {
    if (path === STDIN) {
      found.push({ path, name: 'stdin', kind: 'text', size: 0, mtimeMs: 0 });
      continue;
    }
    const info = await stat(path).catch((e) => {
      throw e.code === 'ENOENT' || e.code === 'ENOTDIR' ? notFound(path) : ioFailed(path, 'read', e);
    });
    if (info.isDirectory()) await walk(path, '', found);
    else if (info.isFile())
      found.push({ path, name: basename(path), kind: kindOf(path) ?? 'text', size: info.size, mtimeMs: info.mtimeMs });
    else throw notText(path, 'a device, pipe or socket');
  }
  if (found.length === 0)
    throw emptyData(typeof paths === 'string' ? paths : paths.join(', '), { files: 0, rows: 0, rejected: {} });
  return found;
}

/** `.csv` of `rows.csv.gz`, `rows.csv.zst`. */
const endingOf = (path: string): string => extname(path.toLowerCase().replace(/\.(gz|zst)$/, ''));
const kindOf = (path: string): SourceKind | undefined => (endingOf(path) === '.json' ? 'jsonl' : TEXT_ENDINGS[endingOf(path)]);

/** A run beside the texts, as `data=.` finds it: its log is no text. */
const isRun = (folder: string): boolean => ['env.json', 'log.jsonl'].every((name) => existsSync(join(folder, name)));

async function walk(root: string, inside: string, found: SourceFile[]): Promise<void> {
  const folder = join(root, inside);
  const listed = await dataSetFiles(folder);
  if (listed) {
    for (const name of listed) {
      const path = join(folder, name);
      const info = await stat(path).catch(() => {
        throw notFound(path);
      });
      found.push({ path, name: inside ? `${inside}/${name}` : name, kind: 'arrow', size: info.size, mtimeMs: info.mtimeMs });
    }
    return;
  }
  const entries = await readdir(folder, { withFileTypes: true }).catch((e) => {
    throw ioFailed(folder, 'read', e);
  });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1)); // by code unit: the same on every machine, whatever its language
  for (const entry of entries) {
    if (entry.name.startsWith('.') || (inside === '' && describesData(root, entry.name))) continue;
    const name = inside ? `${inside}/${entry.name}` : entry.name;
    const path = join(root, name);
    if (entry.isDirectory()) {
      if (!isRun(path)) await walk(root, name, found); // a link to a folder is no directory here: no cycles
    } else if (TEXT_ENDINGS[endingOf(entry.name)]) {
      const info = await stat(path).catch(() => undefined); // a dangling link
      if (info?.isFile()) found.push({ path, name, kind: kindOf(path)!, size: info.size, mtimeMs: info.mtimeMs });
    }
  }
}
