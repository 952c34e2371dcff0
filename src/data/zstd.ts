/**
 * Zstandard text, a chunk at a time. What a stream may ask for is checked before the decoder sees it: the decoder allocates the window that a frame
 * announces, and a block of four bytes may stand for 128 KiB.  Format: RFC 8878, §3.1.1.
 */
import { Decompress } from 'fzstd';
import { bomb, damagedZstd } from './errors.ts';

/** The largest window that `zstd` itself decodes unless it is told otherwise. */
const MAX_WINDOW_BYTES = 128 << 20;
const MAX_RATIO = 200;
const HARMLESS_BYTES = 16 << 20;
const PIECE_BYTES = 16 << 10;
const MAGIC = 0xfd2fb528;

/** Bytes of a Zstandard stream, of any number of frames. BOMB when the output is more than 200 times the input, CORRUPT when the stream is damaged or cut. */
export async function* unzstd(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  let read = 0;
  let written = 0;
  let out: Uint8Array[] = [];
  const walk = new FrameWalk(path);
  const decoder = new Decompress((block) => {
    written += block.length;
    if (written > HARMLESS_BYTES && written > MAX_RATIO * read) throw bomb(path, read, MAX_RATIO);
    out.push(block);
  });
  const push = (bytes: Uint8Array, final: boolean) => {
    try {
      decoder.push(bytes, final);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      // Its own errors have a number as code; hostile tables also make it index past its arrays.
      if (typeof code === 'string') throw error;
      throw damagedZstd(path, (error as Error).message);
    }
  };
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      const piece = chunk.slice(at, at + PIECE_BYTES); // a copy: the reader reuses its buffer, the decoder keeps what it has not used
      read += piece.length;
      walk.add(piece);
      push(piece, false);
      yield* out;
      out = [];
    }
  }
  walk.end();
}

/** Follows frames and blocks without decoding them. */
export class FrameWalk {
  #state: 'magic' | 'frame' | 'block' | 'skip' | 'length' = 'magic';
  #held: number[] = [];
  #skip = 0; // bytes to pass over
  #last = false; // the block being passed over is its frame's last
  #checksum = false;
  frames = 0;

  constructor(
    readonly path: string,
    readonly maxWindow = MAX_WINDOW_BYTES,
  ) {}

  add(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; ) {
      if (this.#state === 'skip') {
        const n = Math.min(this.#skip, bytes.length - i);
        i += n;
        this.#skip -= n;
        if (this.#skip > 0) return;
        this.#state = this.#last ? 'magic' : 'block';
        this.#last = false;
        continue;
      }
      this.#held.push(bytes[i++]);
      this.#step();
    }
  }

  /** CORRUPT when the stream ends inside a frame. */
  end(): void {
    if (this.#state !== 'magic' || this.#held.length > 0 || this.frames === 0) throw damagedZstd(this.path, 'unexpected end');
  }

  #step(): void {
    const h = this.#held;
    const u32 = (at: number) => (h[at] | (h[at + 1] << 8) | (h[at + 2] << 16) | (h[at + 3] << 24)) >>> 0;
    if (this.#state === 'magic') {
      if (h.length < 4) return;
      const magic = u32(0);
      if (magic === MAGIC) this.#state = 'frame';
      else if (magic >>> 4 === 0x184d2a5)
        this.#state = 'length'; // a skippable frame
      else throw damagedZstd(this.path, this.frames === 0 ? 'not a Zstandard frame' : 'something follows the last frame');
      this.#held = [];
      this.frames++;
    } else if (this.#state === 'length') {
      if (h.length < 4) return;
      this.#pass(u32(0), true);
    } else if (this.#state === 'frame') {
      const flags = h[0];
      const single = (flags >> 5) & 1;
      const dictionary = [0, 1, 2, 4][flags & 3];
      const size = flags >> 6 ? 1 << (flags >> 6) : single;
      if (h.length < 1 + (1 - single) + dictionary + size) return;
      if (flags & 8) throw damagedZstd(this.path, 'a reserved bit is set');
      if (dictionary > 0 && h.slice(2 - single, 2 - single + dictionary).some((b) => b !== 0))
        throw damagedZstd(this.path, 'it needs a dictionary');
      const from = h.length - size;
      let contentSize = 0;
      for (let k = size - 1; k >= 0; k--) contentSize = contentSize * 256 + h[from + k];
      if (size === 2) contentSize += 256;
      const base = 2 ** (10 + (h[1] >> 3));
      const window = single ? contentSize : base + (base / 8) * (h[1] & 7);
      if (window > this.maxWindow) throw damagedZstd(this.path, `its window is ${window} bytes, ${this.maxWindow} can be read`);
      this.#checksum = (flags & 4) !== 0;
      this.#state = 'block';
      this.#held = [];
    } else {
      if (h.length < 3) return;
      const header = h[0] | (h[1] << 8) | (h[2] << 16);
      const type = (header >> 1) & 3;
      const size = header >>> 3;
      if (type === 3 || size > 128 << 10) throw damagedZstd(this.path, `block type ${type} of ${size} bytes`);
      const last = (header & 1) === 1;
      this.#pass((type === 1 ? 1 : size) + (last && this.#checksum ? 4 : 0), last);
    }
  }

  #pass(bytes: number, last: boolean): void {
    this.#held = [];
    this.#skip = bytes;
    this.#last = false;
    if (bytes > 0) {
      this.#state = 'skip';
      this.#last = last;
    } else this.#state = last ? 'magic' : 'block';
  }
}
