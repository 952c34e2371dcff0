/** Leak test: how much of the test documents stands in the training documents? `qkv data leak`. */
import { shingleWords } from './dedupe.ts';
import { hash32 } from './order.ts';
import { EXAMPLE_CHARS, type PassOptions, type PassReport, pass, type Place } from './pass.ts';

export interface Leak {
  /** Look for the n-grams of this training text. */
  add(text: string): void;
  /** Share of each test document's n-grams that occur in training; a document shorter than n words counts as one n-gram. */
  shares(): number[];
  /** Share of all different n-grams of the test documents that occur in training. */
  share(): number;
}

/** Leak test: which of the test documents' n-grams (13 words, as for GPT-3; Brown et al. 2020, appendix C) occur in the training documents? */
export function leakTest(testDocuments: readonly string[], n = 13): Leak {
  const grams = testDocuments.map((text) => wideShingles(text, n));
  const wanted = new Set<number>();
  for (const document of grams) for (const gram of document) wanted.add(gram);
  const found = new Set<number>();
  return {
    add(text) {
      for (const gram of wideShingles(text, n)) if (wanted.has(gram)) found.add(gram);
    },
    shares: () => grams.map((document) => [...document].filter((gram) => found.has(gram)).length / document.size),
    share: () => found.size / Math.max(1, wanted.size),
  };
}

/**
 * As `shingles`, with 53 bits: where 10⁸ n-grams are looked up among 10⁶, 32 bits would find one in forty that is not there, 53 bits one in 10⁸.
 * Two polynomials over the words, rolled along: Σ word · base^(n−1−i) mod 2³².
 */
function wideShingles(text: string, n: number): Set<number> {
  const words = shingleWords(text);
  const a = words.hashes.subarray(0, words.count);
  const b = a.map((h, i) => hash32(h, words.lengths[i]));
  const size = Math.min(n, words.count);
  const rolled = (hashes: Uint32Array, base: number): number[] => {
    let leaving = 1;
    for (let i = 0; i < size; i++) leaving = Math.imul(leaving, base);
    const out: number[] = [];
    let h = 0;
    for (let i = 0; i < hashes.length; i++) {
      h = (Math.imul(h, base) + hashes[i] - (i >= size ? Math.imul(leaving, hashes[i - size]) : 0)) | 0;
      if (i >= size - 1) out.push(hash32(h, size));
    }
    return out;
  };
  const first = rolled(a, 0x9e3779b1);
  const second = rolled(b, 0x85ebca77);
  return new Set(words.count === 0 ? [0] : first.map((h, i) => h * 2 ** 21 + (second[i] >>> 11)));
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
