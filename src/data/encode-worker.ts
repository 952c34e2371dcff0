/** The thread that encodes: texts come in, ids go back, in the order of the questions. */
import { parentPort, workerData } from 'node:worker_threads';
import { countText, type EncodedTexts, type ThreadTokenizer } from './encode.ts';
import type { DataTokenizer } from './tokens.ts';

const { module, name, argument } = workerData as ThreadTokenizer;
const port = parentPort!;
const tokenizer: Promise<DataTokenizer> = import(module).then((m) => m[name](argument));

port.on('message', async (texts: string[]) => {
  let answer: EncodedTexts | { failed: true };
  try {
    const encode = await tokenizer.then((t) => (text: string) => t.encode(text));
    const parts = texts.map(encode);
    const ids = new Int32Array(parts.reduce((sum, p) => sum + p.length, 0));
    const lengths = new Int32Array(parts.length);
    const counts = new Int32Array(2 * parts.length);
    let at = 0;
    for (const [i, part] of parts.entries()) {
      ids.set(part, at);
      at += part.length;
      lengths[i] = part.length;
      const { bytes, characters } = countText(texts[i]);
      counts[2 * i] = bytes;
      counts[2 * i + 1] = characters;
    }
    answer = { ids, lengths, counts };
  } catch {
    answer = { failed: true }; // asked again where the error can be thrown as what it is
  }
  port.postMessage(answer, 'failed' in answer ? [] : [answer.ids.buffer as ArrayBuffer]);
});
