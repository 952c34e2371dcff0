/** Scripts and the likely language of a text, by its characters and a few of its words. */

/** Characters whose scripts are counted. */
const SCRIPT_CHARS = 4_000_000;

/** First and last code point of blocks that tell scripts apart (Unicode blocks; rare extensions left out). */
const SCRIPTS: [script: string, ranges: [number, number][]][] = [
  [
    'Latin',
    [
      [0x41, 0x5a],
      [0x61, 0x7a],
      [0xc0, 0x24f],
      [0x1e00, 0x1eff],
    ],
  ],
  [
    'Han',
    [
      [0x3400, 0x4dbf],
      [0x4e00, 0x9fff],
      [0xf900, 0xfaff],
      [0x20000, 0x323af],
    ],
  ],
  ['Kana', [[0x3041, 0x30ff]]],
  [
    'Hangul',
    [
      [0xac00, 0xd7a3],
      [0x1100, 0x11ff],
    ],
  ],
  ['Cyrillic', [[0x400, 0x52f]]],
  ['Greek', [[0x370, 0x3ff]]],
  [
    'Arabic',
    [
      [0x600, 0x6ff],
      [0x750, 0x77f],
    ],
  ],
  ['Hebrew', [[0x590, 0x5ff]]],
  ['Devanagari', [[0x900, 0x97f]]],
  ['Thai', [[0xe00, 0xe7f]]],
];

/** A few of the commonest words, enough to tell what a Latin text is most likely written in. */
const WORDS: Record<string, string[]> = {
  English: ['the', 'and', 'of', 'to', 'in', 'that', 'was', 'is'],
  French: ['le', 'les', 'et', 'des', 'que', 'dans', 'une', 'est'],
  German: ['der', 'die', 'und', 'das', 'nicht', 'ist', 'ein', 'mit'],
  Spanish: ['el', 'los', 'que', 'de', 'y', 'una', 'por', 'con'],
};

/** Counts of a text that arrives in parts. */
export class Scripts {
  /** Code points in all. */
  characters = 0;
  /** Different ones. */
  different = 0;
  readonly #seen = new Uint8Array(0x110000);
  readonly #counts = new Map<string, number>();
  readonly #words = new Map<string, number>();
  #looked = 0;

  /** Counts a text; returns its code points. */
  add(text: string): number {
    let count = 0;
    const look = this.#looked < SCRIPT_CHARS;
    for (let i = 0; i < text.length; i++, count++) {
      const point = text.codePointAt(i)!;
      if (point > 0xffff) i++;
      this.different += 1 - this.#seen[point];
      this.#seen[point] = 1;
      if (look) {
        const script = scriptOf(point);
        if (script) this.#counts.set(script, (this.#counts.get(script) ?? 0) + 1);
      }
    }
    if (look)
      for (const word of text
        .slice(0, 10_000)
        .toLowerCase()
        .split(/[^\p{L}]+/u))
        this.#words.set(word, (this.#words.get(word) ?? 0) + 1);
    if (this.#words.size > 200_000) this.#words.clear();
    this.#looked += count;
    this.characters += count;
    return count;
  }

  /** Scripts by share of letters, the most frequent first. */
  shares(): { script: string; share: number }[] {
    const letters = [...this.#counts.values()].reduce((a, b) => a + b, 0);
    return [...this.#counts].map(([script, n]) => ({ script, share: n / letters })).sort((a, b) => b.share - a.share);
  }

  /** A rough guess, in words. */
  language(): string {
    const shares = this.shares();
    if (shares.length === 0) return 'unknown';
    const share = (script: string) => shares.find((s) => s.script === script)?.share ?? 0;
    if (share('Kana') > 0.1) return 'Japanese';
    if (share('Hangul') > 0.3) return 'Korean';
    if (share('Han') > 0.3) return share('Latin') > 0.3 ? 'Chinese and Latin script' : 'Chinese';
    if (share('Latin') < 0.5) return `${shares[0].script} script`;
    const scores = Object.entries(WORDS).map(([language, words]) => ({
      language,
      score: words.reduce((sum, w) => sum + (this.#words.get(w) ?? 0), 0),
    }));
    const best = scores.reduce((a, b) => (b.score > a.score ? b : a));
    const total = [...this.#words.values()].reduce((a, b) => a + b, 0);
    return best.score > 0.05 * total ? best.language : 'Latin script';
  }
}

function scriptOf(point: number): string | undefined {
  if (point < 0x41) return undefined;
  for (const [script, ranges] of SCRIPTS) for (const [from, to] of ranges) if (point >= from && point <= to) return script;
  return undefined;
}
