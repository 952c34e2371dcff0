/**
 * Ids and texts of SentencePiece models beside the library's own, on many generated lines; models that we write are read by the library:
 *   QKV_PYTHON=python npx tsx test/parity/tokenizers/compare-sentencepiece.ts [lines=10000] [--golden]
 * --golden: a few small models and lines into sentencepiece.golden.json.gz, for the test. The Python needs `sentencepiece`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { sentencePieceModel, tokenizerFromSentencePiece } from '../../../src/tokenizers/sentencepiece.ts';
import { tokenizerFromJson, tokenizerToJson, trainUnigram } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';

const golden = process.argv.includes('--golden');
const count = Number(process.argv[2] ?? 0) || (golden ? 60 : 10_000);
const folder = mkdtempSync(join(tmpdir(), 'qkv-sentencepiece-'));
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const symbols = ['<sep>', 'foo', 'foobar', '##', 'の', 'A', 'e\u0301', '\u3000', 'ﬁ', '…'];
// The library ends a text at NUL.
const lines = mixedLines(count, golden ? 11 : 7).map((line, i) =>
  `${i % 3 ? '' : '  '}${line}${symbols[i % symbols.length]}${i % 2 ? line.slice(0, 9) : ''}${i % 5 ? '' : ' '}`
    .replaceAll('\0', '')
    .replace(/\p{Cs}/gu, ''),
);
try {
  const corpus = mixedLines(golden ? 800 : 3_000, 8).map((line) => line.replace(/[\0\r\n]/g, ' '));
  writeFileSync(join(folder, 'corpus.txt'), corpus.join('\n'));
  writeFileSync(join(folder, 'lines.json'), JSON.stringify(lines));
  const trained = trainUnigram(corpus, { vocabSize: 2_500, normalizer: null, byteFallback: true, characterCoverage: 0.99 });
  writeFileSync(join(folder, 'ours.written.model'), sentencePieceModel(trained));
  const written = tokenizerFromSentencePiece(sentencePieceModel(trained));
  // Trained and written differ only where cuts are as good as each other (float64 against float32), and at blanks that are not U+0020.
  const plain = lines.filter((line) => !/[^\S ]|[\u0085▁]/u.test(line));
  const ties = plain.filter((line) => written.encode(line).join() !== trained.encode(line).join()).length;
  console.log(`a vocabulary trained here and its written form: ${ties} of ${plain.length} lines are cut otherwise`);
  const python = process.env['QKV_PYTHON'] ?? 'python3';
  const run = () => {
    const { status, stderr } = spawnSync(python, [here('make_sentencepiece.py'), folder], {
      encoding: 'utf8',
      env: { ...process.env, ...(golden ? { VOCAB: '1100', COVERAGE: '0.98' } : {}) },
    });
    if (status !== 0) throw new Error(`${python}: ${stderr.slice(-2000)}`);
  };
  run();
  const results: Record<string, { ids: number; texts: number }> = {};
  const kept: Record<string, unknown> = {};
  for (const file of readdirSync(folder).filter((f) => f.endsWith('.model') && !f.endsWith('.written.model'))) {
    const name = file.slice(0, -'.model'.length);
    const model = readFileSync(join(folder, file));
    const tokenizer = tokenizerFromSentencePiece(model);
    const expected = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { ids: number[][]; texts: string[] };
    const reread = tokenizerFromJson(tokenizerToJson(tokenizer));
    const result = { ids: 0, texts: 0 };
    lines.forEach((line, i) => {
      const ids = Array.from(tokenizer.encode(line));
      const again = Array.from(reread.encode(line));
      if (ids.join() !== expected.ids[i].join() || again.join() !== ids.join()) {
        if (result.ids++ < 2)
          console.log(
            `${name}: ${JSON.stringify(line)}\n  ours   ${ids.map((id) => tokenizer.idToToken(id)).join(' ')}\n  theirs ${expected.ids[i].map((id) => tokenizer.idToToken(id)).join(' ')}`,
          );
      } // A text with U+2581 of its own comes back with blanks, of which the library drops all that lead.
      else if (!ids.includes(0) && !line.includes('▁') && tokenizer.decode(ids) !== expected.texts[i] && result.texts++ < 2)
        console.log(`${name}: ${JSON.stringify(tokenizer.decode(ids))} theirs ${JSON.stringify(expected.texts[i])}`);
    });
    results[name] = result;
    if (!/nfkc/.test(name)) kept[name] = { model: model.toString('base64'), ids: expected.ids, texts: expected.texts };
    writeFileSync(join(folder, `${name}.written.model`), sentencePieceModel(tokenizer));
  }
  run();
  for (const file of readdirSync(folder).filter((f) => f.endsWith('.written.json'))) {
    const name = file.slice(0, -'.written.json'.length);
    const { ids } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { ids: number[][] };
    const expected =
      name === 'ours'
        ? lines.map((line) => Array.from(written.encode(line)))
        : (JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { ids: number[][] }).ids;
    let differ = 0;
    lines.forEach((line, i) => {
      if (ids[i].join() !== expected[i].join() && differ++ < 2)
        console.log(`written ${name}: ${JSON.stringify(line)}\n  ${expected[i].join(' ')}\n  ${ids[i].join(' ')}`);
    });
    results[`written ${name}`] = { ids: differ, texts: 0 };
  }
  if (golden)
    writeFileSync(here('sentencepiece.golden.json.gz'), gzipSync(`${JSON.stringify({ lines, models: kept })}\n`, { level: 9 }));
  console.log(JSON.stringify({ lines: lines.length, differ: results }));
  if (Object.values(results).some((r) => r.ids + r.texts)) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
