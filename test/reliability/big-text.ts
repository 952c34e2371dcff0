/**
 * A text file larger than memory becomes shards in bounded memory, and a process that is killed at any time and run again leaves the same bytes.
 *
 *     npx tsx test/reliability/big-text.ts [--mb=5000] [--threads=2] [--kills=2] [--folder=/tmp/qkv-big-text] [--cli=dist/cli/main.js]
 *
 * Generates the text and a tokenizer, prepares once without a disturbance (peak resident size as the kernel counts it, VmHWM), then again with SIGKILL at
 * drawn writes, and compares every byte of the two folders. One JSON line; exit code 1 when something does not hold.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hash32 } from '../../src/data/order.ts';
import { tokenizerToJson, trainBpe } from '../../src/tokenizers/index.ts';

const MIB = 1 << 20;
/** Resident bytes that a job of any size may take. */
export const MOST_RESIDENT = 500e6;

const sourceCli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

export interface BigTextResult {
  bytes: number;
  tokens: number;
  seconds: number;
  megabytesPerSecond: number;
  peakResident: number;
  kills: number;
  identical: boolean;
}

/** `bytes` or a little more of text that no two lines of which are alike: invented words with the frequencies of Zipf, and Chinese of common characters. */
export function writeText(path: string, bytes: number, seed = 1): void {
  const syllables = ['ka', 'lo', 'mi', 'ter', 'an', 'su', 'ren', 'do', 'pel', 'ish', 'um', 'ga', 'ves', 'tri', 'on', 'el'];
  const word = (i: number) =>
    Array.from({ length: 1 + (hash32(seed, i, 1) % 4) }, (_, k) => syllables[hash32(seed, i, 2 + k) % 16]).join('');
  const words = Array.from({ length: 20_000 }, (_, i) => word(i));
  const rank = (r: number) => Math.floor(20_000 ** (r / 2 ** 32)) - 1; // P(rank) ∝ 1 / rank
  const fd = openSync(path, 'w');
  let written = 0;
  for (let block = 0; written < bytes; block++) {
    const lines: string[] = [];
    for (let size = 0, line = 0; size < MIB; line++) {
      const length = 5 + (hash32(seed, block, line) % 25);
      let text = `${block}-${line}`;
      for (let k = 0; k < length; k++) {
        const r = hash32(seed, block, line, k);
        text += r % 8 === 0 ? String.fromCharCode(0x4e00 + (rank(hash32(r)) % 3000)) : ` ${words[rank(r)]}`;
      }
      lines.push(text);
      size += text.length + 1;
    }
    written += writeSync(fd, `${lines.join('.\n')}.\n`);
  }
  closeSync(fd);
}

/** `qkv data pack`; killed in the middle of its `killAt`-th write. Its peak resident size and its number of writes, or undefined when it was killed. */
export function pack(
  path: string,
  outDir: string,
  { cli = sourceCli, killAt = 0, settings }: { cli?: string; killAt?: number; settings: string[] },
): Promise<{ peak: number; writes: number } | undefined> {
  const count = `${outDir}.writes`;
  const child = spawn(
    process.execPath,
    [
      '--import',
      new URL('./kill-at-write.mjs', import.meta.url).href,
      ...(cli.endsWith('.ts') ? ['--import', 'tsx'] : []),
      cli,
      'data',
      'pack',
      path,
      `out=${outDir}`,
      ...settings,
      '--quiet',
      '--yes',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, KILL_AT: String(killAt), KILL_COUNT: count } },
  );
  let peak = 0;
  // The kernel keeps the mark itself; what is missed is what it grew in the last 50 ms.
  const timer = setInterval(() => {
    const status = existsSync(`/proc/${child.pid}/status`) ? readFileSync(`/proc/${child.pid}/status`, 'utf8') : '';
    peak = Math.max(peak, 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0));
  }, 50);
  return new Promise((resolve, reject) => {
    child.on('exit', (code, signal) => {
      clearInterval(timer);
      if (signal === 'SIGKILL') resolve(undefined);
      else if (code === 0) resolve({ peak, writes: Number(readFileSync(count, 'utf8')) });
      else reject(new Error(`qkv data pack ended with ${code}`));
    });
  });
}

/** SHA-256 of every file in a folder, by name; the manifest too. */
function fingerprints(folder: string): [name: string, sha256: string][] {
  const buffer = Buffer.alloc(MIB);
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const hash = createHash('sha256');
      const fd = openSync(join(folder, name), 'r');
      for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) hash.update(buffer.subarray(0, n));
      closeSync(fd);
      return [name, hash.digest('hex')];
    });
}

export async function bigText(
  folder: string,
  { mb, threads, kills, cli = sourceCli }: { mb: number; threads: number; kills: number; cli?: string },
): Promise<BigTextResult> {
  mkdirSync(folder, { recursive: true });
  const text = join(folder, `text-${mb}.txt`);
  if (!existsSync(text)) writeText(text, mb * 1e6);
  if (!existsSync(`${text}.tokenizer.json`)) {
    const tokenizer = trainBpe([head(text, 4 * MIB)], { vocabSize: 8192, specialTokens: ['<|endoftext|>'] });
    writeFileSync(`${text}.tokenizer.json`, tokenizerToJson(tokenizer));
  }
  const [whole, killed] = ['whole', 'killed'].map((name) => join(folder, name));
  for (const f of [whole, killed]) rmSync(f, { recursive: true, force: true });

  const began = performance.now();
  const settings = (n: number) => [`tokenizer=${text}.tokenizer.json`, `threads=${n}`];
  const { peak: peakResident, writes } = (await pack(text, whole, { settings: settings(threads), cli }))!;
  const seconds = (performance.now() - began) / 1000;
  let done = 0;
  for (let k = 0; k < kills; k++) {
    // A run that goes on has fewer writes left than there are in all: each kill is drawn from half of them.
    const killAt = 1 + (hash32(k, mb) % Math.ceil(writes / 2));
    if ((await pack(text, killed, { settings: settings(threads), cli, killAt })) === undefined) done++;
  }
  if (kills > 0) await pack(text, killed, { settings: settings(1), cli }); // another number of threads, too
  const identical = kills === 0 || JSON.stringify(fingerprints(whole)) === JSON.stringify(fingerprints(killed));
  const { train, val } = JSON.parse(readFileSync(join(whole, 'manifest.json'), 'utf8')) as Record<
    'train' | 'val',
    { tokens: number }
  >;
  const bytes = statSync(text).size;
  return {
    bytes,
    tokens: train.tokens + val.tokens,
    seconds,
    megabytesPerSecond: bytes / 1e6 / seconds,
    peakResident,
    kills: done,
    identical,
  };
}

/** The first bytes of a file as text. */
function head(path: string, bytes: number): string {
  const buffer = Buffer.alloc(bytes);
  const fd = openSync(path, 'r');
  const n = readSync(fd, buffer);
  closeSync(fd);
  return buffer.toString('utf8', 0, n);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  const option = (name: string, otherwise: string) => args.find((a) => a.startsWith(`--${name}=`))?.split('=')[1] ?? otherwise;
  const result = await bigText(option('folder', '/tmp/qkv-big-text'), {
    mb: Number(option('mb', '5000')),
    threads: Number(option('threads', '2')),
    kills: Number(option('kills', '2')),
    cli: option('cli', sourceCli),
  });
  console.log(JSON.stringify(result));
  process.exitCode = result.identical && result.peakResident <= MOST_RESIDENT ? 0 : 1;
}
