/**
 * Encoding and training beside the official package (`tokenizers`, Rust, through its npm binding), one thread each, in one run.
 *   npm run bench -- tokenizers [PATH…] [--only=gpt2,llama3,wordpiece,unigram,train] [--ours] [--quick] [--json]
 * PATH: files or folders of text, in several languages (the more real the text, the more the figures mean); without one, the texts of node_modules, and words
 * mixed from them with made-up Chinese as far as they do not reach. Goals: encode ≥ 1 × the official speed; a 30k vocabulary from 100 MB in ≤ 2 × its time and ≤ 2 GB.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { splitPatterns, tokenizerFromJson, tokenizerToJson, trainBpe, trainUnigram, trainWordPiece } from 'qkv/tokenizers';
import { best, megabytes, median, parseArguments, printer, table, times } from './harness.ts';
import { documentsOf, mixedDocuments } from './text-corpus.ts';

process.env['TOKENIZERS_PARALLELISM'] = 'false';
const { Tokenizer: Official } = createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers');

const args = parseArguments();
const print = printer(args);
const wanted = (name: string): boolean => args.only.length === 0 || args.only.includes(name);
const row = (values: Record<string, unknown>): void => {
  if (args.json) console.log(JSON.stringify(values));
};
const encodeBytes = args.quick ? 1e6 : 10e6;
const trainBytes = args.quick ? 5e6 : 100e6;
const root = fileURLToPath(new URL('..', import.meta.url));

// ---- text: the first documents are encoded, the rest is trained on

const found = documentsOf(args.rest.length ? args.rest : [join(root, 'node_modules')]);
const more = mixedDocuments(found.slice(0, 4_000));
const take = (bytes: number): string[] => {
  const out: string[] = [];
  for (let n = 0; n < bytes; ) {
    const document = found.pop() ?? more.next().value!;
    n += Buffer.byteLength(document);
    out.push(document);
  }
  return out;
};
const texts = take(encodeBytes);
const bytes = texts.reduce((n, text) => n + Buffer.byteLength(text), 0);
const sample = take(args.quick ? 1e6 : 16e6);
print(
  `${cpus()[0]?.model.trim() ?? '?'} · one thread · Node ${process.version} · ${texts.length} documents, ${megabytes(bytes)}`,
);

// ---- encoding: each round both begin with a new tokenizer (empty caches) and see every document once

/** tokenizer.json of each kind, its vocabulary learned from other documents of the same text. */
const kinds: Record<string, () => string> = {
  gpt2: () => tokenizerToJson(trainBpe(sample, { vocabSize: 32_000 })),
  llama3: () => {
    const file = JSON.parse(tokenizerToJson(trainBpe(sample, { vocabSize: 32_000, pattern: 'llama3' })));
    file.model.ignore_merges = true;
    return JSON.stringify(file);
  },
  wordpiece: () => tokenizerToJson(trainWordPiece(sample, { vocabSize: 32_000, limitAlphabet: 6_000 })),
  unigram: () =>
    tokenizerToJson(trainUnigram(sample.slice(0, sample.length >> 3), { vocabSize: 16_000, characterCoverage: 0.999 })),
};
const rounds = args.quick ? 1 : 3;
const rows: string[][] = [];
for (const [name, make] of Object.entries(kinds)) {
  if (!wanted(name)) continue;
  const json = make();
  const [ours, theirs, withIds]: number[][] = [[], [], []];
  let [tokens, officialTokens] = [0, 0];
  const warm = tokenizerFromJson(json);
  for (const text of sample.slice(0, 500)) warm.encode(text);
  for (let round = 0; round < rounds; round++) {
    const tokenizer = tokenizerFromJson(json);
    let start = performance.now();
    tokens = 0;
    for (const text of texts) tokens += tokenizer.encode(text, { special: true }).length;
    ours.push((performance.now() - start) / 1000);
    if (args.ours) continue;
    const official = Official.fromString(json);
    let [inside, outside] = [0, 0];
    officialTokens = 0;
    for (let i = 0; i < texts.length; i += 256) {
      const batch = texts.slice(i, i + 256);
      start = performance.now();
      const encodings = await official.encodeBatch(batch, { addSpecialTokens: false });
      const middle = performance.now();
      for (const encoding of encodings) officialTokens += encoding.getIds().length;
      inside += (middle - start) / 1000;
      outside += (performance.now() - middle) / 1000;
    }
    theirs.push(inside);
    withIds.push(inside + outside);
  }
  const rate = (seconds: readonly number[]): number => bytes / 1e6 / median(seconds);
  const ratio = median(theirs) / median(ours);
  rows.push([
    name,
    `${rate(ours).toFixed(1)} (${(bytes / 1e6 / best(ours)).toFixed(1)}) MB/s`,
    args.ours ? '' : `${rate(theirs).toFixed(1)} MB/s`,
    args.ours ? '' : `${rate(withIds).toFixed(1)} MB/s`,
    args.ours ? '' : times(ratio),
    args.ours || tokens === officialTokens ? String(tokens) : `${tokens}, official ${officialTokens}`,
  ]);
  row({
    bench: 'tokenizers',
    what: 'encode',
    name,
    bytes,
    tokens,
    oursSeconds: median(ours),
    ...(args.ours ? {} : { theirsSeconds: median(theirs), theirsWithIdsSeconds: median(withIds), ratio, officialTokens }),
  });
}
if (rows.length)
  print(table(['encode', 'ours, median (best)', 'official', 'official with getIds()', 'ours is faster by', 'tokens'], rows));

// ---- training: each in a process of its own

if (wanted('train')) {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-bench-'));
  try {
    const path = join(folder, 'train.txt');
    for (let n = 0; n < trainBytes; ) {
      const part = take(Math.min(4e6, trainBytes - n)).join('');
      appendFileSync(path, part);
      n += Buffer.byteLength(part);
    }
    const worker = fileURLToPath(new URL('./tokenizers-worker.ts', import.meta.url));
    const run = (who: string): { seconds: number; cpuSeconds: number; peakBytes: number } => {
      const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, worker, who, path], {
        encoding: 'utf8',
        maxBuffer: 1 << 26,
        cwd: root,
      });
      if (status !== 0) throw new Error(`training (${who}) ended with ${status}: ${stderr.slice(-2000)}`);
      return JSON.parse(stdout.trim().split('\n').at(-1)!);
    };
    const ours = run('ours');
    const theirs = args.ours ? undefined : run('theirs');
    const cells = (name: string, r: typeof ours): string[] => [
      name,
      `${r.seconds.toFixed(1)} s`,
      `${r.cpuSeconds.toFixed(1)} s`,
      megabytes(r.peakBytes),
    ];
    print(
      `\n${table(['train 30k on', 'time', 'processor time', 'peak memory'], [cells(`${megabytes(trainBytes)}, ours`, ours), ...(theirs ? [cells('official', theirs)] : [])])}`,
    );
    if (theirs)
      print(
        `ours takes ${times(ours.seconds / theirs.seconds)} its time (goal ≤ 2), processor time ${times(ours.cpuSeconds / theirs.cpuSeconds)}`,
      );
    row({ bench: 'tokenizers', what: 'train', bytes: trainBytes, vocabSize: 30_000, ours, theirs, pattern: splitPatterns.gpt2 });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
