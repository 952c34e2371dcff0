/** A file that is one JSON array, as most published dialogue sets are, turned into one element a line while it is read. */
import { notText } from './errors.ts';

const SPACE = 0x20;
const NEWLINE = 0x0a;
/** What a raw line end inside a string becomes: JSON refuses it just the same, and the element stays on one line. */
const REFUSED_IN_STRING = 0x0c;

/** Whether text that should be JSONL begins with `[`. */
export function beginsArray(head: Uint8Array): boolean {
  let at = head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? 3 : 0;
  while (head[at] === SPACE || (head[at] >= 9 && head[at] <= 13)) at++;
  return head[at] === 0x5b;
}

/** The elements of the array, each on a line of its own; line numbers count elements. Elements are not checked: a damaged one is a bad row. E133 when something follows the array. */
export async function* arrayElements(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  let depth = 0; // 0 before and after the array, 1 between elements
  let closed = false;
  let inString = false;
  let escaped = false;
  for await (const chunk of chunks) {
    const out = Buffer.allocUnsafe(chunk.length);
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      let to = byte;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === 0x5c) escaped = true;
        else if (byte === 0x22) inString = false;
        if (byte === NEWLINE || byte === 0x0d) to = REFUSED_IN_STRING;
      } else if (closed) {
        if (byte > SPACE) throw notText(path, 'a JSON array with something after its end');
        to = SPACE;
      } else if (depth === 0) {
        if (byte === 0x5b) depth = 1;
        to = SPACE; // a byte order mark too
      } else if (byte === 0x22) inString = true;
      else if (byte === 0x7b || byte === 0x5b) depth++;
      else if (byte === 0x7d || byte === 0x5d) {
        closed = --depth === 0;
        if (closed) to = NEWLINE;
      } else if (byte === 0x2c && depth === 1) to = NEWLINE;
      else if (byte === NEWLINE || byte === 0x0d) to = SPACE;
      out[i] = to;
    }
    yield out;
  }
}
