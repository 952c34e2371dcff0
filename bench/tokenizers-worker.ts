/** One training of a byte-level BPE vocabulary, alone in its process so that its memory can be read: `ours | theirs FILE`; a line of JSON out. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { trainBpe } from 'qkv/tokenizers';

/** What the official binding trains without being asked: 30,000 entries, merges from a count of 0 (it has no options). */
const vocabSize = 30_000;

/** The lines of a file with their ends, as the official trainer reads them. */
function* linesOf(path: string): Generator<string> {
  const file = openSync(path, 'r');
  const buffer = Buffer.alloc(1 << 20);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let rest = '';
  for (let n = readSync(file, buffer); n > 0; n = readSync(file, buffer)) {
    const text = rest + decoder.decode(buffer.subarray(0, n), { stream: true });
    let from = 0;
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', from)) {
      yield text.slice(from, at + 1);
      from = at + 1;
    }
    rest = text.slice(from);
  }
  closeSync(file);
  if (rest) yield rest;
}

const [who, path] = process.argv.slice(2);
const before = process.cpuUsage();
const start = performance.now();
if (who === 'ours') trainBpe(linesOf(path), { vocabSize, minFrequency: 1 });
else {
  process.env['TOKENIZERS_PARALLELISM'] = 'false';
  const { Tokenizer } = createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers');
  const empty = {
    version: '1.0',
    added_tokens: [],
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab: {}, merges: [] },
  };
  Tokenizer.fromString(JSON.stringify(empty)).train([path]);
}
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(before);
const resident = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
process.stdout.write(
  `\n${JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, peakBytes: resident ? Number(resident[1]) * 1024 : process.resourceUsage().maxRSS * 1024 })}\n`,
);
