/**
 * Rows of Parquet and Arrow files. A process of its own decodes them: their layouts let a few hostile bytes ask for any amount of memory or time. A process can be
 * stopped, and its heap may overflow; a thread whose one allocation goes past its heap takes everything down with it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { bomb, changed, damagedTable } from './errors.ts';
import { processFile } from './thread-file.ts';

export type TableKind = 'parquet' | 'arrow';

/** What the process is asked. */
export type TableQuestion =
  | { open: { path: string; kind: TableKind; columns?: readonly string[] } }
  | { next: true }
  | { close: true };

/** What it answers: one answer for each question. */
export type TableAnswer =
  | { columns: string[]; rows: number }
  | { rows: Record<string, unknown>[]; share: number }
  | { end: true }
  /** Unasked, before a file is opened: what decodes it is loaded. */
  | { ready: true }
  | { failed: string; bomb?: number };

/** Heap that decoding may take; a stretch of 32 MiB of text takes about 150 MB. */
const HEAP_MIB = 512;
/**
 * Time that decoding a whole file may take, ms: an honest one takes a tenth of it. It is what a few bytes cannot ask for more of, however they are spread over
 * row groups.
 */
const timeFor = (fileBytes: number): number => 5000 + (2000 * fileBytes) / 2 ** 20;
/** Time without an answer after which any file counts as hostile: a batch takes a second. */
const SILENCE_MS = 120_000;
/** Starting the process takes this long at most. */
const START_MS = 60_000;

export interface TableOptions {
  /** Read only these columns. One that is not there is left out. */
  columns?: readonly string[];
  /** For the whole file; by its size otherwise. */
  timeMs?: number;
  heapMib?: number;
}

export interface TableBatch {
  /** The columns of the file, also those that are not read. */
  columns: readonly string[];
  rows: Record<string, unknown>[];
  /** Share of the file that has been read, 0 … 1. */
  share: number;
}

/** Decoders that wait for a file; they keep nothing alive. */
const idle: Decoder[] = [];

/**
 * Batches of rows, in order; at least one, which may be empty. A text whose bytes are not UTF-8 comes as a Uint8Array; other binary values as base64, dates
 * as ISO 8601, integers beyond 2⁵³ as text. CORRUPT when the file is damaged or takes too much memory or time, BOMB when it expands without end.
 */
export async function* tableBatches(
  path: string,
  kind: TableKind,
  { columns: only, timeMs: given, heapMib = HEAP_MIB }: TableOptions = {},
): AsyncGenerator<TableBatch> {
  let timeLeft =
    given ??
    timeFor(
      await stat(path).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  const at = idle.findIndex((d) => d.heapMib === heapMib);
  const decoder = at >= 0 ? idle.splice(at, 1)[0] : new Decoder(heapMib);
  let open = true;
  const ask = async (question: TableQuestion): Promise<TableAnswer> => {
    const { answer, took } = await decoder.ask(question, Math.min(SILENCE_MS, timeLeft));
    timeLeft -= took;
    if ('failed' in answer) {
      open = false;
      if (answer.bomb !== undefined) throw bomb(path, answer.bomb, 200);
      if (answer.failed === CHANGED) throw changed(path);
      throw damagedTable(path, kind === 'parquet' ? 'Parquet' : 'Arrow', answer.failed);
    }
    return answer;
  };
  try {
    const opened = (await ask({ open: { path, kind, columns: only } })) as Extract<TableAnswer, { columns: string[] }>;
    yield { columns: opened.columns, rows: [], share: 0 };
    for (;;) {
      const answer = await ask({ next: true });
      if ('end' in answer) break;
      yield { columns: opened.columns, ...(answer as Extract<TableAnswer, { share: number }>) };
    }
    open = false;
  } finally {
    if (open) await decoder.ask({ close: true }, SILENCE_MS); // left in the middle
    if (decoder.dead) decoder.stop();
    else {
      decoder.rest();
      idle.push(decoder);
    }
  }
}

const DEAD = 'decoding it takes more memory than any text needs';
const SLOW = 'decoding it does not come to an end';
export const CHANGED = 'changed';

class Decoder {
  readonly #process: ChildProcess;
  #answered: ((answer: TableAnswer) => void) | undefined;
  #ready = false;
  dead = false;

  constructor(readonly heapMib: number) {
    const { file, execArgv } = processFile('table-worker');
    this.#process = fork(file, {
      execArgv: [...execArgv, `--max-old-space-size=${heapMib}`],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#process.on('message', (answer: TableAnswer) => {
      if ('ready' in answer) this.#ready = true;
      else this.#answered?.(answer);
    });
    this.#process.on('error', (error) => this.#die(error.message));
    this.#process.on('exit', () => this.#die(DEAD));
  }

  /** The answer, and the milliseconds that it took. */
  async ask(question: TableQuestion, silenceMs: number): Promise<{ answer: TableAnswer; took: number }> {
    if (this.dead) return { answer: { failed: DEAD }, took: 0 };
    let silent = 0;
    if ('open' in question) this.#ready = false;
    this.#process.ref();
    this.#process.channel?.ref();
    let timer: NodeJS.Timeout | undefined;
    try {
      const answer = await new Promise<TableAnswer>((resolve) => {
        this.#answered = resolve;
        // Counted in ticks, and once the process is there: neither its start nor time in which this process was stopped is the file's.
        const tickMs = Math.min(100, silenceMs);
        let started = 0;
        timer = setInterval(() => {
          if (this.#ready) silent += tickMs;
          else started += tickMs;
          if (silent < silenceMs && started < START_MS) return;
          this.dead = true;
          resolve({ failed: SLOW });
        }, tickMs);
        this.#process.send(question, (error) => error && this.#die(error.message));
      });
      return { answer, took: silent };
    } finally {
      clearInterval(timer);
      this.#answered = undefined;
    }
  }

  /** Keeps nobody waiting for it. */
  rest(): void {
    this.#process.unref();
    this.#process.channel?.unref();
  }

  stop(): void {
    this.dead = true;
    this.#process.kill('SIGKILL');
  }

  #die(reason: string): void {
    this.dead = true;
    this.#answered?.({ failed: reason });
    const at = idle.indexOf(this);
    if (at >= 0) idle.splice(at, 1);
  }
}
