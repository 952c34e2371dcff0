/** Documents without the paragraphs that an earlier one had: `qkv data dedup by=paragraph`. */
import { type DedupeOptions, duplicateParagraphs, type KeptParagraph, SIGNATURE_BYTES } from './dedupe.ts';
import { piecesOf } from './growing-file.ts';
import { EXAMPLE_CHARS, type PassReport, type Place, rowOf } from './pass.ts';
import { PLACE_BYTES, Places } from './places.ts';
import { resumable, type WriteOptions } from './resumable.ts';

export interface ParagraphReport extends PassReport {
  out: string;
  /** Documents of which something is left; of these, ones that lost a paragraph. */
  kept: number;
  changed: number;
  /** Paragraphs in all, those that were compared (of minWords words or more), and what was left out of these. */
  paragraphs: number;
  compared: number;
  exact: number;
  near: number;
  charactersBefore: number;
  charactersAfter: number;
  examples: { what: 'exact' | 'near'; at: Place; of: Place; text: string }[];
  sha256: string;
}

const EXAMPLES = 5;
/** In `known`: the key of a paragraph, the number of its document, and, where near copies count, its number among those that were compared and its signature. */
const DOCUMENT_AT = 8;
const NUMBER_AT = 16;
const SIGNATURE_AT = 24;

/** Leaves out paragraphs that stood before, in any document, word for word or (unless `near` is false) nearly. A document of which nothing is left goes. */
export async function dedupParagraphs(
  path: string,
  {
    near = true,
    threshold,
    shingle,
    seed,
    minWords,
    ...options
  }: WriteOptions & DedupeOptions & { near?: boolean; minWords?: number },
): Promise<ParagraphReport> {
  const { field = 'text', out } = options;
  const size = near ? SIGNATURE_AT + SIGNATURE_BYTES : NUMBER_AT;
  let keep: (kept: KeptParagraph) => void = () => {};
  const paragraphs = duplicateParagraphs({ near, threshold, shingle, seed, minWords, onKept: (kept) => keep(kept) });
  const places = new Places();
  const counts = { exact: 0, near: 0, changed: 0, charactersBefore: 0, charactersAfter: 0 };
  const examples: ParagraphReport['examples'] = [];
  const { report, extents } = await resumable(path, options, {
    made: { verb: 'dedup', by: 'paragraph', near, threshold, shingle, seed, minWords },
    files: ['rows', 'known', 'places'],
    published: 'rows',
    each(document, [rows, known, stood], file) {
      places.add(file, document, stood.room(PLACE_BYTES), 0);
      keep = ({ key, document: number, number: pair, signature }) => {
        const piece = known.room(size);
        piece.writeDoubleLE(key);
        piece.writeDoubleLE(number, DOCUMENT_AT);
        if (signature) {
          piece.writeDoubleLE(pair, NUMBER_AT);
          piece.set(signature, SIGNATURE_AT);
        }
      };
      counts.charactersBefore += document.text.length;
      const { text, repeats } = paragraphs.add(document.text);
      for (const { what, paragraph, of } of repeats) {
        if (counts[what]++ < EXAMPLES)
          examples.push({
            what,
            at: { source: document.source, line: document.line },
            of: places.at(of),
            text: paragraph.slice(0, EXAMPLE_CHARS),
          });
      }
      if (text === undefined) return;
      if (repeats.length > 0) counts.changed++;
      counts.charactersAfter += text.length;
      rows.add(rowOf(document, text, field));
    },
    state: () => ({ counts, examples, paragraphs: paragraphs.counts }),
    goOn(before, [, known, stood], sources) {
      Object.assign(counts, before.counts);
      examples.push(...before.examples);
      const kept = function* (): Generator<KeptParagraph> {
        for (const piece of known ? piecesOf(known, size) : [])
          yield {
            key: piece.readDoubleLE(),
            document: piece.readDoubleLE(DOCUMENT_AT),
            number: near ? piece.readDoubleLE(NUMBER_AT) : -1,
            signature: near ? piece.subarray(SIGNATURE_AT) : undefined,
          };
      };
      paragraphs.goOn(kept(), before.paragraphs);
      for (const place of stood ? piecesOf(stood, PLACE_BYTES) : []) places.addFrom(place, 0, sources);
    },
  });
  const [{ rows: kept, sha256 }] = extents;
  const { exact, near: nearly, changed, charactersBefore, charactersAfter } = counts;
  const { paragraphs: all, compared } = paragraphs.counts;
  return {
    ...report,
    out,
    kept,
    changed,
    paragraphs: all,
    compared,
    exact,
    near: nearly,
    charactersBefore,
    charactersAfter,
    examples,
    sha256,
  };
}
