/** Parallel pairs and labelled texts, as typed rows: from columns that are named, or from two aligned files. */
import { noColumns, notAligned } from './errors.ts';
import { records } from './records.ts';
import { Rejects } from './rejects.ts';
import { listSources, type ReadOptions, rowsOf } from './sources.ts';

export interface Pair {
  source: string;
  target: string;
  /** Line of the row, from 1. */
  line: number;
}

/** Column names that a pair is looked for under, when none are given. */
const PAIR_COLUMNS: readonly (readonly [string, string])[] = [
  ['source', 'target'],
  ['src', 'tgt'],
  ['input', 'output'],
  ['en', 'zh'],
  ['text', 'summary'],
];

/** The value of a column; `translation.en` looks inside an object. */
export function columnOf(values: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(values, name)) return values[name];
  let value: unknown = values;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/**
 * Pairs of two columns of a JSONL, CSV or TSV file. Without names the first row decides among `source target`, `src tgt`, `input output`, `en zh`,
 * `text summary`. E141, with the columns that are there, when a name is not among them; a row whose values are no text is refused and counted.
 */
export async function* pairsOf(
  path: string,
  { source, target, ...options }: ReadOptions & { source?: string; target?: string } = {},
): AsyncGenerator<Pair> {
  const rejects = options.rejects ?? new Rejects();
  for (const file of await listSources(path)) {
    let names = source !== undefined && target !== undefined ? ([source, target] as const) : undefined;
    for await (const { line, values } of rowsOf(file, { ...options, rejects })) {
      names ??= PAIR_COLUMNS.find((pair) => pair.every((name) => columnOf(values, name) !== undefined));
      const missing = (names ?? ['source', 'target']).filter((name) => columnOf(values, name) === undefined);
      if (!names || (missing.length > 0 && file.kind !== 'jsonl'))
        throw noColumns(
          file.path,
          line,
          missing.length > 0 ? missing : ['source', 'target'],
          Object.keys(values),
          'source=… target=…',
        );
      const [a, b] = names.map((name) => columnOf(values, name));
      if (typeof a === 'string' && typeof b === 'string' && a.trim() !== '' && b.trim() !== '')
        yield { source: a, target: b, line };
      else if (a === '' || b === '' || a === null || b === null) rejects.empty(file.path, line, 'one side is empty');
      else rejects.refuse({ source: file.path, line, kind: 'bad_field', reason: `no text under ${names.join(' and ')}` });
    }
  }
  rejects.check();
}

/** Line i of one text file with line i of the other (Moses style). E143 when one has more lines; pairs with an empty side are left out and counted. */
export async function* alignedPairs(sourcePath: string, targetPath: string, options: ReadOptions = {}): AsyncGenerator<Pair> {
  const rejects = options.rejects ?? new Rejects();
  const [a, b] = [linesWithNumbers(sourcePath, options), linesWithNumbers(targetPath, options)];
  try {
    for (let line = 1; ; line++) {
      const [left, right] = [await a.next(), await b.next()];
      if (left.done && right.done) return;
      if (left.done !== right.done) {
        let [lines, otherLines] = [left.done ? line - 1 : line, right.done ? line - 1 : line];
        while (!left.done && !(await a.next()).done) lines++;
        while (!right.done && !(await b.next()).done) otherLines++;
        throw notAligned(sourcePath, lines, targetPath, otherLines);
      }
      if (left.value.trim() === '' || right.value.trim() === '') rejects.empty(sourcePath, line, 'one side is empty');
      else yield { source: left.value, target: right.value, line };
    }
  } finally {
    await a.return(undefined);
    await b.return(undefined);
  }
}

/** Every line, empty ones too: they hold the place of the other side. */
async function* linesWithNumbers(path: string, options: ReadOptions): AsyncGenerator<string> {
  const rejects = new Rejects(1);
  let expected = 1;
  // A refused line would shift all pairs after it: bad bytes stop here, whatever was asked for.
  for await (const { text, line } of records(await listSources(path), {
    ...options,
    rejects,
    documents: 'line',
    encodingErrors: 'stop',
  })) {
    for (; expected < line; expected++) yield '';
    yield text;
    expected++;
  }
  for (; expected <= rejects.rows; expected++) yield '';
}

export interface Labelled {
  text: string;
  label: string;
  line: number;
}

/** Texts with a class: columns `text` and `label` unless others are named; a label that is a number becomes its text. */
export async function* labelledOf(
  path: string,
  { field = 'text', label = 'label', ...options }: ReadOptions & { label?: string } = {},
): AsyncGenerator<Labelled> {
  const rejects = options.rejects ?? new Rejects();
  for (const file of await listSources(path)) {
    let good = 0;
    for await (const { line, values } of rowsOf(file, { ...options, rejects })) {
      const missing = [field, label].filter((name) => columnOf(values, name) === undefined);
      if (missing.length > 0 && good === 0) throw noColumns(file.path, line, missing, Object.keys(values), 'field=… label=…');
      const [text, value] = [columnOf(values, field), columnOf(values, label)];
      if (
        typeof text === 'string' &&
        text.trim() !== '' &&
        (typeof value === 'number' || (typeof value === 'string' && value !== ''))
      ) {
        good++;
        yield { text, label: String(value), line };
      } else
        rejects.refuse({
          source: file.path,
          line,
          kind: 'bad_field',
          reason: `no text under ${field}, or no label under ${label}`,
        });
    }
  }
  rejects.check();
}
