// CRC-32C (Castagnoli), as storage formats use it; zlib's crc32 has another polynomial. Eight bytes a round through eight tables (Intel 2006, "slicing by 8").

const tables = Array.from({ length: 8 }, () => new Int32Array(256));
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1;
  tables[0][n] = c;
}
for (let t = 1; t < 8; t++) {
  for (let n = 0; n < 256; n++) tables[t][n] = tables[0][tables[t - 1][n] & 255] ^ (tables[t - 1][n] >>> 8);
}
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;

/** CRC-32C of `bytes`, going on from `crc` of what came before. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  let c = ~crc;
  let i = 0;
  for (const whole = bytes.length - 7; i < whole; i += 8) {
    c ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    c =
      t7[c & 255] ^
      t6[(c >>> 8) & 255] ^
      t5[(c >>> 16) & 255] ^
      t4[c >>> 24] ^
      t3[bytes[i + 4]] ^
      t2[bytes[i + 5]] ^
      t1[bytes[i + 6]] ^
      t0[bytes[i + 7]];
  }
  for (; i < bytes.length; i++) c = t0[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}

/** As LevelDB's format stores it: rotated and shifted, so that the CRC of bytes which hold a CRC is no trivial value. */
export const maskedCrc32c = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
