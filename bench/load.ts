/** Loading: 500 MB of safetensors from a cold disk into a model, beside reading the file once; and how much memory it takes. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publishedConfig, storedAs, writeSafetensors } from 'qkv/io';
import { buildDecoder } from 'qkv/models';
import { dispose, stateDict } from 'qkv/nn';
import { best, median, parseArguments, printer } from './harness.ts';

const configs = {
  // GPT-2 keeps its matrices transposed: each is turned while it is read.
  gpt2: { model: 'gpt2', vocabSize: 50_257, nLayer: 12, nHead: 12, nKvHead: 12, dModel: 768, dFF: 3072, dtype: 'F32' },
  llama: { model: 'llama', vocabSize: 32_768, nLayer: 14, nHead: 12, nKvHead: 12, dModel: 768, dFF: 2048, dtype: 'F32' },
  // Half the bytes on the disk for the same numbers: widened while it is read.
  'llama-bf16': { model: 'llama', vocabSize: 32_768, nLayer: 32, nHead: 12, nKvHead: 12, dModel: 768, dFF: 2048, dtype: 'BF16' },
} as const;
type Name = keyof typeof configs;

const folderOf = (name: Name) => join(process.env['QKV_BENCH_DATA'] ?? tmpdir(), 'qkv-bench-load', name);
const fileOf = (name: Name) => join(folderOf(name), 'model.safetensors');

/** A folder as `save_pretrained` writes it, with weights that are no model's. */
function make(name: Name): void {
  const folder = folderOf(name);
  if (existsSync(fileOf(name))) return;
  mkdirSync(folder, { recursive: true });
  const { model, dtype, ...rest } = configs[name];
  const shape = { ...rest, contextLength: 1024, ropeBase: 10_000, normEps: 1e-5, tied: true, qkNorm: false, dropout: 0 };
  const decoder = buildDecoder({ ...shape, model, seed: 1 }, shape.vocabSize);
  const width = dtype === 'F32' ? 4 : 2;
  const tensors = [...stateDict(decoder)].map(([ours, t]) => {
    const { name: theirs, transposed } = storedAs(model, ours);
    const stored = transposed ? [t.shape[1], t.shape[0]] : [...t.shape];
    return { name: theirs, dtype, shape: stored, bytes: () => new Uint8Array(t.size * width).fill(0x3c) };
  });
  writeSafetensors(fileOf(name), tensors, { format: 'pt' });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(publishedConfig(model, shape)));
  dispose(decoder);
}

/** Takes the file out of the system's cache, so that the next reader waits for the disk. */
function evict(file: string): void {
  const { status } = spawnSync('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'], { stdio: 'ignore' });
  if (status !== 0) throw new Error('bench load: dd (GNU coreutils) is needed to empty the cache of a file');
}

interface Measured {
  seconds: number;
  /** The most that the process ever held, and what it holds in the end, in bytes. */
  peak: number;
  resident: number;
  /** Before the work. */
  before: number;
}

function measure(what: 'read' | 'load', name: Name): Measured {
  evict(fileOf(name));
  const worker = fileURLToPath(new URL('./load-worker.js', import.meta.url));
  const { stdout, status: code } = spawnSync(process.execPath, [worker, what, folderOf(name)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (code !== 0) throw new Error(`bench load: ${what} ${name} ended with ${code}`);
  return JSON.parse(stdout);
}

const args = parseArguments(['--keep']);
const print = printer(args);
const MB = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
print('configuration   file      disk, read once   loading            ratio (≤ 1.2)   peak memory over the file (≤ 100 MB)');
for (const name of Object.keys(configs) as Name[]) {
  if (args.only.length > 0 && !args.only.includes(name)) continue;
  make(name);
  const [reads, loads]: [Measured[], Measured[]] = [[], []];
  for (let round = 0; round < (args.quick ? 1 : 7); round++) {
    reads.push(measure('read', name));
    loads.push(measure('load', name));
  }
  const bytes = statSync(fileOf(name)).size;
  const seconds = (list: Measured[]) => list.map((m) => m.seconds);
  const [disk, load] = [seconds(reads), seconds(loads)];
  const ratio = median(load.map((s, i) => s / disk[i]));
  const peak = median(loads.map((m) => m.peak));
  const row = {
    bench: 'load',
    name,
    bytes,
    disk: median(disk),
    load: median(load),
    ratio,
    peak,
    before: median(loads.map((m) => m.before)),
    bestDisk: best(disk),
    bestLoad: best(load),
  };
  if (args.json) console.log(JSON.stringify(row));
  else {
    const rate = (s: number) => `${s.toFixed(2)} s ${(bytes / s / 1e9).toFixed(2)} GB/s`;
    print(
      `${name.padEnd(14)}  ${MB(bytes)}    ${rate(row.disk)}  ${rate(row.load)}   ${ratio.toFixed(2)}            ${MB(peak - bytes)} (${MB(row.before)} before)`,
    );
  }
  if (!args.flags.has('--keep')) rmSync(folderOf(name), { recursive: true });
}
