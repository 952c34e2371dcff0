/**
 * Annotation without a screen: which item is next, what was said of it by whom, undo, and what comes out. The terminal labeller draws it, a page may too.
 *
 * What was done is a log of events, one JSON object a line, only ever appended: the state is the log replayed, so that a crash loses nothing and several
 * people may add their logs together.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { cohenKappa, fleissKappa, krippendorffAlpha, type Ratings } from './agreement.ts';
import { step } from './disk.ts';

/** A stretch of the text, in code units, with its label. */
export interface Span {
  from: number;
  to: number;
  label: string;
}

/** A class or a rating of the whole item, or the spans in it. */
export type Label = string | number | readonly Span[];

export interface Item {
  /** First 16 hex digits of the SHA-256 of the text: the same text is the same item, in whatever file. */
  id: string;
  text: string;
  source: string;
  line: number;
  /** The columns of its row that are shown, where not the whole text is (pairs, preferences); `text` has them one below the other. */
  columns?: readonly { name: string; text: string }[];
}

export const itemId = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

export type AnnotationEvent =
  | { id: string; annotator: string; label: Label; at: string }
  | { id: string; annotator: string; skip: true; at: string }
  /** Takes back the annotator's last label or skip that still stands. */
  | { annotator: string; undo: true; at: string };

export interface Annotation {
  id: string;
  annotator: string;
  /** Absent where the item was skipped. */
  label?: Label;
}

export interface AnnotationProgress {
  items: number;
  labelled: number;
  skipped: number;
  left: number;
}

export class Annotating {
  /** annotator → what they did and did not take back, in order. */
  readonly #done = new Map<string, Annotation[]>();

  readonly #byId: ReadonlyMap<string, Item>;

  constructor(
    readonly items: readonly Item[],
    /** What was done before. */
    events: readonly AnnotationEvent[] = [],
    readonly options: {
      /** Told of each new event, before the state changes: writes it down. */
      onEvent?: (event: AnnotationEvent) => void;
      now?: () => Date;
      /** Higher comes first: the uncertainty of a classifier (active learning). Equal ones keep their order. */
      priority?: (item: Item) => number;
    } = {},
  ) {
    this.#byId = new Map(items.map((i) => [i.id, i]));
    for (const event of events) this.#apply(event);
  }

  item(id: string): Item | undefined {
    return this.#byId.get(id);
  }

  /** The first item that this annotator has neither labelled nor skipped. */
  next(annotator: string): Item | undefined {
    const done = new Set(this.of(annotator).map((a) => a.id));
    const { priority } = this.options;
    if (!priority) return this.items.find((i) => !done.has(i.id));
    let best: Item | undefined;
    let most = Number.NEGATIVE_INFINITY;
    for (const item of this.items) {
      const p = done.has(item.id) ? Number.NEGATIVE_INFINITY : priority(item);
      if (p > most) [best, most] = [item, p];
    }
    return best;
  }

  /** What this annotator said, in order, without what was taken back. */
  of(annotator: string): readonly Annotation[] {
    return this.#done.get(annotator) ?? [];
  }

  get annotators(): string[] {
    return [...this.#done.keys()].sort();
  }

  label(id: string, annotator: string, label: Label): void {
    this.#record({ id, annotator, label, at: this.#now() });
  }

  skip(id: string, annotator: string): void {
    this.#record({ id, annotator, skip: true, at: this.#now() });
  }

  /** Takes back the last label or skip; the item is next again. undefined when there is none. */
  undo(annotator: string): Annotation | undefined {
    const last = this.of(annotator).at(-1);
    if (last) this.#record({ annotator, undo: true, at: this.#now() });
    return last;
  }

  progress(annotator: string): AnnotationProgress {
    const done = this.of(annotator).filter((a) => this.#byId.has(a.id));
    const labelled = done.filter((a) => a.label !== undefined).length;
    return { items: this.items.length, labelled, skipped: done.length - labelled, left: this.items.length - done.length };
  }

  /** Ratings (annotators × items with a class or number from any of them), as agreement.ts takes them. */
  ratings(): { annotators: string[]; items: Item[]; ratings: Ratings } {
    const { annotators } = this;
    const said = annotators.map((a) => new Map(this.of(a).map(({ id, label }) => [id, label])));
    const one = (label: Label | undefined) => (typeof label === 'string' || typeof label === 'number' ? label : null);
    const items = this.items.filter((i) => said.some((s) => one(s.get(i.id)) !== null));
    return { annotators, items, ratings: said.map((s) => items.map((i) => one(s.get(i.id)))) };
  }

  #now = (): string => (this.options.now?.() ?? new Date()).toISOString();

  #record(event: AnnotationEvent): void {
    this.options.onEvent?.(event);
    this.#apply(event);
  }

  #apply(event: AnnotationEvent): void {
    const done = this.#done.get(event.annotator) ?? [];
    this.#done.set(event.annotator, done);
    if ('undo' in event) done.pop();
    else {
      const before = done.findIndex((a) => a.id === event.id); // said again: the later word counts
      if (before >= 0) done.splice(before, 1);
      done.push({ id: event.id, annotator: event.annotator, ...('label' in event ? { label: event.label } : {}) });
    }
  }
}

export interface Agreement {
  annotators: string[];
  /** Items that two or more labelled. */
  items: number;
  /** Every pair, over the items of both. */
  cohen: { a: string; b: string; items: number; kappa: number }[];
  /** Over items that all labelled; absent with fewer than two such items. */
  fleiss?: number;
  alpha: { nominal: number; ordinal?: number; interval?: number };
}

/** Agreement of all annotators; undefined when no item was labelled by two. Ordinal and interval α where every label is a number. */
export function agreementOf(annotating: Annotating): Agreement | undefined {
  const { annotators, ratings } = annotating.ratings();
  const columns = (ratings[0] ?? []).map((_, i) => ratings.map((r) => r[i]));
  const shared = columns.filter((c) => c.filter((v) => v !== null).length >= 2);
  if (shared.length === 0) return undefined;
  const rows = ratings.map((_, a) => shared.map((c) => c[a]));
  const complete = shared.filter((c) => !c.includes(null));
  const numbers = shared.flat().every((v) => v === null || typeof v === 'number');
  return {
    annotators,
    items: shared.length,
    cohen: annotators.flatMap((a, i) =>
      annotators.slice(i + 1).flatMap((b, k) => {
        const both = shared.filter((c) => c[i] !== null && c[i + 1 + k] !== null);
        if (both.length === 0) return [];
        const kappa = cohenKappa(
          both.map((c) => c[i]),
          both.map((c) => c[i + 1 + k]),
        );
        return [{ a, b, items: both.length, kappa }];
      }),
    ),
    ...(complete.length >= 2 ? { fleiss: fleissKappa(ratings.map((_, a) => complete.map((c) => c[a]))) } : {}),
    alpha: {
      nominal: krippendorffAlpha(rows),
      ...(numbers ? { ordinal: krippendorffAlpha(rows, 'ordinal'), interval: krippendorffAlpha(rows, 'interval') } : {}),
    },
  };
}

/** One row an item that has a label: `label` is what most said (the first to say it, where they are level), `labels` what each said. */
export function exportRows(annotating: Annotating): Record<string, unknown>[] {
  const { annotators } = annotating;
  const said = annotators.map((a) => new Map(annotating.of(a).map(({ id, label }) => [id, label])));
  return annotating.items.flatMap(({ id, text, source, line }) => {
    const labels = Object.fromEntries(
      annotators.flatMap((a, i) => (said[i].get(id) === undefined ? [] : [[a, said[i].get(id)!]])),
    );
    const votes = new Map<string, { label: Label; count: number }>();
    for (const label of Object.values(labels)) {
      const key = JSON.stringify(label);
      votes.set(key, { label, count: (votes.get(key)?.count ?? 0) + 1 });
    }
    const best = [...votes.values()].reduce<{ label: Label; count: number } | undefined>(
      (a, b) => (a && a.count >= b.count ? a : b),
      undefined,
    );
    return best ? [{ id, text, label: best.label, labels, source, line }] : [];
  });
}

/** A token of the text with its place: a Han character or kana alone, a run of other letters and digits, or a mark. */
export function annotationTokens(text: string): { text: string; from: number; to: number }[] {
  const one =
    /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|(?:(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{M}\p{N}])+|[^\s\p{L}\p{M}\p{N}]/gu;
  return [...text.matchAll(one)].map((m) => ({ text: m[0], from: m.index, to: m.index + m[0].length }));
}

/**
 * CoNLL: a token a line, a tab, its tag in IOB2 (B-LABEL begins a span, I-LABEL goes on, O is outside); an empty line between items. A token belongs to the
 * span that holds its first character. Of items whose label is no list of spans there are none.
 */
export function exportConll(rows: readonly Record<string, unknown>[]): string {
  return rows
    .filter((r) => Array.isArray(r['label']))
    .map((row) => {
      const spans = row['label'] as readonly Span[];
      let before: Span | undefined;
      return annotationTokens(row['text'] as string)
        .map((token) => {
          const span = spans.find((s) => token.from >= s.from && token.from < s.to);
          const tag = span ? `${span === before ? 'I' : 'B'}-${span.label}` : 'O';
          before = span;
          return `${token.text}\t${tag}\n`;
        })
        .join('');
    })
    .join('\n');
}

/** The log of annotations in a file. What a killed process left half written at the end is cut off. */
export class AnnotationLog {
  readonly events: AnnotationEvent[] = [];
  readonly #fd: number;

  constructor(readonly path: string) {
    const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
    const whole = bytes.lastIndexOf(10) + 1;
    for (const line of bytes.toString('utf8', 0, whole).split('\n')) {
      if (line !== '') this.events.push(JSON.parse(line) as AnnotationEvent);
    }
    this.#fd = step(path, () => openSync(path, 'a'));
    if (whole < bytes.length) step(path, () => ftruncateSync(this.#fd, whole));
  }

  /** On disk when it returns: a person's work is worth an fsync. */
  append(event: AnnotationEvent): void {
    step(this.path, () => {
      writeSync(this.#fd, `${JSON.stringify(event)}\n`);
      fsyncSync(this.#fd);
    });
    this.events.push(event);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
