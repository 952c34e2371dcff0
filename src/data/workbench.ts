/**
 * What `qkv data` does to files: clean them and split them; dedup-files.ts and paragraphs.ts find copies, leak.ts looks at two of them. Each is one pass in bounded
 * memory that gives JSONL, a document a row, with the other columns of its row; a file appears when it is complete (one rename), its bytes depend on nothing but
 * the input and the options, and a run that was killed is gone on with (resumable.ts).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cleaner, type Rule, type RuleReport } from './clean.ts';
import { writeFileAtomic } from './disk.ts';
import type { Extent } from './growing-file.ts';
import { type PassReport, pass, rowOf } from './pass.ts';
import { resumable, type WriteOptions } from './resumable.ts';
import { documentHash } from './split.ts';

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
  { rules, ...options }: WriteOptions & { rules: readonly Rule[] },
): Promise<CleanReport> {
  const { field = 'text', out } = options;
  const clean = cleaner(rules);
  await clean.load();
  const characters = { before: 0, after: 0 };
  const { report, extents } = await resumable(path, options, {
    made: { verb: 'clean', pipeline: clean.hash },
    // What rules have learned from all of the documents is kept beside the rows: it is finished when the first one is cleaned.
    files: clean.learns ? ['rows', 'learned'] : ['rows'],
    published: 'rows',
    begin: clean.learns
      ? async ([, learned]) => {
          await pass(path, options, ({ text }) => clean.learn(text));
          const bytes = clean.learned();
          learned.room(bytes.length).set(bytes);
        }
      : undefined,
    each(document, [rows]) {
      characters.before += document.text.length;
      const text = clean.clean(document.text);
      if (text === undefined) return;
      characters.after += text.length;
      rows.add(rowOf(document, text, field));
    },
    state: () => ({ characters, rules: clean.report() }),
    goOn(state, [, learned]) {
      Object.assign(characters, state.characters);
      clean.goOn(state.rules, learned && readFileSync(learned.path));
    },
  });
  const [{ rows: kept, sha256 }] = extents;
  return {
    ...report,
    out,
    kept,
    dropped: report.documents - kept,
    charactersBefore: characters.before,
    charactersAfter: characters.after,
    pipeline: clean.hash,
    rules: clean.report(),
    sha256,
  };
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
  { val = 0.1, test = 0, ...options }: WriteOptions & { val?: number; test?: number },
): Promise<SplitReport> {
  if (!(val >= 0 && test >= 0 && val + test < 1))
    throw new RangeError(`splitFiles: val=${val} and test=${test} must be at least 0 and together below 1`);
  const { field = 'text', out } = options;
  const names = ['train', ...(val > 0 ? ['val'] : []), ...(test > 0 ? ['test'] : [])] as SplitReport['parts'][number]['name'][];
  const characters = names.map(() => 0);
  const partsOf = (extents: readonly Extent[]) =>
    names.map((name, i) => ({
      name,
      file: `${name}.jsonl`,
      documents: extents[i].rows,
      characters: characters[i],
      bytes: extents[i].bytes,
      sha256: extents[i].sha256,
    }));
  const { report, extents } = await resumable(path, options, {
    made: { verb: 'split', val, test },
    files: names.map((name) => `parts/${name}.jsonl`),
    published: 'parts',
    each(document, files) {
      const at = documentHash(document.head);
      const side = names.indexOf(at < val ? 'val' : at < val + test ? 'test' : 'train');
      characters[side] += document.text.length;
      files[side].add(rowOf(document, document.text, field));
    },
    state: () => characters,
    goOn: (state) => void characters.splice(0, names.length, ...state),
    complete(folder, extents) {
      const about = { format: 1, val, test, field, parts: partsOf(extents) };
      writeFileAtomic(join(folder, 'split.json'), Buffer.from(`${JSON.stringify(about, null, 1)}\n`));
    },
  });
  return { ...report, out, parts: partsOf(extents) };
}
