/**
 * Damaged and hostile Parquet, Arrow and Zstandard files: every one ends in an error with a code, or is read; never in a crash, a hang or an error of some library.
 *
 *     npx tsx test/reliability/fuzz-tables.ts [--cases=20000] [--seed=1] [--seconds=300]
 *
 * `cases` are of each kind (parquet, arrow, zst), its files by turns. The time limit is the one that users have; counts so far are said on stderr twice a minute.
 */
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { tableFromJSON, tableToIPC } from 'apache-arrow';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { hash32 } from '../../src/data/order.ts';
import { Rejects } from '../../src/data/rejects.ts';
import { documentsOf, type SourceKind } from '../../src/data/sources.ts';
import { type TableKind, tableBatches } from '../../src/data/table.ts';
import { QkvError } from '../../src/errors.ts';
import { zstdOf } from './zstd-writer.ts';

export interface FuzzCounts {
  read: number;
  refused: number;
  /** Errors without a code, with the case that brings them back. */
  untyped: string[];
  slowestMs: number;
  slowest: string;
  /** Linux: of the process that decodes, once it has started, for one file: processor time, and what its resident size grew by at most (garbage of files before it included). */
  cpuMs: number;
  cpuOf: string;
  grownMib: number;
  grownOf: string;
}

/** The process that decodes, as the kernel counts it. Its peak is counted anew from here. */
function decoder(): { cpuMs: number; rssKib: number; peakKib: number; pid: number } | undefined {
  try {
    const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8').trim().split(' ');
    const pid = children.filter((c) => readFileSync(`/proc/${c}/cmdline`, 'utf8').includes('table-worker')).at(-1);
    if (pid === undefined) return undefined;
    const times = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kib = (name: string) => Number(status.match(new RegExp(`${name}:\\s+(\\d+)`))![1]);
    const found = {
      cpuMs: 10 * (Number(times[11]) + Number(times[12])),
      rssKib: kib('VmRSS'),
      peakKib: kib('VmHWM'),
      pid: Number(pid),
    };
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
    return found;
  } catch {
    return undefined;
  }
}

/** Small, so that a campaign ends: what is refused for its memory takes all of it. */
const LIMITS = { heapMib: 96 };

/** Good files of each kind, small, with most of what the formats have: of our own making, and as pyarrow writes them. */
function originals(): { kind: SourceKind; bytes: Buffer }[] {
  const text = Array.from({ length: 60 }, (_, i) => (i % 7 === 3 ? null : `row ${i} ${'春眠不觉晓'.repeat(i % 4)}`));
  const rows = text.map((t, id) => ({ id, text: t, list: [id, id + 1], part: { a: id, b: String(id) } }));
  const parquet = (codec: 'SNAPPY' | 'UNCOMPRESSED') =>
    parquetWriteBuffer({
      codec,
      rowGroupSize: 25,
      columnData: [
        { name: 'text', data: text, type: 'STRING', nullable: true },
        { name: 'id', data: text.map((_, i) => i), type: 'INT32' },
        { name: 'same', data: text.map(() => 'the same'), type: 'STRING' },
      ],
    });
  const table = tableFromJSON(rows);
  const { files: pyarrow } = JSON.parse(
    gunzipSync(readFileSync(new URL('../parity/tables/tables.golden.json.gz', import.meta.url))).toString(),
  ) as { files: Record<string, string> };
  return [
    { kind: 'parquet', bytes: Buffer.from(parquet('SNAPPY')) },
    { kind: 'parquet', bytes: Buffer.from(parquet('UNCOMPRESSED')) },
    { kind: 'arrow', bytes: Buffer.from(tableToIPC(table, 'file')) },
    { kind: 'arrow', bytes: Buffer.from(tableToIPC(table, 'stream')) },
    { kind: 'text', bytes: zstdOf(Buffer.from(rows.map((r) => JSON.stringify(r)).join('\n'))) },
    ...Object.entries(pyarrow).map(([name, bytes]) => ({
      kind: name.split('.')[1] as SourceKind,
      bytes: Buffer.from(bytes, 'base64'),
    })),
  ];
}

/** One damage: bytes changed, a number made extreme, a stretch removed, doubled or cut off. */
function damaged(bytes: Buffer, seed: number, n: number): Buffer {
  const out = Buffer.from(bytes);
  const pick = (k: number, below: number) => hash32(seed, n, k) % below;
  // The ends of a file are where its structure is.
  const place = (k: number) =>
    pick(k, 2) === 0
      ? pick(k + 1, out.length)
      : pick(k + 2, 2) === 0
        ? pick(k + 3, Math.min(200, out.length))
        : out.length - 1 - pick(k + 3, Math.min(600, out.length));
  for (let k = 0; k <= pick(1, 4); k++) {
    const at = place(10 * k + 2);
    const extreme = [0xff, 0x7f, 0x80, 0x00, 0x01];
    switch (pick(10 * k + 7, 5)) {
      case 0:
        out[at] = pick(10 * k + 8, 256);
        break;
      case 1:
        out[at] ^= 1 << pick(10 * k + 8, 8);
        break;
      case 2:
        out.fill(extreme[pick(10 * k + 8, 5)], at, Math.min(out.length, at + 4));
        break;
      case 3:
        if (at + 8 < out.length) out.writeUInt32LE(hash32(seed, n, k, 9), at);
        break;
      default:
        out.copyWithin(at, place(10 * k + 9));
    }
  }
  return pick(5, 6) === 0 ? out.subarray(0, pick(6, out.length)) : out;
}

export async function fuzzTables(
  path: string,
  { seed, cases, seconds = Infinity }: { seed: number; cases: number; seconds?: number },
): Promise<FuzzCounts> {
  const start = performance.now();
  let saidAt = start;
  const counts: FuzzCounts = {
    read: 0,
    refused: 0,
    untyped: [],
    slowestMs: 0,
    slowest: '',
    cpuMs: 0,
    cpuOf: '',
    grownMib: 0,
    grownOf: '',
  };
  const all = originals();
  const kinds = [...new Set(all.map((o) => o.kind))].map((kind) => all.filter((o) => o.kind === kind));
  // The programs that decode are loaded by the first files.
  for (const { kind, bytes } of all.filter((o) => o.kind !== 'text')) {
    writeFileSync(path, bytes);
    for await (const _ of tableBatches(path, kind as TableKind, LIMITS)) void _;
  }
  for (let n = 0; n < cases * kinds.length && performance.now() - start < 1000 * seconds; n++) {
    if (performance.now() - saidAt > 30_000) {
      saidAt = performance.now();
      console.error(`${n} cases:`, JSON.stringify(counts));
    }
    const files = kinds[n % kinds.length];
    const { kind, bytes } = files[Math.floor(n / kinds.length) % files.length];
    const input = damaged(bytes, seed, n);
    writeFileSync(path, input);
    const { mtimeMs } = statSync(path);
    const before = kind === 'text' ? undefined : decoder();
    const began = performance.now();
    let said = '';
    try {
      if (kind === 'text')
        for await (const _ of documentsOf({ path, name: 'x', kind, size: input.length, mtimeMs }, { rejects: new Rejects(1) }))
          void _;
      else for await (const _ of tableBatches(path, kind as TableKind, LIMITS)) void _;
      counts.read++;
      said = 'read';
    } catch (error) {
      said = (error as Error).message.slice(0, 200);
      if (error instanceof QkvError) counts.refused++;
      else counts.untyped.push(`seed ${seed} case ${n} ${kind}: ${(error as Error).stack?.split('\n').slice(0, 3).join(' | ')}`);
    }
    const ms = performance.now() - began;
    if (ms > counts.slowestMs) {
      counts.slowestMs = ms;
      counts.slowest = `seed ${seed} case ${n} ${kind}: ${said}`;
    }
    const after = before && decoder();
    if (before && after?.pid === before.pid) {
      const cpuMs = after.cpuMs - before.cpuMs;
      const grownMib = Math.round((after.peakKib - before.rssKib) / 1024);
      if (cpuMs > counts.cpuMs) Object.assign(counts, { cpuMs, cpuOf: `case ${n} ${kind}: ${said}` });
      if (grownMib > counts.grownMib) Object.assign(counts, { grownMib, grownOf: `case ${n} ${kind}: ${said}` });
      if (process.env['QKV_FUZZ_LOG'] && (cpuMs > 100 || grownMib > 50))
        console.error(cpuMs, 'ms', grownMib, 'MiB', n, kind, said);
    } else if (before) console.error('decoder replaced', n, kind, said);
    if (process.env['QKV_FUZZ_LOG'] && ms > 1000) console.error(Math.round(ms), n, kind, said);
  }
  return counts;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name: string, otherwise: number) =>
    Number(process.argv.find((a) => a.startsWith(`--${name}=`))?.split('=')[1] ?? otherwise);
  const path = join(tmpdir(), `qkv-fuzz-tables-${process.pid}.bin`);
  const counts = await fuzzTables(path, {
    seed: option('seed', 1),
    cases: option('cases', 20_000),
    seconds: option('seconds', Infinity),
  });
  rmSync(path, { force: true });
  console.log(JSON.stringify(counts, null, 1));
  process.exitCode = counts.untyped.length === 0 ? 0 : 1;
}
