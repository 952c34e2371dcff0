/**
 * Cleaning: a text goes through rules in order; each one leaves it, changes it or drops it, and says how often, why, with examples.
 * The same text and rules give the same bytes, on every machine and in any order of the documents: a rule sees one document and nothing else (but `repeatedLines`).
 * The plain rules are here, the others in html, boilerplate, personal, chinese, language and quality.
 */
import { createHash } from 'node:crypto';
import { boilerplate, repeatedLines } from './boilerplate.ts';
import { chinese } from './chinese.ts';
import { htmlToText, looksLikeHtml } from './html.ts';
import { languages } from './language.ts';
import { personal } from './personal.ts';
import { c4, gopherQuality } from './quality.ts';
import { gopherRepetition } from './repetition.ts';

/** A named step. `apply` returns the text to go on with, or undefined to drop the document. */
export interface Rule {
  name: string;
  /** `note` counts what was done or why a document is dropped, by a short name. */
  apply(text: string, note?: (what: string) => void): string | undefined;
  /** Loads what the rule needs (word tables, n-grams), once, before the first text. */
  load?(): Promise<void>;
  /** Sees every document before the first one is cleaned, as the rules before it leave it. */
  learn?(text: string): void;
  /** What it has learned, as the memory that it lies in. */
  learned?(): Uint8Array[];
}

/** What a rule did. */
export interface RuleReport {
  name: string;
  /** Documents that reached it; of these unchanged, changed, dropped. */
  seen: number;
  kept: number;
  changed: number;
  dropped: number;
  /** How often what: kinds of personal data, reasons for dropping, languages. */
  notes: Record<string, number>;
  /** Beginnings of texts that it changed or dropped, up to three of each. */
  examples: { what: 'changed' | 'dropped'; before: string; after?: string }[];
}

export interface Cleaner {
  /** Loads what its rules need; to be awaited before `clean` where a rule has anything to load (`chinese`, `languages`). */
  load(): Promise<void>;
  /** Whether a rule wants to see all documents first; then each goes through `learn` before the first goes through `clean`. */
  readonly learns: boolean;
  learn(text: string): void;
  /** The cleaned text; undefined when a rule dropped it. */
  clean(text: string): string | undefined;
  report(): RuleReport[];
  /** What its rules have learned; and counting on from an earlier report, with what they had learned then. */
  learned(): Uint8Array;
  goOn(reports: readonly RuleReport[], learned?: Uint8Array): void;
  /** SHA-256 of the rules' names, in order: names the output of a pipeline. Rules with options carry them in their name. */
  readonly hash: string;
}

const EXAMPLES = 3;
const EXAMPLE_CHARS = 120;

/** A pipeline of rules. */
export function cleaner(rules: readonly Rule[]): Cleaner {
  const reports: RuleReport[] = rules.map(({ name }) => ({
    name,
    seen: 0,
    kept: 0,
    changed: 0,
    dropped: 0,
    notes: {},
    examples: [],
  }));
  const noters = reports.map(({ notes }) => (what: string) => {
    notes[what] = (notes[what] ?? 0) + 1;
  });
  const lastLearner = rules.findLastIndex((r) => r.learn);
  const show = (report: RuleReport, what: 'changed' | 'dropped', before: string, after?: string) => {
    if ((what === 'dropped' ? report.dropped : report.changed) > EXAMPLES) return;
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
    async load() {
      for (const rule of rules) await rule.load?.();
    },
    learns: lastLearner >= 0,
    // With two rules that learn, the second one sees what the first one, which is still learning, leaves.
    learn(text) {
      for (let i = 0; i <= lastLearner; i++) {
        rules[i].learn?.(text);
        if (i === lastLearner) return;
        const after = rules[i].apply(text);
        if (after === undefined) return;
        text = after;
      }
    },
    clean(text) {
      for (let i = 0; i < rules.length; i++) {
        const report = reports[i];
        report.seen++;
        const after = rules[i].apply(text, noters[i]);
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
    learned: () => Buffer.concat(rules.flatMap((rule) => rule.learned?.() ?? [])),
    goOn(before, learned) {
      for (const [i, { notes, ...counts }] of before.entries()) {
        Object.assign(reports[i].notes, notes);
        Object.assign(reports[i], counts);
      }
      let at = 0;
      for (const memory of learned ? rules.flatMap((rule) => rule.learned?.() ?? []) : []) {
        memory.set(learned!.subarray(at, at + memory.length));
        at += memory.length;
      }
    },
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

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufff9-\ufffb]/;
const GONE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufff9-\ufffb]/g;

/** Line ends become \n; control characters other than \n and \t, zero-width and bidirectional marks, soft hyphens and byte order marks go; NEL and U+2028/2029 become \n. */
export const controls = (): Rule => ({
  name: 'controls',
  apply: (text) => (CONTROLS.test(text) ? text.replace(/\r\n?|[\u0085\u2028\u2029]/g, '\n').replace(GONE, '') : text),
});

/**
 * HTML to text: comments, scripts, styles and tags go, block tags end a line, entities become characters. Text without tags or entities is left as it is.
 * `content`: menus, footers, sidebars and cookie boxes go too, as far as tags and class names say so.
 */
export const html = ({ content = false } = {}): Rule => ({
  name: content ? 'html(content)' : 'html',
  apply: (text) => (looksLikeHtml(text) ? htmlToText(text, content) : text),
});

/** Blanks at line ends go, and more than one empty line becomes one. */
export const whitespace = (): Rule => ({
  name: 'whitespace',
  apply(text) {
    const isBlank = (i: number) => text.charCodeAt(i) === 32 || text.charCodeAt(i) === 9;
    let out = '';
    let from = 0; // what is before it is in `out`
    for (let at = 0; at <= text.length; ) {
      let end = text.indexOf('\n', at);
      if (end < 0) end = text.length;
      let to = end;
      while (to > at && isBlank(to - 1)) to--;
      if (to < end) {
        out += text.slice(from, to);
        from = end;
      }
      at = end + 1;
    }
    if (from > 0) text = out + text.slice(from);
    return text.includes('\n\n\n') ? text.replace(/\n{3,}/g, '\n\n') : text;
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

/** Keeps documents of min … max characters (code units). */
export const length = ({ min = 1, max = Number.MAX_SAFE_INTEGER } = {}): Rule => ({
  name: `length(${min},${max === Number.MAX_SAFE_INTEGER ? '∞' : max})`,
  apply: (text) => (text.length >= min && text.length <= max ? text : undefined),
});

/** What we would do with text from the web, in this order. Books and poems need no more than unicode, controls and whitespace. */
export const webRules = (): Rule[] => [
  unicode(),
  controls(),
  html({ content: true }),
  whitespace(),
  boilerplate(),
  personal(),
  c4(),
  gopherQuality(),
  gopherRepetition(),
];

/** What chains of rules are made of, by the names that a pipeline file uses. */
export const rulesByName = {
  unicode: ({ form = 'NFC' }: { form?: 'NFC' | 'NFKC' } = {}) => unicode(form),
  controls,
  html,
  whitespace,
  boilerplate,
  repeatedLines,
  chinese,
  languages,
  personal,
  c4,
  gopherQuality,
  gopherRepetition,
  scripts: ({ names, share = 0.5 }: { names: string[]; share?: number }) => scripts(names, share),
  length,
};
