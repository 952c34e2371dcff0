/**
 * Compare ids and texts with the official package on many generated lines, and the time of both:
 *   npx tsx test/parity/tokenizers/compare.ts [lines=100000] [tokenizer.json …]
 * Without files: tokenizers that are trained here, of the six styles of statement 5.1.3c and three more kinds. The last line is one JSON object; exit code 1 when anything differs.
 */
import { readFileSync } from 'node:fs';
import { byteTokenizer, charTokenizer, tokenizerFromJson, tokenizerToJson, trainBpe } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';
import { official } from './official.ts';
import { styles } from './styles.ts';

// One thread for both, so that the times compare.
process.env.TOKENIZERS_PARALLELISM = 'false';

async function main() {
  const [count = '100000', ...paths] = process.argv.slice(2);
  const lines = mixedLines(Number(count), 7);
  const corpus = mixedLines(5_000, 8);
  const files: [string, string][] = paths.length
    ? paths.map((path) => [path, readFileSync(path, 'utf8')])
    : [
        ...Object.entries(styles).map(([name, make]): [string, string] => [name, make(corpus, 4_096)]),
        ['cjk pattern', tokenizerToJson(trainBpe(corpus, { vocabSize: 4_096, pattern: 'cjk' }))],
        ['bytes', tokenizerToJson(byteTokenizer())],
        ['characters', tokenizerToJson(charTokenizer(corpus, { unk: '<unk>' }))],
      ];
  const results: Record<string, unknown>[] = [];
  for (const [name, json] of files) {
    const ours = tokenizerFromJson(json);
    const theirs = official.Tokenizer.fromString(json);
    const tallies = { name, lines: lines.length, idsDiffer: 0, textsDiffer: 0, oursSeconds: 0, officialSeconds: 0 };
    for (let i = 0; i < lines.length; i += 4_096) {
      const batch = lines.slice(i, i + 4_096);
      const t0 = performance.now();
      const a = batch.map((line) => ours.encode(line, { special: true, addSpecialTokens: true }));
      const t1 = performance.now();
      const b = (await theirs.encodeBatch(batch, { addSpecialTokens: true })).map((encoding) => encoding.getIds());
      tallies.oursSeconds += (t1 - t0) / 1000;
      tallies.officialSeconds += (performance.now() - t1) / 1000;
      const texts = await theirs.decodeBatch(b, false);
      a.forEach((ids, j) => {
        if (ids.length !== b[j].length || ids.some((id, k) => id !== b[j][k])) {
          if (tallies.idsDiffer++ < 3) console.log(`${name}: ids differ: ${JSON.stringify(batch[j])}`);
        }
        if (ours.decode(ids) !== texts[j] && tallies.textsDiffer++ < 3)
          console.log(`${name}: texts differ: ${JSON.stringify(batch[j])}`);
      });
    }
    const { idsDiffer, textsDiffer, oursSeconds, officialSeconds } = tallies;
    console.log(
      `${name}: ${idsDiffer} of ${lines.length} lines differ in ids, ${textsDiffer} in text; ours ${oursSeconds.toFixed(1)} s, official ${officialSeconds.toFixed(1)} s`,
    );
    results.push(tallies);
  }
  console.log(JSON.stringify({ results }));
  if (results.some((r) => r.idsDiffer)) process.exitCode = 1;
}

await main();
