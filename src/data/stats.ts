/** What a corpus is made of: lengths in characters and tokens, how much of a vocabulary it uses, characters by frequency, copies. */
import { createHash } from 'node:crypto';
import { emptyData } from './errors.ts';
import { type LengthBin, Lengths, type LengthSummary } from './lengths.ts';
import { Rejects } from './rejects.ts';
import { documents, listSources, type SourceOptions } from './sources.ts';
import type { DataTokenizer } from './tokens.ts';

export interface StatsOptions extends SourceOptions {
  tokenizer?: DataTokenizer;
  maxRejected?: number;
  onProgress?: (progress: { bytes: number; totalBytes: number; documents: number }) => void;
}

export interface LengthReport extends LengthSummary {
  total: number;
  histogram: LengthBin[];
}

export interface Stats {
  path: string;
  files: number;
  bytes: number;
  documents: number;
  /** Code points of a document. */
  characters: LengthReport;
  /** Of the text, UTF-8. */
  textBytes: number;
  /** Different characters, and how many of the most frequent ones make up a share of the text (SentencePiece's character coverage). */
  alphabet: { different: number; cover99: number; cover999: number; cover9999: number };
  /** Documents that are copies of an earlier one, to the character, and their share of the characters. */
  duplicates: { documents: number; characters: number };
  /** With a tokenizer. */
  tokens?: LengthReport & {
    charactersPerToken: number;
    bytesPerToken: number;
    vocabSize: number;
    /** Ids that occur, and how many of the most frequent ones make up 90 % and 99 % of the tokens. */
    used: number;
    cover90: number;
    cover99: number;
    /** Tokens that are the unknown token, where the vocabulary has one. */
    unknown: number;
    /** The most frequent ids. */
    top: { id: number; count: number }[];
  };
}

const UNKNOWN = ['<unk>', '[UNK]', '<|unk|>'];

/** Looks through everything at `path` once. */
export async function statsOf(path: string, options: StatsOptions = {}): Promise<Stats> {
  const { tokenizer } = options;
  const files = await listSources(path);
  const totalBytes = files.reduce((sum, f) => sum + f.size, 0);
  const rejects = new Rejects(options.maxRejected ?? 0.01);
  const characters = new Lengths();
  const tokens = new Lengths();
  const points = new Float64Array(0x110000);
  const ids = new Float64Array(tokenizer?.vocabSize ?? 0);
  const seen = new Set<string>();
  const duplicates = { documents: 0, characters: 0 };
  let bytes = 0;
  let textBytes = 0;
  let totalCharacters = 0;
  let totalTokens = 0;
  let hash = createHash('sha256');
  let documentCharacters = 0;
  let documentTokens = 0;
  const onBytes = (n: number) => {
    bytes += n;
    options.onProgress?.({ bytes, totalBytes, documents: characters.documents });
  };
  for await (const { text, first, last } of documents(files, { ...options, rejects, onBytes })) {
    if (first) {
      hash = createHash('sha256');
      documentCharacters = documentTokens = 0;
    }
    hash.update(text);
    textBytes += Buffer.byteLength(text);
    for (let i = 0; i < text.length; i++) {
      const point = text.codePointAt(i)!;
      if (point > 0xffff) i++;
      points[point]++;
      documentCharacters++;
    }
    if (tokenizer) {
      const encoded = tokenizer.encode(text);
      for (const id of encoded) ids[id]++;
      documentTokens += encoded.length;
    }
    if (!last) continue;
    characters.add(documentCharacters);
    totalCharacters += documentCharacters;
    if (tokenizer) tokens.add(documentTokens);
    totalTokens += documentTokens;
    const key = hash.digest().toString('latin1', 0, 16);
    if (seen.has(key)) {
      duplicates.documents++;
      duplicates.characters += documentCharacters;
    } else seen.add(key);
  }
  if (characters.documents === 0)
    throw emptyData(path, {
      files: files.length,
      rows: rejects.rows,
      rejected: { ...rejects.refused, empty: rejects.noted.empty },
    });
  const usedPoints = points.filter((n) => n > 0).sort((a, b) => b - a);
  const usedIds = ids.filter((n) => n > 0).sort((a, b) => b - a);
  const unknown = UNKNOWN.map((name) => tokenizer?.specialTokens?.get(name)).find((id) => id !== undefined);
  return {
    path,
    files: files.length,
    bytes: totalBytes,
    documents: characters.documents,
    characters: { ...characters.summary(), total: totalCharacters, histogram: characters.histogram() },
    textBytes,
    alphabet: {
      different: usedPoints.length,
      cover99: covering(usedPoints, 0.99),
      cover999: covering(usedPoints, 0.999),
      cover9999: covering(usedPoints, 0.9999),
    },
    duplicates,
    ...(tokenizer
      ? {
          tokens: {
            ...tokens.summary(),
            total: totalTokens,
            histogram: tokens.histogram(),
            charactersPerToken: totalCharacters / Math.max(1, totalTokens),
            bytesPerToken: textBytes / Math.max(1, totalTokens),
            vocabSize: tokenizer.vocabSize,
            used: usedIds.length,
            cover90: covering(usedIds, 0.9),
            cover99: covering(usedIds, 0.99),
            unknown: unknown === undefined ? 0 : ids[unknown],
            top: [...ids.keys()]
              .filter((id) => ids[id] > 0)
              .sort((a, b) => ids[b] - ids[a] || a - b)
              .slice(0, 10)
              .map((id) => ({ id, count: ids[id] })),
          },
        }
      : {}),
  };
}

/** How many of the largest counts make up `share` of their sum. */
function covering(descending: Float64Array, share: number): number {
  let left = share * descending.reduce((a, b) => a + b, 0);
  for (const [i, n] of descending.entries()) {
    left -= n;
    if (left <= 1e-9) return i + 1;
  }
  return descending.length;
}
