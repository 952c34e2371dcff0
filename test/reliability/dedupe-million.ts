/**
 * npx tsx test/reliability/dedupe-million.ts [DOCUMENTS]: a million short documents with planted copies and decoys through `dedupFiles`, as `qkv data dedup` does it.
 * Prints time, peak memory, precision and recall; ends with 1 when a limit of issue 6 is passed (10 minutes, 2 GB, 0.95).
 */
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { dedupFiles } from '../../src/data/index.ts';

const DOCUMENTS = Number(process.argv[2] ?? 1_000_000);
let state = 1;
const random = (n: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};
/** Some 40 words, Zipf-like; every third document is Chinese. */
function fresh(): string[] {
  const han = random(3) === 0;
  return Array.from({ length: 25 + random(35) }, () => {
    const rank = Math.floor(20_000 ** (random(1 << 20) / (1 << 20)));
    return han
      ? String.fromCodePoint(0x4e00 + ((rank * 7919) % 20_000))
      : ((rank * 2654435761) >>> 0).toString(36).slice(0, 2 + (rank % 6));
  });
}

const folder = mkdtempSync(join(tmpdir(), 'qkv-million-'));
try {
  const path = join(folder, 'rows.jsonl');
  const file = createWriteStream(path);
  const recent: { n: number; words: string[] }[] = [];
  const planted: Record<string, number> = {};
  for (let n = 0; n < DOCUMENTS; n++) {
    let words = fresh();
    let kind = 'new';
    if (recent.length > 100 && random(8) === 0) {
      const from = recent[random(recent.length)].words;
      const which = random(10);
      if (which < 3)
        [kind, words] = ['copy: other marks', from]; // J = 1
      else if (which < 6)
        [kind, words] = ['copy: last word', [...from.slice(0, -1), 'changed']]; // J = 0.90 … 0.96
      else if (which < 9)
        [kind, words] = ['decoy: half of it', [...from.slice(0, from.length >> 1), ...words.slice(words.length >> 1)]]; // J = 0.2 … 0.4
      else [kind, words] = ['border: a word inside', from.map((w, i) => (i === from.length >> 1 ? 'changed' : w))]; // J = 0.62 … 0.84: either is right
    } else if (recent.length < 5000) recent.push({ n, words });
    else recent[random(5000)] = { n, words };
    planted[kind] = (planted[kind] ?? 0) + 1;
    const text = words.join(words[0].charCodeAt(0) >= 0x4e00 ? '' : ' ') + '.!?'[random(3)];
    if (!file.write(`${JSON.stringify({ n, kind, text })}\n`)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');

  const out = join(folder, 'unique.jsonl');
  const began = performance.now();
  const report = await dedupFiles(path, { out });
  const seconds = (performance.now() - began) / 1000;
  const peak = Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024;

  const left: Record<string, number> = {};
  for await (const line of createInterface({ input: createReadStream(out) })) {
    const { kind } = JSON.parse(line) as { kind: string };
    left[kind] = (left[kind] ?? 0) + 1;
  }
  const dropped = (prefix: string) =>
    Object.keys(planted)
      .filter((k) => k.startsWith(prefix))
      .reduce((sum, k) => sum + planted[k] - (left[k] ?? 0), 0);
  const copies = Object.keys(planted)
    .filter((k) => k.startsWith('copy'))
    .reduce((sum, k) => sum + planted[k], 0);
  const precision = dropped('copy') / (dropped('copy') + dropped('decoy') + dropped('new'));
  const recall = dropped('copy') / copies;
  console.log(
    `${report.documents} documents, ${(report.bytes / 1e6).toFixed(0)} MB; kept ${report.kept} · exact ${report.exact} · near ${report.near}`,
  );
  for (const kind of Object.keys(planted))
    console.log(`  ${kind}: ${planted[kind]}, dropped ${planted[kind] - (left[kind] ?? 0)}`);
  console.log(
    `${seconds.toFixed(1)} s · peak ${(peak / 1e9).toFixed(2)} GB · precision ${precision.toFixed(4)} · recall ${recall.toFixed(4)}`,
  );
  process.exitCode = seconds <= 600 && peak <= 2e9 && precision >= 0.95 && recall >= 0.95 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}
