/** A program of another library that measures when asked: a line of words in, a line of JSON out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Where install.sh puts other people's libraries: outside of the repository. */
export const benchHome = process.env.QKV_BENCH_HOME ?? join(homedir(), '.cache', 'qkv-bench');
/** A Python that can import torch. */
export const python = process.env.QKV_BENCH_PYTHON ?? join(benchHome, 'venv', 'bin', 'python');
/** The system's Python, for the PyTorch that Debian packages (python3-torch). */
export const debianPython = '/usr/bin/python3';
export const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/**
 * What makes the others as fast as they can be: threads pinned, no page given back to the system between two steps (an allocator that keeps
 * them, huge pages), and none of this machine's OpenBLAS overrides.
 */
export function tuned(threads: number): NodeJS.ProcessEnv {
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...env } = process.env;
  const jemalloc = [
    '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2',
    '/usr/lib/aarch64-linux-gnu/libjemalloc.so.2',
    '/usr/lib64/libjemalloc.so.2',
  ].find(existsSync);
  return {
    ...env,
    OMP_NUM_THREADS: String(threads),
    MKL_NUM_THREADS: String(threads),
    OMP_PROC_BIND: 'true',
    OMP_PLACES: 'cores',
    MALLOC_MMAP_MAX_: '0',
    MALLOC_TRIM_THRESHOLD_: String(2 ** 40),
    MALLOC_TOP_PAD_: String(64 << 20),
    ...(jemalloc && { LD_PRELOAD: jemalloc, MALLOC_CONF: 'thp:always,metadata_thp:auto,dirty_decay_ms:-1,muzzy_decay_ms:-1' }),
  };
}

export interface Answer {
  [key: string]: unknown;
}

/** Throws with the program's own last line when it cannot start. */
export class Program {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ) {
    this.#child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.on('error', (e) => (this.#errors += e.message));
    this.#child.stdin!.on('error', () => {}); // it has died: the next answer says so
    this.#child.stderr!.on('data', (d) => (this.#errors = (this.#errors + d).slice(-4000)));
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }
  /** The next line that is JSON; libraries like to print banners. */
  async answer(): Promise<Answer> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) {
        const why = this.#errors.trim().split('\n').at(-1);
        throw new Error(why || 'it ended without a word');
      }
      if (value.startsWith('{')) return JSON.parse(value) as Answer;
    }
  }
  ask(line: string): Promise<Answer> {
    this.#child.stdin!.write(`${line}\n`);
    return this.answer();
  }
  close(): void {
    this.#child.stdin!.end();
    this.#child.kill();
  }
}
