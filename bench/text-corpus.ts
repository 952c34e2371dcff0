/** Text for the tokenizer benchmark: documents of real files, and as much more as is wanted by a seeded mixer of their words. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** mulberry32: uniform numbers in [0, 1). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const textFile = /(?:\.(?:txt|md|d\.ts|rst|html?)|README)$/i;
const documentLength = 3_000;

/** Documents of about 3,000 characters, cut at the end of lines, of the text files at these paths; the same text is taken once, shuffled by the seed. */
export function documentsOf(paths: readonly string[], seed = 1): string[] {
  const documents = new Set<string>();
  const visit = (path: string): void => {
    const info = statSync(path, { throwIfNoEntry: false });
    if (info?.isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name));
    else if (info?.isFile() && (paths.includes(path) || textFile.test(path))) cut(readFileSync(path, 'utf8'), documents);
  };
  for (const path of paths) visit(path);
  return shuffle([...documents], generator(seed));
}

function cut(text: string, into: Set<string>): void {
  for (let start = 0; start < text.length; ) {
    let end = start + documentLength >= text.length ? text.length : text.lastIndexOf('\n', start + documentLength) + 1;
    if (end <= start) end = text.indexOf('\n', start + documentLength) + 1 || text.length;
    const part = text.slice(start, end);
    if (part.trim().length > 80) into.add(part);
    start = end;
  }
}

function shuffle<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/**
 * Documents without end. English: runs of 3 to 12 words from random places of the given ones. Every third document is Chinese: words of one to three ideographs
 * from a lexicon drawn once, by Zipf's law, with marks and line ends; no sentence means anything, but lengths and frequencies are those of text.
 */
export function* mixedDocuments(documents: readonly string[], seed = 2): Generator<string> {
  const random = generator(seed);
  const words = documents.flatMap((text) => text.slice(0, 20_000).match(/\s*\S+/g) ?? []);
  const lexicon = Array.from({ length: 20_000 }, () =>
    Array.from({ length: 1 + Math.floor(random() * 2.4) }, () =>
      String.fromCharCode(0x4e00 + Math.floor(random() ** 2 * 5_000)),
    ).join(''),
  );
  const zipf = (n: number): number => Math.floor(n ** random()) - 1;
  for (let i = 0; ; i++) {
    let text = '';
    while (text.length < (i % 3 === 2 ? documentLength / 3 : documentLength)) {
      const n = 3 + Math.floor(random() * 10);
      if (i % 3 === 2) {
        for (let w = 0; w < n; w++) text += lexicon[zipf(lexicon.length)];
        text += random() < 0.2 ? '。\n' : '，';
      } else {
        const from = Math.floor(random() * (words.length - n));
        for (let w = from; w < from + n; w++) text += words[w];
      }
    }
    yield `${text}\n`;
  }
}
