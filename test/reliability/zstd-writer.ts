/** A Zstandard writer for tests: frames of raw and run-length blocks, which every decoder must read (RFC 8878, §3.1.1.2). */
const block = (type: 0 | 1, size: number, last: boolean, content: Uint8Array): Buffer => {
  const header = Buffer.alloc(3);
  header.writeUIntLE((size << 3) | (type << 1) | (last ? 1 : 0), 0, 3);
  return Buffer.concat([header, content]);
};

/** Magic, a header without content size, a window of 128 KiB. */
const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3]);

/** One frame with the bytes as they are, in blocks of at most 100,000. */
export function zstdOf(bytes: Uint8Array): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += 100_000) {
    const part = bytes.subarray(at, at + 100_000);
    blocks.push(block(0, part.length, at + 100_000 >= bytes.length, part));
  }
  return Buffer.concat([head, ...blocks]);
}

/** One frame with `count` runs of 128 KiB of the same byte: 4 bytes each. */
export const zstdRuns = (count: number, byte = 0x61): Buffer =>
  Buffer.concat([head, ...Array.from({ length: count }, (_, i) => block(1, 128 << 10, i === count - 1, Uint8Array.of(byte)))]);
