/**
 * Every error that preparing or reading data can end in, made in one place. Codes 130–139 belong to data (cli.md §4); exit code 65
 * unless said otherwise.
 *
 * | code | when                                        | keys of `values` |
 * |------|---------------------------------------------|------------------|
 * | E130 | a path does not exist (exit 3)              | path |
 * | E131 | JSONL rows have no text field               | path, line, field, fields: string[] |
 * | E132 | text is not UTF-8                           | path, line, byte, offset, guess ('gbk', 'big5', 'latin1', 'utf-16le', 'utf-16be', 'unknown') |
 * | E133 | not a text file at all                      | path, looksLike |
 * | E134 | no text: empty file, folder or rows         | path, files, rows, rejected: Record<kind, number> |
 * | E135 | data shorter than the context (exit 2)      | split, tokens, contextLength, largest |
 * | E136 | too many rows refused                       | rejected, rows, limit, kinds: Record<kind, number>, first: {source, line, kind, reason}, rejectsFile |
 * | E137 | data changed while it was read or in use    | path |
 * | E138 | token shard damaged, or of another tokenizer | path, reason |
 * | E139 | cannot write or read (exit 4 when full)     | path, operation, reason ('full', 'read-only', 'permission', or the system's word) |
 * | E141 | rows lack the columns that were asked for   | path, line, wanted: string[], columns: string[], setting |
 * | E142 | a pipeline file that is not one             | path, problem, rules: string[] |
 * | E143 | two aligned files of different length       | path, other, lines, otherLines |
 * | E146 | a data set of several splits, none named     | path, splits: string[] |
 *
 * A damaged or hostile compressed file keeps a word as its code (BOMB, CORRUPT), with file, detail and hint.
 */
import { QkvError } from '../errors.ts';

const list = (words: readonly string[], most = 8): string =>
  words
    .slice(0, most)
    .map((w) => `"${w}"`)
    .join(', ') + (words.length > most ? `, … (${words.length} in all)` : '');

/** E130: nothing at this path. */
export const notFound = (path: string) =>
  new QkvError('E130', `data: nothing at ${path}. Check the path, or list the folder it should be in`, { path });

/** E131: the rows are objects, but none has the text field. `fields` are the names that the first rows do have. */
export const noTextField = (path: string, line: number, field: string, fields: readonly string[]) =>
  new QkvError(
    'E131',
    `no text in the data: ${path} line ${line} has no field "${field}"` +
      (fields.length > 0
        ? `, but ${list(fields)}. Name the field: data.field=${fields[0]}`
        : '. A row looks like {"text": "…"}, one object a line'),
    { path, line, field, fields: [...fields] },
  );

/** E132: bytes that are not UTF-8. `line` and `byte` count from 1 (byte within the line), `offset` from 0 in the file. */
export function notUtf8(
  path: string,
  { line, byte, offset, guess }: { line: number; byte: number; offset: number; guess: string },
) {
  const looks = guess === 'unknown' ? '' : ` (looks like ${guess === 'gbk' ? 'GBK' : guess})`;
  const hint =
    guess === 'unknown' ? 'replace bad bytes: data.encodingErrors=replace' : `name the encoding: data.encoding=${guess}`;
  return new QkvError('E132', `${path}:${line}:${byte} is not UTF-8${looks}. Convert the file, or ${hint}`, {
    path,
    line,
    byte,
    offset,
    guess,
  });
}

/** E133: an archive, an image, a table format: something that is not text. */
export const notText = (path: string, looksLike: string) =>
  new QkvError(
    'E133',
    `${path} is not a text file: it looks like ${looksLike}. Text (.txt, .md), JSONL, CSV (plain, .gz or .zst), Parquet and Arrow can be read`,
    {
      path,
      looksLike,
    },
  );

/** E134: nothing to train on was left. */
export function emptyData(
  path: string,
  { files, rows, rejected }: { files: number; rows: number; rejected: Record<string, number> },
) {
  const refused = Object.entries(rejected)
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => `${n} ${kind}`)
    .join(', ');
  const detail =
    files === 0
      ? 'no .txt, .md, .jsonl, .csv, .tsv, .parquet or .arrow file in it'
      : refused
        ? `${files} file(s), ${rows} row(s), refused: ${refused}`
        : `${files} file(s), all empty`;
  return new QkvError('E134', `no text in ${path}: ${detail}. Look at it with: qkv data inspect ${path}`, {
    path,
    files,
    rows,
    rejected,
  });
}

/** E135: a window needs contextLength + 1 tokens (the last target). */
export function tooShort(split: string, tokens: number, contextLength: number) {
  const largest = Math.max(0, tokens - 1);
  return new QkvError(
    'E135',
    `the ${split} data has ${tokens} tokens, a context of ${contextLength} needs ${contextLength + 1}. ` +
      (largest > 0 ? `Use contextLength=${largest} or less, or more text` : 'Add text'),
    { split, tokens, contextLength, largest },
  );
}

/** E136: more rows were refused than the limit allows. */
export function tooManyRejected(values: {
  rejected: number;
  rows: number;
  limit: number;
  kinds: Record<string, number>;
  first: { source: string; line: number; kind: string; reason: string } | undefined;
  rejectsFile: string | undefined;
}) {
  const { rejected, rows, limit, kinds, first, rejectsFile } = values;
  const byKind = Object.entries(kinds)
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => `${n} ${kind}`)
    .join(', ');
  return new QkvError(
    'E136',
    `${rejected} of ${rows} rows were refused (${byKind}); the limit is ${limit * 100} %.` +
      (first ? ` First: ${first.source}:${first.line} ${first.reason}.` : '') +
      (rejectsFile ? ` All of them: ${rejectsFile}.` : '') +
      ' Mend the rows, or allow more: data.maxRejected=0.05',
    values,
  );
}

/** E137: size or modification time differ from what was read before. */
export const changed = (path: string) =>
  new QkvError(
    'E137',
    `${path} changed while it was in use (size or modification time differ). Stop the other writer and run again`,
    { path },
  );

/** E138: a token shard that cannot be trusted. */
export const badShard = (path: string, reason: string) =>
  new QkvError('E138', `${path}: ${reason}. Delete the prepared folder and run again; it is rebuilt from the text`, {
    path,
    reason,
  });

/** E139: the system refused; the reason in one word from the system's code. */
export function ioFailed(path: string, operation: 'read' | 'write', error: unknown) {
  const code = (error as NodeJS.ErrnoException)?.code ?? String(error);
  const reason =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'full'
      : code === 'EROFS'
        ? 'read-only'
        : code === 'EACCES' || code === 'EPERM'
          ? 'permission'
          : code;
  const hint =
    reason === 'full'
      ? 'The disk is full: free space, or choose another folder'
      : reason === 'read-only'
        ? 'The folder is read-only: choose another one'
        : reason === 'permission'
          ? `No permission: choose another ${operation === 'write' ? 'folder' : 'file'}, or change its mode`
          : 'The system said so';
  return new QkvError('E139', `cannot ${operation} ${path} (${code}). ${hint}`, { path, operation, reason });
}

/** E141: what a row needs, and what it has. `setting` names the key that maps columns, where there is one. */
export function noColumns(path: string, line: number, wanted: readonly string[], columns: readonly string[], setting?: string) {
  return new QkvError(
    'E141',
    `${path} line ${line}: no ${wanted.map((w) => `"${w}"`).join(' or ')}` +
      (columns.length > 0 ? `; the columns are ${list(columns)}` : '; the row has no columns') +
      (setting ? `. Name the column: ${setting}` : ''),
    { path, line, wanted: [...wanted], columns: [...columns], ...(setting ? { setting } : {}) },
  );
}

/** E142: what is wrong with a pipeline file, and the rules there are. */
export const badPipeline = (path: string, problem: string, rules: readonly string[]) =>
  new QkvError('E142', `${path}: ${problem}. Rules: ${rules.join(', ')}`, { path, problem, rules: [...rules] });

/** E143: line i of one file belongs to line i of the other. */
export const notAligned = (path: string, lines: number, other: string, otherLines: number) =>
  new QkvError('E143', `${path} has ${lines} lines, ${other} has ${otherLines}: aligned files have the same number`, {
    path,
    other,
    lines,
    otherLines,
  });

const refusedFile = (code: string, file: string, detail: string, hint: string) =>
  new QkvError(code, `${file}: ${detail}. ${hint}`, { file, detail, hint });

/** BOMB (Z3): a small file that expands without end. */
export const bomb = (path: string, read: number, ratio: number) =>
  refusedFile(
    'BOMB',
    path,
    `${read} bytes expand to more than ${ratio} times as many; stopped`,
    'Text does not compress like that. If it is your own file, unpack it first',
  );

/** CORRUPT: a gzip stream that is damaged or cut. */
export const damagedGzip = (path: string, message: string) =>
  refusedFile('CORRUPT', path, `the gzip data is damaged or cut (${message})`, 'Copy or download it again');

/** CORRUPT: a Zstandard stream that is damaged, cut, or asks for more memory than text needs. */
export const damagedZstd = (path: string, message: string) =>
  refusedFile('CORRUPT', path, `the Zstandard data is damaged or cut (${message})`, 'Copy or download it again');

/** CORRUPT: a Parquet or Arrow file that is damaged, or uses something that is not read. */
export const damagedTable = (path: string, format: 'Parquet' | 'Arrow', message: string) =>
  refusedFile(
    'CORRUPT',
    path,
    `the ${format} data is damaged, or uses what is not read here (${message.slice(0, 200)})`,
    'Copy or download it again, or write it once more with another program',
  );

/** E146: a data set of several parts, of which one has to be named. */
export const severalSplits = (path: string, splits: readonly string[]) =>
  new QkvError('E146', `${path} holds the splits ${list(splits)}. Name one of them: ${path}/${splits[0]}`, {
    path,
    splits: [...splits],
  });
