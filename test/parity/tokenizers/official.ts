/** The official `tokenizers` package (Rust, through its Node binding), as the oracle: a development dependency only. */
import { createRequire } from 'node:module';

interface OfficialEncoding {
  getIds(): number[];
  getTypeIds(): number[];
}

export interface OfficialTokenizer {
  encodeBatch(texts: string[], options?: { addSpecialTokens?: boolean }): Promise<OfficialEncoding[]>;
  encode(text: string, pair: string | null, options?: { addSpecialTokens?: boolean }): Promise<OfficialEncoding>;
  decodeBatch(ids: number[][], skipSpecialTokens: boolean): Promise<string[]>;
  getPreTokenizer(): { preTokenizeString(text: string): [string, [number, number]][] };
  train(files: string[]): void;
  save(path: string): void;
}

interface Official {
  Tokenizer: { fromString(json: string): OfficialTokenizer };
}

export const official = createRequire(import.meta.url)('tokenizers') as Official;

/** Lines whose ids differ between a tokenizer of ours and the same file in the official package. */
export async function differences(
  lines: readonly string[],
  encode: (line: string) => Int32Array,
  theirs: OfficialTokenizer,
  addSpecialTokens = false,
): Promise<{ line: string; ours: number[]; theirs: number[] }[]> {
  const out: { line: string; ours: number[]; theirs: number[] }[] = [];
  for (let i = 0; i < lines.length; i += 2048) {
    const batch = lines.slice(i, i + 2048);
    const encodings = await theirs.encodeBatch(batch, { addSpecialTokens });
    batch.forEach((line, j) => {
      const ours = Array.from(encode(line));
      const expected = encodings[j].getIds();
      if (ours.length !== expected.length || ours.some((id, k) => id !== expected[k])) out.push({ line, ours, theirs: expected });
    });
  }
  return out;
}
