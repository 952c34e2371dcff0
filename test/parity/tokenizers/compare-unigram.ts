/**
 * A Unigram vocabulary of ours beside spm_train's: same text, size, character coverage and cuts at blanks; no normalization.
 *   QKV_PYTHON=python npx tsx test/parity/tokenizers/compare-unigram.ts TEXT [vocabSize=4000] [characters=2000000]
 *   QKV_PYTHON=python npx tsx test/parity/tokenizers/compare-unigram.ts --golden
 * The last of every ten lines is held out. Log-likelihood: nats a character of the best cut (Viterbi), and of all cuts (forward sum). `--golden` takes the two
 * small texts of unigram-likelihood.ts and writes spm_train's figures to unigram.golden.json, which unigram.test.ts holds ours against.
 * The Python needs `sentencepiece`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type PipelineTokenizer, trainUnigram } from '../../../src/tokenizers/index.ts';
import { tokenizerFromSentencePiece } from '../../../src/tokenizers/sentencepiece.ts';
import { type Likelihood, likelihoods, smallTexts, splitLines } from './unigram-likelihood.ts';

const characterCoverage = 0.9995;

function trainOfficial(train: readonly string[], vocabSize: number): { tokenizer: PipelineTokenizer; seconds: number } {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-unigram-'));
  try {
    writeFileSync(join(folder, 'corpus.txt'), train.join('\n'));
    const script = fileURLToPath(new URL('./train_sentencepiece.py', import.meta.url));
    const python = spawnSync(
      process.env['QKV_PYTHON'] ?? 'python3',
      [script, join(folder, 'corpus.txt'), String(vocabSize), String(characterCoverage), join(folder, 'spm')],
      { encoding: 'utf8' },
    );
    if (python.status !== 0) throw new Error(python.stderr.slice(-2000));
    return { tokenizer: tokenizerFromSentencePiece(readFileSync(join(folder, 'spm.model'))), seconds: Number(python.stdout) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** spm_train's likelihood first, then ours. */
function compare(text: string, vocabSize: number): Likelihood[] {
  const { train, heldOut } = splitLines(text);
  const names = ['spm_train', 'ours as spm_train', 'ours'];
  const official = trainOfficial(train, vocabSize);
  const tokenizers = [official.tokenizer];
  const seconds = [official.seconds];
  for (const asSentencePiece of [true, false]) {
    const start = performance.now();
    tokenizers.push(trainUnigram(train, { vocabSize, characterCoverage, normalizer: null, asSentencePiece }));
    seconds.push((performance.now() - start) / 1000);
  }
  const results = likelihoods(heldOut, tokenizers);
  console.log(`${train.length} lines to learn from, ${vocabSize} entries; ${results[0].characters} characters held out`);
  const better = (a: number, b: number) => `${(100 * (1 - b / a)).toFixed(2)} % better`;
  results.forEach((r, i) => {
    console.log(
      `${names[i].padEnd(18)} ${seconds[i].toFixed(1).padStart(5)} s  ${r.pieces} pieces, Σp ${r.mass.toFixed(4)}  best cut ${r.bestCut.toFixed(4)} (${better(results[0].bestCut, r.bestCut)})  all cuts ${r.allCuts.toFixed(4)} (${better(results[0].allCuts, r.allCuts)})  ${r.charactersPerToken.toFixed(3)} characters a token`,
    );
  });
  return results;
}

const [path, size = '4000', most = '2000000'] = process.argv.slice(2);
if (path === '--golden') {
  const golden = Object.entries(smallTexts).map(([name, { text, vocabSize }]) => [name, compare(text(), vocabSize)[0]]);
  writeFileSync(new URL('./unigram.golden.json', import.meta.url), `${JSON.stringify(Object.fromEntries(golden), null, 1)}\n`);
} else if (path) compare(readFileSync(path, 'utf8').slice(0, Number(most)), Number(size));
else throw new Error('give a text file, or --golden');
