/**
 * Documents without those that repeat an earlier one: `qkv data dedup`.
 *
 * What is known of the documents that were kept is written beside them, so that a run that was killed is gone on with: 516 bytes each. To make the signatures
 * again would cost 120 hashes a word.
 */
import { createHash } from 'node:crypto';
import { type DedupeOptions, nearDuplicates, SIGNATURE_BYTES } from './dedupe.ts';
import { linesOf, piecesOf } from './growing-file.ts';
import { EXAMPLE_CHARS, type PassReport, type Place, rowOf } from './pass.ts';
import { PLACE_BYTES, Places } from './places.ts';
import { resumable, type WriteOptions } from './resumable.ts';

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
const KEY_BYTES = 16;
/** In `known`: the key of a document, its place, and, where near copies count, its number among those that were compared and its signature. */
const NUMBER_AT = KEY_BYTES + PLACE_BYTES;
const SIGNATURE_AT = NUMBER_AT + 8;
/** Kept documents of which the beginning is known, for examples. */
const BEGINNINGS = 100_000;

/** Leaves out documents that repeat an earlier one: to the character, or (unless `near` is false) nearly, by MinHash (dedupe.ts). */
export async function dedupFiles(
  path: string,
  { near = true, threshold, shingle, seed, ...options }: WriteOptions & DedupeOptions & { near?: boolean },
): Promise<DedupReport> {
  const { field = 'text', out } = options;
  const seen = new Map<string, number>(); // hash → number among the kept
  const places = new Places();
  const beginnings: string[] = [];
  const minHash = near ? nearDuplicates({ threshold, shingle, seed }) : undefined;
  const keptOf: number[] = []; // number given by minHash → number among the kept
  const counts = { exact: 0, near: 0, examples: [] as DedupReport['examples'] };
  const size = near ? SIGNATURE_AT + SIGNATURE_BYTES : NUMBER_AT;
  const { report, extents } = await resumable(path, options, {
    made: { verb: 'dedup', near, threshold, shingle, seed },
    files: ['rows', 'known', 'beginnings'],
    published: 'rows',
    each(document, [rows, known, begun], file) {
      const { text, source, line } = document;
      const hash = createHash('sha256').update(text).digest();
      const key = hash.toString('latin1', 0, KEY_BYTES);
      const copyOf = seen.get(key);
      const number = minHash?.documents ?? 0;
      const repeats = copyOf ?? keptOf[minHash?.add(text) ?? -1];
      if (repeats !== undefined) {
        const what = copyOf !== undefined ? 'exact' : 'near';
        if (counts[what]++ < EXAMPLES)
          counts.examples.push({
            what,
            at: { source, line },
            of: places.at(repeats),
            text: text.slice(0, EXAMPLE_CHARS),
            ofText: beginnings[repeats] ?? '',
          });
        return;
      }
      seen.set(key, places.length);
      if (beginnings.length < BEGINNINGS) {
        beginnings.push(text.slice(0, EXAMPLE_CHARS));
        begun.add(beginnings.at(-1));
      }
      const piece = known.room(size);
      hash.copy(piece, 0, 0, KEY_BYTES);
      if (minHash) {
        keptOf[number] = places.length;
        piece.writeDoubleLE(number, NUMBER_AT);
        piece.set(minHash.signature, SIGNATURE_AT);
      }
      places.add(file, document, piece, KEY_BYTES);
      rows.add(rowOf(document, text, field));
    },
    state: () => ({ ...counts, compared: minHash?.documents ?? 0 }),
    goOn({ compared, ...before }, [, known, begun], sources) {
      Object.assign(counts, before);
      if (!known) return;
      const kept = function* () {
        for (const piece of piecesOf(known, size)) {
          seen.set(piece.toString('latin1', 0, KEY_BYTES), places.length);
          if (minHash) {
            const number = piece.readDoubleLE(NUMBER_AT);
            keptOf[number] = places.length;
            yield { number, signature: piece.subarray(SIGNATURE_AT) };
          }
          places.addFrom(piece, KEY_BYTES, sources);
        }
      };
      if (minHash) minHash.goOn(kept(), compared);
      else for (const _ of kept());
      for (const line of linesOf(begun)) beginnings.push(JSON.parse(line));
    },
  });
  const [{ rows: kept, sha256 }] = extents;
  const { exact, near: nearly, examples } = counts;
  return { ...report, out, kept, exact, near: nearly, examples, sha256 };
}
