/**
 * What `qkv data` does to files: clean, deduplicate, split, and look for leaks. Each is one pass in bounded memory that gives JSONL, a document a row, with
 * the other columns of its row; a file appears when it is complete (one rename) and its bytes depend on nothing but the input and the options.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Item, itemId } from './annotate.ts';
import { cleaner, type Rule, type RuleReport } from './clean.ts';
import { type DedupeOptions, leakTest, nearDuplicates } from './dedupe.ts';
import { fsyncFolder, realFs, step, writeFileAtomic } from './disk.ts';
import { emptyData, noColumns } from './errors.ts';
import { JsonlFile } from './jsonl-file.ts';
import { isAlive } from './unfinished.ts';
import { type DocumentRecord, records } from './records.ts';
import { type NotedKind, type RefusedKind, Rejects } from './rejects.ts';
import { listSources, rowsOf, type SourceOptions } from './sources.ts';
import { documentHash } from './split.ts';

export interface PassOptions extends SourceOptions {
  /** Share of rows that may be refused. */
  maxRejected?: number;
  onProgress?: (progress: { bytes: number; totalBytes: number; documents: number }) => void;
}

/** What every pass counts. */
export interface PassReport {
  files: number;
  bytes: number;
  documents: number;
  /** Rows that could not be read, by kind. */
  rows: { rows: number } & Record<RefusedKind | NotedKind, number>;
}

/** A document's place: `path:line`. */
export interface Place {
  source: string;
  line: number;
}

/** Reads everything at `path`, a document at a time. */
export async function pass(
  path: string,
  options: PassOptions,
  each: (document: DocumentRecord, number: number) => void,
): Promise<PassReport> {
  const files = await listSources(path);
  const totalBytes = files.reduce((sum, f) => sum + f.size, 0);
  const rejects = new Rejects(options.maxRejected ?? 0.01);
  let bytes = 0;
  let documents = 0;
  const onBytes = (n: number) => {
    bytes += n;
    options.onProgress?.({ bytes, totalBytes, documents });
  };
  for await (const document of records(files, { ...options, rejects, onBytes })) each(document, documents++);
  if (documents === 0)
    throw emptyData(path, {
      files: files.length,
      rows: rejects.rows,
      rejected: { ...rejects.refused, empty: rejects.noted.empty },
    });
  return { files: files.length, bytes, documents, rows: rejects.summary() };
}

export const rowOf = ({ row }: DocumentRecord, text: string, field: string): Record<string, unknown> => ({
  ...row,
  [field]: text,
});

export interface CleanReport extends PassReport {
  out: string;
  kept: number;
  dropped: number;
  charactersBefore: number;
  charactersAfter: number;
  /** Of the rules and their options; two outputs with the same hash went through the same rules. */
  pipeline: string;
  rules: RuleReport[];
  sha256: string;
}

/** Puts every document at `path` through the rules; those that are left go to `out`. */
export async function cleanFiles(
  path: string,
  { out, rules, ...options }: PassOptions & { out: string; rules: readonly Rule[] },
): Promise<CleanReport> {
  const { field = 'text' } = options;
  const clean = cleaner(rules);
  await clean.load();
  if (clean.learns) await pass(path, options, ({ text }) => clean.learn(text));
  let charactersBefore = 0;
  let charactersAfter = 0;
  const { report, file, sha256 } = await written(out, (file) =>
    pass(path, options, (document) => {
      charactersBefore += document.text.length;
      const text = clean.clean(document.text);
      if (text === undefined) return;
      charactersAfter += text.length;
      file.add(rowOf(document, text, field));
    }),
  );
  return {
    ...report,
    out,
    kept: file.rows,
    dropped: report.documents - file.rows,
    charactersBefore,
    charactersAfter,
    pipeline: clean.hash,
    rules: clean.report(),
    sha256,
  };
}

export interface DedupReport extends PassReport {
  out: string;
  kept: number;
  exact: number;
  near: number;
  /** The first documents that were dropped, each with the one that it repeats. */
  examples: { what: 'exact' | 'near'; at: Place; of: Place; text: string; ofText: string }[];
  sha256: string;
}

const EXAMPLES = 5;
const EXAMPLE_CHARS = 120;

/** Leaves out documents that repeat an earlier one: to the character, or (unless `near` is false) nearly, by MinHash (dedupe.ts). */
export async function dedupFiles(
  path: string,
  { out, near = true, threshold, shingle, seed, ...options }: PassOptions & DedupeOptions & { out: string; near?: boolean },
): Promise<DedupReport> {
  const { field = 'text' } = options;
  const seen = new Map<string, number>(); // hash → number among the kept
  const places: Place[] = [];
  const beginnings: string[] = [];
  const minHash = near ? nearDuplicates({ threshold, shingle, seed }) : undefined;
  const keptOf: number[] = []; // number given by minHash → number among the kept
  const examples: DedupReport['examples'] = [];
  let exact = 0;
  let nearly = 0;
  const { report, file, sha256 } = await written(out, (file) =>
    pass(path, options, (document) => {
      const { text, source, line } = document;
      const key = createHash('sha256').update(text).digest().toString('latin1', 0, 16);
      const copyOf = seen.get(key);
      const repeats = copyOf ?? keptOf[minHash?.add(text) ?? -1];
      if (repeats !== undefined) {
        const what = copyOf !== undefined ? 'exact' : 'near';
        if (what === 'exact') exact++;
        else {
          nearly++;
          keptOf.push(-1); // it has a number too, which is never answered
        }
        if (examples.filter((e) => e.what === what).length < EXAMPLES)
          examples.push({
            what,
            at: { source, line },
            of: places[repeats],
            text: text.slice(0, EXAMPLE_CHARS),
            ofText: beginnings[repeats] ?? '',
          });
        return;
      }
      seen.set(key, places.length);
      if (minHash) keptOf.push(places.length);
      if (beginnings.length < 100_000) beginnings.push(text.slice(0, EXAMPLE_CHARS));
      places.push({ source, line });
      file.add(rowOf(document, text, field));
    }),
  );
  return { ...report, out, kept: file.rows, exact, near: nearly, examples, sha256 };
}

export interface SplitReport extends PassReport {
  out: string;
  parts: { name: 'train' | 'val' | 'test'; file: string; documents: number; characters: number; bytes: number; sha256: string }[];
}

/**
 * `train.jsonl`, `val.jsonl` and, where a share was given, `test.jsonl` in a new folder. The text of a document decides (split.ts): copies are never
 * on two sides, more documents never move an old one, and `val` here is what `prepareData` validates on at the same fraction.
 */
export async function splitFiles(
  path: string,
  { out, val = 0.1, test = 0, ...options }: PassOptions & { out: string; val?: number; test?: number },
): Promise<SplitReport> {
  if (!(val >= 0 && test >= 0 && val + test < 1))
    throw new RangeError(`splitFiles: val=${val} and test=${test} must be at least 0 and together below 1`);
  const { field = 'text' } = options;
  const temporary = `${out}.tmp-${process.pid}`;
  step(out, () => {
    mkdirSync(dirname(out), { recursive: true });
    for (const name of readdirSync(dirname(out))) {
      const pid = join(dirname(out), name).startsWith(`${out}.tmp-`) ? Number(name.split('.tmp-').at(-1)) : 0;
      if (pid > 0 && (pid === process.pid || !isAlive(pid)))
        realFs.rmSync(join(dirname(out), name), { recursive: true, force: true });
    }
    mkdirSync(temporary);
  });
  const names = ['train', ...(val > 0 ? ['val'] : []), ...(test > 0 ? ['test'] : [])] as SplitReport['parts'][number]['name'][];
  const sides = names.map((name) => ({ name, characters: 0, file: new JsonlFile(join(temporary, `${name}.jsonl`)) }));
  try {
    const report = await pass(path, options, (document) => {
      const at = documentHash(document.head);
      const name = at < val ? 'val' : at < val + test ? 'test' : 'train';
      const side = sides.find((s) => s.name === name)!;
      side.characters += document.text.length;
      side.file.add(rowOf(document, document.text, field));
    });
    const parts = sides.map(({ name, characters, file }) => {
      const sha256 = file.publish();
      return { name, file: `${name}.jsonl`, documents: file.rows, characters, bytes: file.bytes, sha256 };
    });
    writeFileAtomic(
      join(temporary, 'split.json'),
      Buffer.from(`${JSON.stringify({ format: 1, val, test, field, parts }, null, 1)}\n`),
    );
    step(out, () => {
      realFs.rmSync(out, { recursive: true, force: true }); // empty, or the caller said so
      realFs.renameSync(temporary, out);
      fsyncFolder(realFs, dirname(out));
    });
    return { ...report, out, parts };
  } finally {
    for (const { file } of sides) file.abandon();
    if (existsSync(temporary)) realFs.rmSync(temporary, { recursive: true, force: true });
  }
}

export interface LeakReport {
  n: number;
  threshold: number;
  test: PassReport;
  train: PassReport;
  /** Test documents of whose n-grams at least the threshold occur in training. */
  leaked: number;
  /** Test documents with any such n-gram. */
  touched: number;
  /** Share of all different n-grams of the test documents that occur in training. */
  share: number;
  /** The worst ones first. */
  worst: { at: Place; share: number; text: string }[];
}

/** How much of the test documents was in the training documents? n-grams of words, of Han characters in Chinese (dedupe.ts). */
export async function leakBetween(
  train: string,
  test: string,
  { n = 13, threshold = 0.5, most = 10, ...options }: PassOptions & { n?: number; threshold?: number; most?: number } = {},
): Promise<LeakReport> {
  const texts: string[] = [];
  const places: Place[] = [];
  const testReport = await pass(test, options, ({ text, source, line }) => {
    texts.push(text);
    places.push({ source, line });
  });
  const leak = leakTest(texts, n);
  const trainReport = await pass(train, options, ({ text }) => leak.add(text));
  const shares = leak.shares();
  const worst = [...shares.keys()]
    .filter((i) => shares[i] > 0)
    .sort((a, b) => shares[b] - shares[a] || a - b)
    .slice(0, most)
    .map((i) => ({ at: places[i], share: shares[i], text: texts[i].slice(0, EXAMPLE_CHARS) }));
  return {
    n,
    threshold,
    test: testReport,
    train: trainReport,
    leaked: shares.filter((s) => s > 0 && s >= threshold).length,
    touched: shares.filter((s) => s > 0).length,
    share: leak.share(),
    worst,
  };
}

/** Runs a pass that writes to one file, and publishes it, or leaves nothing. */
export async function written(out: string, run: (file: JsonlFile) => Promise<PassReport>) {
  const file = new JsonlFile(out);
  try {
    const report = await run(file);
    return { report, file, sha256: file.publish() };
  } finally {
    file.abandon();
  }
}

/** The documents at `path` as items to label; copies are one item. `show`: the columns of a row, one below the other, instead of its text. */
export async function annotationItems(
  path: string,
  { show, ...options }: PassOptions & { show?: readonly string[] } = {},
): Promise<Item[]> {
  const items = new Map<string, Item>();
  const add = (text: string, source: string, line: number, columns?: Item['columns']) => {
    const id = itemId(text);
    if (!items.has(id)) items.set(id, { id, text, source, line, ...(columns ? { columns } : {}) });
  };
  if (!show) await pass(path, options, ({ text, source, line }) => add(text, source, line));
  else {
    const rejects = new Rejects(options.maxRejected ?? 0.01);
    for (const file of await listSources(path))
      for await (const { line, values } of rowsOf(file, { ...options, rejects })) {
        const missing = show.filter((c) => !Object.hasOwn(values, c));
        if (missing.length > 0) throw noColumns(file.path, line, missing, Object.keys(values), 'show=…');
        const columns = show.map((name) => {
          const value = values[name];
          return { name, text: typeof value === 'string' ? value : JSON.stringify(value) };
        });
        add(columns.map((c) => `${c.name}: ${c.text}`).join('\n'), file.path, line, columns);
      }
    rejects.check();
  }
  return [...items.values()];
}
