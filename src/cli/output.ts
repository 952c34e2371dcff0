/** What a verb says: human text, JSON lines, a live line on a terminal, and messages by code. */
import { CheckpointError } from '../io/checkpoint-error.ts';
import { QkvError } from '../errors.ts';
import { clip, displayWidth, padEnd } from '../figures/width.ts';
import type { Lang } from './format.ts';
import { type Code, isCode, messages, systemCode, type Text, type Values } from './messages/index.ts';

/** Version of the JSON lines. */
export const SCHEMA = 1;

/** Where text goes, and what can be drawn there. `NodeJS.WriteStream` and a string collector in tests both fit. */
export interface Sink {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

export interface OutputOptions {
  stdout: Sink;
  stderr: Sink;
  env?: Readonly<Record<string, string | undefined>>;
  lang?: Lang;
  json?: boolean;
  quiet?: boolean;
  debug?: boolean;
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
const sgr: Record<Style, string> = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33', cyan: '36' };

/** A readable form of text from files and models: control characters become their pictures, so that they cannot steer the terminal. */
export const printable = (text: string): string =>
  text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (c) => {
    const code = c.charCodeAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : code === 0x7f ? '\u2421' : '\ufffd';
  });

/** Whether colour is wanted: NO_COLOR and FORCE_COLOR are obeyed (no-color.org, force-color.org), else on a terminal that is not dumb. */
export function wantsColour(env: Readonly<Record<string, string | undefined>>, isTTY: boolean | undefined): boolean {
  if (env['NO_COLOR']) return false;
  if (env['FORCE_COLOR'] !== undefined) return env['FORCE_COLOR'] !== '0' && env['FORCE_COLOR'] !== 'false';
  return Boolean(isTTY) && env['TERM'] !== 'dumb';
}

/** `--lang`, else QKV_LANG, LC_ALL, LANG; English when none of them speaks Chinese. */
export function languageOf(flag: string | undefined, env: Readonly<Record<string, string | undefined>>): Lang {
  for (const value of [flag, env['QKV_LANG'], env['LC_ALL'], env['LANG']]) {
    if (value) return /^zh/i.test(value) ? 'zh' : 'en';
  }
  return 'en';
}

export class Output {
  readonly lang: Lang;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly debug: boolean;
  readonly colour: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Human text goes here: stdout, or stderr when stdout carries JSON. */
  readonly #human: Sink;
  readonly #stdout: Sink;
  readonly #stderr: Sink;
  #live = '';
  /** Set when the reader of stdout went away: nothing more is written. */
  closed = false;

  constructor({ stdout, stderr, env = {}, lang = 'en', json = false, quiet = false, debug = false }: OutputOptions) {
    this.lang = lang;
    this.json = json;
    this.quiet = quiet;
    this.debug = debug;
    this.env = env;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#human = json ? stderr : stdout;
    this.colour = wantsColour(env, this.#human.isTTY);
  }

  /** Whether human text goes to a terminal, where a line may be drawn over. */
  get isTerminal(): boolean {
    return Boolean(this.#human.isTTY) && this.env['TERM'] !== 'dumb';
  }

  /** Columns of the terminal; 100 where there is none. */
  get columns(): number {
    return Math.max(40, this.#human.columns || 100);
  }

  style(style: Style, text: string): string {
    return this.colour ? `\x1b[${sgr[style]}m${text}\x1b[0m` : text;
  }

  /** Chooses a text by language. */
  t(texts: { en: string; zh: string }): string {
    return texts[this.lang];
  }

  /** A line for a person; `--quiet` leaves it out. */
  say(text = ''): void {
    if (!this.quiet) this.answer(text);
  }

  /** A line that was asked for: shown with `--quiet` too. */
  answer(text = ''): void {
    this.#withoutLive(() => this.#write(this.#human, `${text}\n`));
  }

  /** A piece of a line that was asked for, as it arrives. */
  stream(text: string): void {
    this.#withoutLive(() => this.#write(this.#human, text));
  }

  /** A line for a program: one JSON object on stdout, with `--json` only. */
  event(object: Record<string, unknown>): void {
    if (this.json) this.#withoutLive(() => this.#write(this.#stdout, `${jsonLine({ schema: SCHEMA, ...object })}\n`));
  }

  /** Draws over the line at the bottom of a terminal; nothing elsewhere. An empty text takes it away. */
  live(text: string): void {
    if (!this.isTerminal || this.quiet || this.closed) return;
    const line = clip(text, (this.#human.columns || 100) - 1); // a line that wraps cannot be drawn over
    this.#write(this.#human, line === '' && this.#live === '' ? '' : `\r\x1b[K${line}`);
    this.#live = line;
  }

  /** A message by its code, on stderr; an event with `--json`. */
  message<C extends Code>(code: C, values: Values[C]): void {
    const entry = messages[code];
    this.#withoutLive(() => this.#write(this.#stderr, `${this.layout(code, entry[this.lang](values))}\n`));
    if (entry.exit === undefined) this.event({ type: 'warning', code, message: plainText(entry.en(values)), values });
  }

  /** An error at the end of the program, on stderr and as the last JSON line. Returns the exit code. */
  failure(error: unknown): number {
    const { code, label, values, exit, text } = explain(error, this.lang);
    this.live('');
    this.#write(this.#stderr, `${this.layout(label, text)}\n`);
    if (this.debug && error instanceof Error) {
      this.#write(this.#stderr, `${printable(error.stack ?? '')}\n`);
      if (error.cause instanceof Error) this.#write(this.#stderr, `cause: ${printable(error.cause.stack ?? '')}\n`);
    }
    this.event({ type: 'error', ok: false, code: label, exit, message: plainText(textOf(code, values, 'en', error)), values });
    return exit;
  }

  /** `E101 what   where` and the lines below it, indented. */
  layout(code: string, { what, where, more }: Text): string {
    const warning = code.startsWith('W');
    const head = `${this.style(warning ? 'yellow' : 'red', code)} ${this.#marked(what)}`;
    const first = where === undefined ? head : `${padEnd(head, 58)}  ${this.style('dim', printable(where))}`;
    return [first, ...more.map((line) => `     ${this.#marked(line)}`)].join('\n');
  }

  #marked(text: string): string {
    return text
      .split(/(\x01[^\x02]*\x02|\x03[^\x02]*\x02)/)
      .map((piece) => (/^[\x01\x03]/.test(piece) ? this.style('bold', printable(piece.slice(1, -1))) : printable(piece)))
      .join('');
  }

  #withoutLive(write: () => void): void {
    const live = this.#live;
    if (live !== '') this.#write(this.#human, '\r\x1b[K');
    write();
    if (live !== '') this.#write(this.#human, live);
  }

  #write(sink: Sink, text: string): void {
    if (!this.closed && text !== '') sink.write(text);
  }
}

/** A message as one line of plain text. */
export function plainText({ what, where, more }: Text): string {
  const strip = (s: string) => printable(s.replace(/[\x01\x02\x03]/g, ''));
  return [where === undefined ? what : `${what} (${where})`, ...more].map(strip).join('. ');
}

/** JSON that keeps what JSON cannot say: NaN and infinities as words; maps and typed arrays as plain values. */
export function jsonLine(object: unknown): string {
  return JSON.stringify(object, (_, value) => {
    if (typeof value === 'number' && !Number.isFinite(value))
      return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
    if (typeof value === 'bigint') return value.toString();
    if (value instanceof Map) return Object.fromEntries(value);
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return Array.from(value as Float32Array);
    return value;
  });
}

interface Explained {
  /** Entry of the table. */
  code: Code;
  /** Code as it is shown: the entry's, or the word of a refused file. */
  label: string;
  values: Record<string, unknown>;
  exit: number;
  text: Text;
}

/** Any error as an entry of the table: coded ones as they are, refused files, the system's, and faults of our own as E190. */
export function explain(error: unknown, lang: Lang): Explained {
  const entry = (
    code: Code,
    values: Record<string, unknown>,
    label: string = code,
    exit = messages[code].exit ?? 1,
  ): Explained => ({
    code,
    label,
    values,
    exit,
    text: textOf(code, values, lang, error),
  });
  if (error instanceof CheckpointError) {
    const { file, detail, hint, code, exitCode } = error;
    // No file was refused: one could not be written.
    if (code === 'SAVE_FAILED') return entry('E181', { path: file, reason: systemCode(detail) ?? detail });
    return entry('E184', { file, code, detail, hint, exit: exitCode }, code, exitCode);
  }
  if (error instanceof QkvError) {
    if (isCode(error.code)) return entry(error.code, error.values);
    // A refused file of data/: its code is a word, as those of io/ are.
    if (/^[A-Z_]+$/.test(error.code) && 'detail' in error.values && 'file' in error.values)
      return entry('E184', { ...error.values, code: error.code, exit: 65 }, error.code, 65);
    if (error.code === 'TOKENIZER') return entry('E185', { ...error.values, detail: error.message });
    return entry('E190', { ...error.values, detail: `${error.code} ${error.message}` }, error.code);
  }
  const system = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    ENOSPC: 'full',
    EDQUOT: 'full',
    EROFS: 'read-only',
    EACCES: 'permission',
    EPERM: 'permission',
  };
  if (system?.code && reasons[system.code]) {
    const writes =
      /write|mkdir|rename|open|copyfile|unlink|fsync|ftruncate|^rm/.test(system.syscall ?? '') && system.syscall !== 'scandir';
    return entry(writes ? 'E181' : 'E183', { path: system.path ?? '', reason: reasons[system.code] });
  }
  if (system?.code === 'ENOENT' && system.path) return entry('E182', { path: system.path });
  return entry('E190', { detail: error instanceof Error ? error.message : String(error) });
}

/** A message whose values lack something (thrown elsewhere than the table thinks) still says what its thrower said. */
function textOf(code: Code, values: Record<string, unknown>, lang: Lang, error: unknown): Text {
  try {
    return messages[code][lang](values as never);
  } catch {
    return { what: error instanceof Error ? error.message : String(error), more: [] };
  }
}

/** A table of text columns, aligned by display width. Numbers stand right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = head.map((h, c) => Math.max(displayWidth(h), ...rows.map((r) => displayWidth(r[c] ?? ''))));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, c) => (right.includes(c) ? ' '.repeat(widths[c] - displayWidth(cell)) + cell : padEnd(cell, widths[c])))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)].join('\n');
}
