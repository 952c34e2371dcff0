/**
 * Ids of `.tiktoken` files that we wrote and read, beside tiktoken's, on many generated lines:
 *   QKV_PYTHON=python npx tsx test/parity/tokenizers/compare-tiktoken.ts [lines=10000] [--golden]
 * --golden: the ids of a few lines into tiktoken.golden.json, for the test. The Python needs `tiktoken`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tiktokenFile, tokenizerFromTiktoken, trainBpe } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';

const golden = process.argv.includes('--golden');
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'qkv-tiktoken-'));
const lines = mixedLines(Number(process.argv[2] ?? 0) || (golden ? 150 : 10_000), golden ? 21 : 22);
try {
  writeFileSync(join(folder, 'lines.json'), JSON.stringify(lines));
  const files = (['gpt2', 'llama3', 'gpt4o'] as const).map((pattern) => {
    const { text } = tiktokenFile(trainBpe(mixedLines(2_000, 23), { vocabSize: 1_500, pattern }));
    writeFileSync(join(folder, `${pattern}.tiktoken`), text);
    return { pattern, text };
  });
  const { status, stderr } = spawnSync(process.env['QKV_PYTHON'] ?? 'python3', [here('make_tiktoken.py'), folder], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr.slice(-2000));
  const result: Record<string, number> = {};
  const kept: Record<string, number[][]> = {};
  for (const { pattern, text } of files) {
    const expected = JSON.parse(readFileSync(join(folder, `${pattern}.json`), 'utf8')) as number[][];
    const tokenizer = tokenizerFromTiktoken(text, { pattern });
    result[pattern] = 0;
    lines.forEach((line, i) => {
      const ids = Array.from(tokenizer.encode(line));
      if (ids.join() !== expected[i].join() && result[pattern]++ < 2)
        console.log(`${pattern}: ${JSON.stringify(line)}\n  ${ids.join(' ')}\n  ${expected[i].join(' ')}`);
    });
    kept[pattern] = expected;
  }
  if (golden) writeFileSync(here('tiktoken.golden.json'), `${JSON.stringify(kept)}\n`);
  console.log(JSON.stringify({ lines: lines.length, differ: result }));
  if (Object.values(result).some((n) => n > 0)) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
