/**
 * Near duplicates by MinHash (Broder 1997) and locality-sensitive hashing (Indyk & Motwani 1998), in one pass: a document is a duplicate of an earlier one
 * that was kept when the estimated Jaccard similarity of their shingles reaches the threshold.
 *
 *     J(A, B) = |A ∩ B| / |A ∪ B|        P(min h(A) = min h(B)) = J        candidates: P = 1 − (1 − J^rows)^bands
 *
 * With 20 bands of 6 rows a pair of J = 0.8 is found with P = 0.998; candidates are then compared on all 120 hashes (standard error ≤ 0.046).
 * By paragraph the same is done with the paragraphs of all documents.
 * Memory: 480 bytes of signature and 80 of tables for each document that is kept (twice that for the tables while they grow).
 */
import { hash32 } from './order.ts';
import { hashWords, type Words } from './words.ts';

const BANDS = 20;
const ROWS = 6;
const HASHES = BANDS * ROWS;
const PAGE_DOCUMENTS = 512;

export interface DedupeOptions {
  /** Similarity from which two documents are the same. */
  threshold?: number;
  /** Words in a shingle (Han characters, in Chinese). */
  shingle?: number;
  seed?: number;
}

export interface NearDuplicates {
  /** The kept document (by its number) that this one repeats, or −1: then it is kept itself. Documents are numbered by calls, from 0. */
  add(text: string): number;
  readonly documents: number;
  readonly kept: number;
  /** Of the document that was added last, as bytes; the next call writes over them. With its number, `goOn` knows a kept document again. */
  readonly signature: Uint8Array;
  goOn(kept: Iterable<{ number: number; signature: Uint8Array }>, documents: number): void;
}

/** Bytes of a signature. */
export const SIGNATURE_BYTES = 4 * HASHES;

/** Finds near duplicates in a stream of documents. The first of a group stays. */
export function nearDuplicates({ threshold = 0.8, shingle = 5, seed = 1 }: DedupeOptions = {}): NearDuplicates {
  const keys = Uint32Array.from({ length: 2 * HASHES }, (_, i) => hash32(seed, i) | 1);
  const signature = new Uint32Array(HASHES);
  const pages: Uint32Array[] = []; // signatures of kept documents
  const numbers: number[] = []; // kept index → number of the document
  const tables = Array.from({ length: BANDS }, () => new BandTable());
  let documents = 0;

  const similarity = (kept: number): number => {
    const page = pages[Math.floor(kept / PAGE_DOCUMENTS)];
    const at = (kept % PAGE_DOCUMENTS) * HASHES;
    let equal = 0;
    for (let i = 0; i < HASHES; i++) if (page[at + i] === signature[i]) equal++;
    return equal / HASHES;
  };

  const keep = (number: number): void => {
    const index = numbers.length;
    if (index % PAGE_DOCUMENTS === 0) pages.push(new Uint32Array(PAGE_DOCUMENTS * HASHES));
    pages[pages.length - 1].set(signature, (index % PAGE_DOCUMENTS) * HASHES);
    for (let band = 0; band < BANDS; band++) tables[band].add(bandKey(signature, band), index);
    numbers.push(number);
  };
  const signatureBytes = new Uint8Array(signature.buffer);

  return {
    signature: signatureBytes,
    goOn(kept, before) {
      for (const one of kept) {
        signatureBytes.set(one.signature);
        keep(one.number);
      }
      documents = before;
    },
    add(text) {
      minHash(shingles(text, shingle), keys, signature);
      const number = documents++;
      const candidates = new Set<number>();
      for (let band = 0; band < BANDS; band++) tables[band].find(bandKey(signature, band), candidates);
      let best = -1;
      let bestSimilarity = threshold;
      for (const kept of candidates) {
        const s = similarity(kept);
        if (s > bestSimilarity || (s >= bestSimilarity && (best < 0 || kept < best))) {
          best = kept;
          bestSimilarity = s;
        }
      }
      if (best >= 0) return numbers[best];
      keep(number);
      return -1;
    },
    get documents() {
      return documents;
    },
    get kept() {
      return numbers.length;
    },
  };
}

/** The shingles of a text as 32-bit hashes: every n words in a row, letters and digits only, in lower case. A shorter text is one shingle. */
export function shingles(text: string, n: number): Set<number> {
  const { hashes, count } = shingleWords(text);
  const found = new Set<number>();
  if (count < n) found.add(hash32(...hashes.subarray(0, count)));
  for (let i = 0; i + n <= count; i++) {
    let h = 0x811c9dc5;
    for (let k = i; k < i + n; k++) h = hash32(h, hashes[k]);
    found.add(h);
  }
  return found;
}

/** Words of letters and digits, in a mostly Chinese text Han characters too; without regard to case and width. */
export const shingleWords = (text: string): Words => hashWords(text.normalize('NFKC').toLowerCase(), 'letters');

/** signature[i] = min over x of hᵢ(x), hᵢ(x) = mix(aᵢ · (x ⊕ bᵢ)). */
function minHash(items: Iterable<number>, keys: Uint32Array, signature: Uint32Array): void {
  signature.fill(0xffffffff);
  for (const x of items) {
    for (let i = 0; i < HASHES; i++) {
      let h = Math.imul(x ^ keys[HASHES + i], keys[i]);
      h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
      h = (h ^ (h >>> 12)) >>> 0;
      if (h < signature[i]) signature[i] = h;
    }
  }
}

const bandKey = (signature: Uint32Array, band: number): number => {
  let h = band + 1;
  for (let r = band * ROWS; r < (band + 1) * ROWS; r++) h = hash32(h, signature[r]);
  return h;
};

/** key → documents, open addressing over two typed arrays; grows at three quarters. */
class BandTable {
  #keys = new Uint32Array(1024);
  #values = new Int32Array(1024).fill(-1);
  #count = 0;

  find(key: number, into: Set<number>): void {
    const mask = this.#values.length - 1;
    for (let i = key & mask; this.#values[i] >= 0; i = (i + 1) & mask) if (this.#keys[i] === key) into.add(this.#values[i]);
  }

  add(key: number, value: number): void {
    if (this.#count >= 0.75 * this.#values.length) this.#grow();
    this.#put(key, value);
    this.#count++;
  }

  #put(key: number, value: number): void {
    const mask = this.#values.length - 1;
    let i = key & mask;
    while (this.#values[i] >= 0) i = (i + 1) & mask;
    this.#keys[i] = key;
    this.#values[i] = value;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#keys = new Uint32Array(2 * keys.length);
    this.#values = new Int32Array(2 * values.length).fill(-1);
    for (let i = 0; i < values.length; i++) if (values[i] >= 0) this.#put(keys[i], values[i]);
  }
}

export interface ParagraphDuplicates {
  /**
   * The document without paragraphs that stood in it or in an earlier document before; undefined when nothing is left.
   * `repeats`: what was left out, each with the number of the document where it stood first.
   */
  add(text: string): { text: string | undefined; repeats: { what: 'exact' | 'near'; paragraph: string; of: number }[] };
  readonly counts: ParagraphCounts;
  /** With the paragraphs that were kept, in order, and what was counted, an earlier run is gone on with. */
  goOn(kept: Iterable<KeptParagraph>, counts: ParagraphCounts): void;
}

export interface ParagraphCounts {
  documents: number;
  paragraphs: number;
  /** Paragraphs whose like is looked for: those of at least `minWords` words. */
  compared: number;
  /** Those of them that were no exact copies. */
  pairs: number;
}

/** A paragraph that others are compared with: 53 bits of its words, the number of its document, and its number and signature among the pairs where near copies count. */
export interface KeptParagraph {
  key: number;
  document: number;
  number: number;
  signature?: Uint8Array;
}

/**
 * Finds paragraphs that were there before, in any document: a paragraph is what stands between empty lines, or a line where a document has no empty line. Shorter ones
 * than `minWords` (Han characters count as words) stay: “Yes,” he said, is no copy.
 */
export function duplicateParagraphs({
  minWords = 20,
  near = true,
  onKept,
  ...options
}: DedupeOptions & { minWords?: number; near?: boolean; onKept?: (kept: KeptParagraph) => void } = {}): ParagraphDuplicates {
  const exact = new Map<number, number>(); // 53 bits of the words → number of the document
  const pairs = near ? nearDuplicates(options) : undefined;
  const documentOf: number[] = []; // number given by `pairs` → number of the document, of those that are kept
  const counts: ParagraphCounts = { documents: 0, paragraphs: 0, compared: 0, pairs: 0 };
  return {
    counts,
    add(text) {
      const document = counts.documents++;
      const between = text.includes('\n\n') ? /(\n{2,})/ : /(\n)/;
      const parts = text.split(between); // paragraph, what is between, paragraph …
      const repeats: { what: 'exact' | 'near'; paragraph: string; of: number }[] = [];
      let kept = '';
      for (let i = 0; i < parts.length; i += 2) {
        const paragraph = parts[i];
        if (paragraph.trim() !== '') counts.paragraphs++;
        const words = shingleWords(paragraph);
        if (words.count >= minWords) {
          counts.compared++;
          const key = wordsKey(words);
          const copyOf = exact.get(key);
          const number = copyOf === undefined ? counts.pairs++ : -1;
          const nearTo = copyOf === undefined && pairs ? pairs.add(paragraph) : -1;
          const of = copyOf ?? documentOf[nearTo];
          if (of !== undefined) {
            repeats.push({ what: copyOf !== undefined ? 'exact' : 'near', paragraph, of });
            continue;
          }
          exact.set(key, document);
          if (pairs) documentOf[number] = document;
          onKept?.({ key, document, number, signature: pairs?.signature });
        }
        kept += (kept === '' ? '' : (parts[i - 1] ?? '')) + paragraph;
      }
      return { text: repeats.length === 0 ? text : kept.trim() === '' ? undefined : kept, repeats };
    },
    goOn(kept, before) {
      const known = function* () {
        for (const { key, document, number, signature } of kept) {
          exact.set(key, document);
          if (!signature) continue;
          documentOf[number] = document;
          yield { number, signature };
        }
      };
      if (pairs) pairs.goOn(known(), before.pairs);
      else for (const _ of known());
      Object.assign(counts, before);
    },
  };
}

/** 53 bits of a list of words. */
function wordsKey({ hashes, lengths, count }: Words): number {
  let a = 0x811c9dc5;
  let b = count;
  for (let i = 0; i < count; i++) {
    a = (Math.imul(a, 0x9e3779b1) + hashes[i]) | 0;
    b = (Math.imul(b, 0x85ebca77) ^ (hashes[i] + lengths[i])) | 0;
  }
  return hash32(a, count) * 2 ** 21 + (hash32(b, count) >>> 11);
}

/** |A ∩ B| / |A ∪ B|, exactly: the slow twin of the estimate. */
export function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  let both = 0;
  for (const x of a) if (b.has(x)) both++;
  return both / (a.size + b.size - both);
}
