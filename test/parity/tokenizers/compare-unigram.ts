/**
 * A Unigram vocabulary of ours beside spm_train's: same text, size, character coverage and cuts at blanks; no normalization.
 *   QKV_PYTHON=python npx tsx test/parity/tokenizers/compare-unigram.ts TEXT [vocabSize=4000] [characters=2000000]
 * The last tenth of the lines is held out. Log-likelihood: nats a character of the best cut (Viterbi), and of all cuts (forward sum), each model with its own
 * probabilities; words with a character that either model lacks are left out for both. The Python needs `sentencepiece`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { trainUnigram } from '../../../src/tokenizers/index.ts';
import { tokenizerFromSentencePiece } from '../../../src/tokenizers/sentencepiece.ts';
import type { Unigram } from '../../../src/tokenizers/unigram.ts';

const [path, size = '4000', most = '2000000'] = process.argv.slice(2);
if (!path) throw new Error('give a text file');
const vocabSize = Number(size);
const characterCoverage = 0.9995;
const lines = readFileSync(path, 'utf8')
  .slice(0, Number(most))
  .replace(/\p{Cs}/gu, '')
  .split('\n')
  .map((line) => line.replace(/[^\S ]|[\u0085\0▁]/gu, ' ').trim())
  .filter((line) => line !== '');
// Every tenth line is held out, so that both parts are of all the text's kinds.
const train = lines.filter((_, i) => i % 10 !== 9);
const heldOut = lines.filter((_, i) => i % 10 === 9);

const folder = mkdtempSync(join(tmpdir(), 'qkv-unigram-'));
try {
  writeFileSync(join(folder, 'corpus.txt'), train.join('\n'));
  const python = spawnSync(
    process.env['QKV_PYTHON'] ?? 'python3',
    [
      fileURLToPath(new URL('./train_sentencepiece.py', import.meta.url)),
      join(folder, 'corpus.txt'),
      size,
      String(characterCoverage),
      join(folder, 'spm'),
    ],
    { encoding: 'utf8' },
  );
  if (python.status !== 0) throw new Error(python.stderr.slice(-2000));
  const models: [string, Unigram, number][] = [
    [
      'spm_train',
      tokenizerFromSentencePiece(readFileSync(join(folder, 'spm.model'))).parts.model as Unigram,
      Number(python.stdout),
    ],
  ];
  for (const [name, like] of Object.entries({
    'ours as SentencePiece': { asSentencePiece: true },
    ours: {},
  } as const)) {
    const start = performance.now();
    const tokenizer = trainUnigram(train, { vocabSize, characterCoverage, normalizer: null, ...like });
    models.push([name, tokenizer.parts.model as Unigram, (performance.now() - start) / 1000]);
  }
  const words = heldOut.flatMap((line) =>
    line
      .split(' ')
      .filter((word) => word !== '')
      .map((word) => `▁${word}`),
  );
  const known = words.filter((word) =>
    models.every(([, model]) => Array.from(word).every((char) => model.tokenToId(char) !== undefined)),
  );
  const characters = known.reduce((n, word) => n + Array.from(word).length, 0);
  const counts = new Map<string, number>();
  for (const word of known) counts.set(word, (counts.get(word) ?? 0) + 1);
  console.log(`${train.length} lines to train on, ${known.length} of ${words.length} held-out words, ${characters} characters`);
  const results = models.map(([name, model, seconds]) => {
    const logProb = new Map(model.options.pieces.filter(([, lp]) => lp !== 0).map(([piece, lp]) => [piece, lp]));
    const mass = [...logProb.values()].reduce((sum, lp) => sum + Math.exp(lp), 0);
    let [best, all, tokens] = [0, 0, 0];
    for (const [word, count] of counts) {
      const score = cut(word, logProb);
      best += count * score.best;
      all += count * score.all;
      tokens += count * score.tokens;
    }
    return {
      name,
      seconds,
      pieces: logProb.size,
      mass,
      bestCut: best / characters,
      allCuts: all / characters,
      charactersPerToken: characters / tokens,
    };
  });
  for (const r of results) {
    const than = (a: number, b: number) => `${(100 * (b / a - 1)).toFixed(2)} %`;
    console.log(
      `${r.name.padEnd(26)} ${r.seconds.toFixed(1)} s  ${r.pieces} pieces, Σp ${r.mass.toFixed(4)}  best cut ${r.bestCut.toFixed(4)} (${than(r.bestCut, results[0].bestCut)})  all cuts ${r.allCuts.toFixed(4)} (${than(r.allCuts, results[0].allCuts)})  ${r.charactersPerToken.toFixed(3)} characters a token`,
    );
  }
  console.log(JSON.stringify({ text: path.split('/').at(-1), vocabSize, characters, results }));
} finally {
  rmSync(folder, { recursive: true });
}

/** Of all ways to cut a word: log p of the best, and of their sum. */
function cut(word: string, logProb: ReadonlyMap<string, number>): { best: number; all: number; tokens: number } {
  const chars = Array.from(word);
  const best = new Array<number>(chars.length + 1).fill(Number.NEGATIVE_INFINITY);
  const all = [...best];
  const tokens = new Array<number>(chars.length + 1).fill(0);
  best[0] = all[0] = 0;
  for (let i = 0; i < chars.length; i++)
    for (let j = i + 1; j <= Math.min(chars.length, i + 16); j++) {
      const lp = logProb.get(chars.slice(i, j).join(''));
      if (lp === undefined) continue;
      if (best[i] + lp > best[j]) [best[j], tokens[j]] = [best[i] + lp, tokens[i] + 1];
      const [a, b] = [Math.max(all[j], all[i] + lp), Math.min(all[j], all[i] + lp)];
      all[j] = b === Number.NEGATIVE_INFINITY ? a : a + Math.log1p(Math.exp(b - a));
    }
  return { best: best[chars.length], all: all[chars.length], tokens: tokens[chars.length] };
}
