/** What happened to rows that could not be used as they are: counted by kind, written to `rejects.jsonl`, and a stop when there are too many. */
import type { Encoding } from './encoding.ts';
import { notUtf8, tooManyRejected } from './errors.ts';

/** Rows refused because something is wrong with them. They count towards the limit. */
export const REFUSED = ['bad_utf8', 'too_long', 'bad_json', 'bad_csv', 'bad_field', 'truncated'] as const;
/** Rows passed over or mended without fault: they never stop a run. */
export const NOTED = ['empty', 'bom', 'replaced', 'surrogates', 'special_in_text', 'split', 'cut_end'] as const;

export type RefusedKind = (typeof REFUSED)[number];
/**
 * `empty` no text in the row · `bom` byte order mark dropped · `replaced` row with bad bytes turned into U+FFFD · `surrogates` row with lone surrogates turned
 * into U+FFFD · `special_in_text` document that spells a special token, encoded as ordinary text · `split` document handed on in several pieces ·
 * `cut_end` file that ends inside a character, which was dropped.
 */
export type NotedKind = (typeof NOTED)[number];

/** One line of `rejects.jsonl`. `line` and `byte` count from 1. */
export interface Reject {
  source: string;
  line: number;
  kind: RefusedKind | 'empty';
  reason: string;
  byte?: number;
}

/** Rows between two looks at the limit, so that 5 GB of the wrong file stop early; the last look is at the end. */
const EARLY_ROWS = 10_000;

interface BadUtf8 {
  path: string;
  line: number;
  byte: number;
  offset: number;
  guess: Encoding | 'unknown';
}

/** All that a `Rejects` knows, as JSON has it. */
export interface RejectsState {
  rows: number;
  rejected: number;
  refused: Record<RefusedKind, number>;
  noted: Record<NotedKind, number>;
  first?: Reject;
  badUtf8?: BadUtf8;
}

/** The counters of one pass over the sources. */
export class Rejects {
  /** Rows looked at, good or bad: JSONL lines, CSV records, lines of text files. */
  rows = 0;
  /** Rows refused. */
  rejected = 0;
  readonly refused = Object.fromEntries(REFUSED.map((k) => [k, 0])) as Record<RefusedKind, number>;
  readonly noted = Object.fromEntries(NOTED.map((k) => [k, 0])) as Record<NotedKind, number>;
  #first: Reject | undefined;
  #badUtf8: BadUtf8 | undefined;

  constructor(
    /** The share of rows that may be refused before everything stops. */
    readonly maxRejected = 0.01,
    /** Called with each refused or empty row. */
    readonly onReject?: (reject: Reject) => void,
    /** Named in the message when the limit is passed. */
    readonly rejectsFile?: string,
  ) {}

  refuse(reject: Reject & { kind: RefusedKind }): void {
    this.rejected++;
    this.refused[reject.kind]++;
    this.#first ??= reject;
    this.onReject?.(reject);
    if (this.rejected >= EARLY_ROWS * this.maxRejected && this.rows >= EARLY_ROWS) this.check();
  }

  /** As `refuse`, and remembers what the first bad bytes looked like: a whole file in another encoding then ends in E132. */
  refuseBytes(at: { path: string; line: number; byte: number; offset: number }, guess: () => Encoding | 'unknown'): void {
    this.#badUtf8 ??= { ...at, guess: guess() };
    this.refuse({ source: at.path, line: at.line, kind: 'bad_utf8', reason: `byte ${at.byte} is not UTF-8`, byte: at.byte });
  }

  empty(source: string, line: number, reason: string): void {
    this.noted.empty++;
    this.onReject?.({ source, line, kind: 'empty', reason });
  }

  note(kind: NotedKind): void {
    this.noted[kind]++;
  }

  /** Throws E136 (or E132, when most of the refused rows are in another encoding) if more than the limit were refused. */
  check(): void {
    if (this.rejected <= this.maxRejected * this.rows) return;
    if (this.#badUtf8 && this.#badUtf8.guess !== 'unknown' && this.refused.bad_utf8 > 0.5 * this.rejected)
      throw notUtf8(this.#badUtf8.path, this.#badUtf8);
    throw tooManyRejected({
      rejected: this.rejected,
      rows: this.rows,
      limit: this.maxRejected,
      kinds: { ...this.refused },
      first: this.#first,
      rejectsFile: this.rejectsFile,
    });
  }

  state(): RejectsState {
    const { rows, rejected, refused, noted } = this;
    return { rows, rejected, refused: { ...refused }, noted: { ...noted }, first: this.#first, badUtf8: this.#badUtf8 };
  }

  /** Counts on from this state. */
  goOn({ rows, rejected, refused, noted, first, badUtf8 }: RejectsState): void {
    this.rows = rows;
    this.rejected = rejected;
    Object.assign(this.refused, refused);
    Object.assign(this.noted, noted);
    this.#first = first;
    this.#badUtf8 = badUtf8;
  }

  /** All counters in one object, for the manifest and the table at the end. */
  summary(): Record<RefusedKind | NotedKind, number> & { rows: number } {
    return { rows: this.rows, ...this.refused, ...this.noted };
  }
}
