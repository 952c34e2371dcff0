/**
 * Cleaning: a text goes through rules in order; each one leaves it, changes it or drops it, and says how often, with examples.
 * The same text and rules give the same bytes, on every machine and in any order of the documents: rules see one document and nothing else.
 *
 * Gopher: Rae et al. 2021, appendix A.1.1. C4: Raffel et al. 2020, §2.2. Han characters stand for words where a text is mostly Chinese, and the
 * rules about word length and English function words have Chinese counterparts.
 */
import { createHash } from 'node:crypto';

/** A named step. `apply` returns the text to go on with, or undefined to drop the document. */
export interface Rule {
  name: string;
  apply(text: string): string | undefined;
}

/** What a rule did. */
export interface RuleReport {
  name: string;
  /** Documents that reached it; of these unchanged, changed, dropped. */
  seen: number;
  kept: number;
  changed: number;
  dropped: number;
  /** Beginnings of texts that it changed or dropped, up to three of each. */
  examples: { what: 'changed' | 'dropped'; before: string; after?: string }[];
}

export interface Cleaner {
  /** The cleaned text; undefined when a rule dropped it. */
  clean(text: string): string | undefined;
  report(): RuleReport[];
  /** SHA-256 of the rules' names, in order: names the output of a pipeline. Rules with options carry them in their name. */
  readonly hash: string;
}

const EXAMPLES = 3;
const EXAMPLE_CHARS = 120;

/** A pipeline of rules. */
export function cleaner(rules: readonly Rule[]): Cleaner {
  const reports: RuleReport[] = rules.map(({ name }) => ({ name, seen: 0, kept: 0, changed: 0, dropped: 0, examples: [] }));
  const show = (report: RuleReport, what: 'changed' | 'dropped', before: string, after?: string) => {
    if (report.examples.filter((e) => e.what === what).length >= EXAMPLES) return;
    let at = 0; // the stretch where the two differ
    while (after !== undefined && at < before.length && before[at] === after[at]) at++;
    const from = Math.max(0, at - 20);
    report.examples.push({
      what,
      before: before.slice(from, from + EXAMPLE_CHARS),
      ...(after === undefined ? {} : { after: after.slice(from, from + EXAMPLE_CHARS) }),
    });
  };
  return {
    clean(text) {
      for (const [i, rule] of rules.entries()) {
        const report = reports[i];
        report.seen++;
        const after = rule.apply(text);
        if (after === undefined) {
          report.dropped++;
          show(report, 'dropped', text);
          return undefined;
        }
        if (after === text) report.kept++;
        else {
          report.changed++;
          show(report, 'changed', text, after);
        }
        text = after;
      }
      return text;
    },
    report: () => structuredClone(reports),
    hash: createHash('sha256')
      .update(JSON.stringify(rules.map((r) => r.name)))
      .digest('hex'),
  };
}

/** Unicode normalisation. NFKC also turns full-width letters, ligatures and ½ into their plain spelling; NFC (the default) only composes accents. */
export const unicode = (form: 'NFC' | 'NFKC' = 'NFC'): Rule => ({
  name: `unicode(${form})`,
  apply: (text) => text.normalize(form),
});

/** Line ends become \n; control characters other than \n and \t, zero-width and bidirectional marks, soft hyphens and byte order marks go; NEL and U+2028/2029 become \n. */
export const controls = (): Rule => ({
  name: 'controls',
  apply: (text) =>
    text
      .replace(/\r\n?|[\u0085\u2028\u2029]/g, '\n')
      .replace(
        /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufff9-\ufffb]/g,
        '',
      ),
});

const BLOCKS =
  'address|article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|p|pre|section|table|td|th|tr|ul|title|option';
const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  ensp: ' ',
  emsp: ' ',
  copy: '©',
  reg: '®',
  trade: '™',
  hellip: '…',
  mdash: '—',
  ndash: '–',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  laquo: '«',
  raquo: '»',
  bull: '•',
  middot: '·',
  times: '×',
  divide: '÷',
  deg: '°',
  plusmn: '±',
  para: '¶',
  sect: '§',
  euro: '€',
  pound: '£',
  yen: '¥',
  cent: '¢',
};

/** HTML to text: comments, scripts, styles and tags go, block tags end a line, entities become characters. Text without tags or entities is left as it is. */
export const html = (): Rule => ({
  name: 'html',
  apply(text) {
    if (!/<(?:[a-z!/][^<>]*)>|&(?:#\d+|#x[0-9a-f]+|[a-z]+);/i.test(text)) return text;
    return text
      .replace(/<!--[\s\S]*?(?:-->|$)/g, '')
      .replace(/<(script|style|noscript|template|svg|head)\b[^>]{0,2000}>[\s\S]*?(?:<\/\1\s*>|$)/gi, '')
      .replace(new RegExp(`</?(?:${BLOCKS})(?:\\s[^<>]*)?/?>`, 'gi'), '\n')
      .replace(/<[a-z/!?][^<>]*>/gi, '')
      .replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/gi, (all, decimal, hex, name) => {
        if (name) return ENTITIES[name] ?? ENTITIES[name.toLowerCase()] ?? all;
        const point = decimal ? Number(decimal) : Number.parseInt(hex, 16);
        return point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff) ? String.fromCodePoint(point) : all;
      })
      .replace(/[ \t]+/g, ' ')
      .replace(/ ?\n ?/g, '\n')
      .replace(/\n{3,}/g, '\n\n')
      .trim();
  },
});

/** Blanks at line ends go, and more than one empty line becomes one. */
export const whitespace = (): Rule => ({
  name: 'whitespace',
  apply: (text) => text.replace(/(?<![ \t])[ \t]+$/gm, '').replace(/\n{3,}/g, '\n\n'),
});

/**
 * Personal data become placeholders: mail addresses, IPv4 addresses, phone numbers (Chinese mobile, international with +, North American), Chinese
 * identity numbers with a right check digit, payment cards with a right check digit, and keys that services hand out by a known prefix.
 */
export const personal = (): Rule => ({
  name: 'personal',
  apply: (text) =>
    text
      .replace(/(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*\.[a-z]{2,24}(?![\w-])/gi, '<EMAIL>')
      .replace(
        /(?<![\w-])(?:sk-[\w-]{20,}|gh[pousr]_\w{36,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{10,}|AIza[\w-]{35})(?![\w-])/g,
        '<KEY>',
      )
      .replace(/(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)/g, (id) =>
        chineseIdIsValid(id) ? '<ID>' : id,
      )
      .replace(/(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d.-])/g, (number) => (luhn(number.replace(/\D/g, '')) ? '<CARD>' : number))
      .replace(/(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)/g, '<IP>')
      .replace(
        /(?<![\d.])(?:\+\d{1,3}[ -]?\(?\d{1,4}\)?(?:[ -]?\d{2,4}){2,4}|1[3-9]\d[ -]?\d{4}[ -]?\d{4}|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\d.]*\d)/g,
        '<PHONE>',
      ),
});

/** GB 11643-1999: Σ digit · 2^(18−i) ≡ 1 (mod 11), the last digit X being 10. */
function chineseIdIsValid(id: string): boolean {
  let sum = 0;
  for (let i = 0; i < 18; i++) sum += (id[i] === 'X' || id[i] === 'x' ? 10 : Number(id[i])) * (2 ** (17 - i) % 11);
  return sum % 11 === 1;
}

/** The check digit of payment cards (ISO/IEC 7812): every second digit from the right counts double. */
function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const d = Number(digits[digits.length - 1 - i]);
    sum += i % 2 === 0 ? d : d < 5 ? 2 * d : 2 * d - 9;
  }
  return sum % 10 === 0 && /[1-9]/.test(digits);
}

/** Share of Han among letters. */
export function hanShare(text: string): number {
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  return letters === 0 ? 0 : (text.match(/\p{Script=Han}/gu)?.length ?? 0) / letters;
}

/** Words: what stands between blanks; in a mostly Chinese text each Han character is one, beside the runs of other letters and digits. */
export function wordsOf(text: string, chinese = hanShare(text) > 0.3): string[] {
  return (chinese ? text.match(/\p{Script=Han}|(?:(?!\p{Script=Han})[\p{L}\p{N}])+/gu) : text.match(/\S+/g)) ?? [];
}

const FUNCTION_WORDS = new Set(['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with']); // Gopher's list
const CHINESE_FUNCTION_WORDS = ['的', '了', '是', '在', '和', '不', '有', '我', '这', '他', '之', '也', '而', '其'];

/** Gopher's quality filter: 50 … 100,000 words of 3 … 10 characters on average, few symbols, bullets and ellipses, mostly letters, some function words. */
export const gopherQuality = ({ minWords = 50, maxWords = 100_000 } = {}): Rule => ({
  name: `gopherQuality(${minWords},${maxWords})`,
  apply(text) {
    const chinese = hanShare(text) > 0.3;
    const words = wordsOf(text, chinese);
    if (words.length < minWords || words.length > maxWords) return undefined;
    if (!chinese) {
      const mean = words.reduce((sum, w) => sum + w.length, 0) / words.length;
      if (mean < 3 || mean > 10) return undefined;
      if (words.filter((w) => /\p{L}/u.test(w)).length < 0.8 * words.length) return undefined;
    }
    const symbols = text.match(/#|…|\.\.\./g)?.length ?? 0;
    if (symbols > 0.1 * words.length) return undefined;
    const lines = text.split('\n').filter((l) => l.trim() !== '');
    if (lines.filter((l) => /^\s*[-*•·●]/.test(l)).length > 0.9 * lines.length) return undefined;
    if (lines.filter((l) => /(?:…|\.\.\.)\s*$/.test(l)).length > 0.3 * lines.length) return undefined;
    const found = chinese
      ? CHINESE_FUNCTION_WORDS.filter((w) => text.includes(w)).length
      : new Set(words.map((w) => w.toLowerCase()).filter((w) => FUNCTION_WORDS.has(w))).size;
    return found >= 2 ? text : undefined;
  },
});

/** n → the largest share of characters that the most frequent n-gram, or for n ≥ 5 all n-grams that occur twice, may cover (Gopher, table A1). */
const TOP_NGRAM: [n: number, share: number][] = [
  [2, 0.2],
  [3, 0.18],
  [4, 0.16],
];
const REPEATED_NGRAMS: [n: number, share: number][] = [
  [5, 0.15],
  [6, 0.14],
  [7, 0.13],
  [8, 0.12],
  [9, 0.11],
  [10, 0.1],
];

/** Gopher's repetition filter: repeated lines, paragraphs and n-grams. */
export const gopherRepetition = (): Rule => ({
  name: 'gopherRepetition',
  apply(text) {
    for (const [parts, share, characters] of [
      [text.split('\n'), 0.3, 0.2],
      [text.split(/\n{2,}/), 0.3, 0.2],
    ] as const) {
      const filled = parts.filter((p) => p.trim() !== '');
      const { count, chars } = repeated(filled);
      if (count > share * filled.length || chars > characters * text.length) return undefined;
    }
    const chinese = hanShare(text) > 0.3;
    const words = wordsOf(text, chinese);
    const total = words.reduce((sum, w) => sum + w.length, 0);
    for (const [n, share] of TOP_NGRAM) {
      const counts = new Map<string, number>();
      let top = 0;
      let topChars = 0;
      for (let i = 0; i + n <= words.length; i++) {
        const gram = words.slice(i, i + n).join(' ');
        const count = (counts.get(gram) ?? 0) + 1;
        counts.set(gram, count);
        if (count > top) {
          top = count;
          topChars = gram.length - (n - 1);
        }
      }
      if (top > 1 && top * topChars > share * total) return undefined;
    }
    for (const [n, share] of REPEATED_NGRAMS) if (repeatedNgramChars(words, n) > share * total) return undefined;
    return text;
  },
});

/** How many parts are copies of an earlier one, and their characters. */
function repeated(parts: readonly string[]): { count: number; chars: number } {
  const seen = new Set<string>();
  let count = 0;
  let chars = 0;
  for (const part of parts) {
    if (seen.has(part)) {
      count++;
      chars += part.length;
    } else seen.add(part);
  }
  return { count, chars };
}

/** Characters covered by n-grams that occurred before; overlapping ones are counted once. */
function repeatedNgramChars(words: readonly string[], n: number): number {
  const seen = new Set<string>();
  let chars = 0;
  let coveredTo = 0;
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(' ');
    if (!seen.has(gram)) seen.add(gram);
    else {
      for (let k = Math.max(i, coveredTo); k < i + n; k++) chars += words[k].length;
      coveredTo = i + n;
    }
  }
  return chars;
}

/**
 * C4's rules: lines that end in punctuation and have at least 5 words stay; lines that speak of JavaScript or cookies go; documents with placeholder text, with
 * braces (code), or with fewer than 3 sentences left go. In Chinese: 。！？…；”』」 end a line, and 5 characters are enough. (Without C4's list of bad words.)
 */
export const c4 = ({ minSentences = 3 } = {}): Rule => ({
  name: `c4(${minSentences})`,
  apply(text) {
    if (/lorem ipsum/i.test(text) || text.includes('{')) return undefined;
    const chinese = hanShare(text) > 0.3;
    const lines = text.split('\n').filter((line) => {
      const trimmed = line.trim();
      if (trimmed === '') return true; // between paragraphs
      if (/javascript|terms of use|privacy policy|cookie policy|uses cookies|use of cookies/i.test(trimmed)) return false;
      return /[.!?"'”’。！？…；』」）]$/.test(trimmed) && !/\.\.\.$/.test(trimmed) && wordsOf(trimmed, chinese).length >= 5;
    });
    const kept = lines
      .join('\n')
      .replace(/\n{3,}/g, '\n\n')
      .trim();
    return (kept.match(/[.!?。！？…]+/g)?.length ?? 0) >= minSentences ? kept : undefined;
  },
});

/** Keeps documents whose letters are mostly of one of the scripts (Unicode names: `Han`, `Latin`, `Cyrillic` …). */
export const scripts = (names: readonly string[], share = 0.5): Rule => {
  const one = new RegExp(names.map((n) => `\\p{Script=${n}}`).join('|'), 'gu');
  return {
    name: `scripts(${names.join(',')},${share})`,
    apply(text) {
      const letters = text.match(/\p{L}/gu)?.length ?? 0;
      return letters > 0 && (text.match(one)?.length ?? 0) >= share * letters ? text : undefined;
    },
  };
};

/** What we would do with text from the web, in this order. Books and poems need no more than the first three. */
export const webRules = (): Rule[] => [
  unicode(),
  controls(),
  html(),
  whitespace(),
  personal(),
  c4(),
  gopherQuality(),
  gopherRepetition(),
];

/** Keeps documents of min … max characters (code units). */
export const length = ({ min = 1, max = Number.MAX_SAFE_INTEGER } = {}): Rule => ({
  name: `length(${min},${max === Number.MAX_SAFE_INTEGER ? '∞' : max})`,
  apply: (text) => (text.length >= min && text.length <= max ? text : undefined),
});

/** What chains of rules are made of, by the names that a pipeline file uses. */
export const rulesByName = {
  unicode: ({ form = 'NFC' }: { form?: 'NFC' | 'NFKC' } = {}) => unicode(form),
  controls,
  html,
  whitespace,
  personal,
  c4,
  gopherQuality,
  gopherRepetition,
  scripts: ({ names, share = 0.5 }: { names: string[]; share?: number }) => scripts(names, share),
  length,
};
