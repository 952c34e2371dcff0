/** Documents without the paragraphs that an earlier one had: `qkv data dedup by=paragraph`. */
import { type DedupeOptions, duplicateParagraphs } from './dedupe.ts';
import { type PassOptions, type PassReport, pass, type Place, rowOf, written } from './workbench.ts';

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
const EXAMPLE_CHARS = 120;

/** Leaves out paragraphs that stood before, in any document, word for word or (unless `near` is false) nearly. A document of which nothing is left goes. */
export async function dedupParagraphs(
  path: string,
  {
    out,
    near,
    threshold,
    shingle,
    seed,
    minWords,
    ...options
  }: PassOptions & DedupeOptions & { out: string; near?: boolean; minWords?: number },
): Promise<ParagraphReport> {
  const { field = 'text' } = options;
  const paragraphs = duplicateParagraphs({ near, threshold, shingle, seed, minWords });
  const places: Place[] = [];
  const examples: ParagraphReport['examples'] = [];
  const count = { exact: 0, near: 0 };
  let changed = 0;
  let charactersBefore = 0;
  let charactersAfter = 0;
  const { report, file, sha256 } = await written(out, (file) =>
    pass(path, options, (document) => {
      const at = { source: document.source, line: document.line };
      places.push(at);
      charactersBefore += document.text.length;
      const { text, repeats } = paragraphs.add(document.text);
      for (const { what, paragraph, of } of repeats) {
        if (count[what]++ < EXAMPLES) examples.push({ what, at, of: places[of], text: paragraph.slice(0, EXAMPLE_CHARS) });
      }
      if (text === undefined) return;
      if (repeats.length > 0) changed++;
      charactersAfter += text.length;
      file.add(rowOf(document, text, field));
    }),
  );
  return {
    ...report,
    out,
    kept: file.rows,
    changed,
    paragraphs: paragraphs.paragraphs,
    compared: paragraphs.compared,
    ...count,
    charactersBefore,
    charactersAfter,
    examples,
    sha256,
  };
}
