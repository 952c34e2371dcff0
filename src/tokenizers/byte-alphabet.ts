/**
 * The 256 printable characters that stand for bytes in byte-level vocabularies (Radford et al. 2019, GPT-2).
 * A byte that is a visible Latin-1 character stands for itself; the other 68 (controls, space, soft hyphen) take U+0100 onwards in order,
 * so that a vocabulary file holds no blank and no control character: a space is shown as `Ġ`, a newline as `Ċ`.
 */
export const byteToChar: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, b) => {
    const visible = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b !== 0xad);
    return String.fromCharCode(visible ? b : next++);
  });
})();

const charToByte = new Map(byteToChar.map((char, byte) => [char, byte]));

/** Text → one alphabet character for each UTF-8 byte. */
export function toByteAlphabet(bytes: Uint8Array): string {
  let s = '';
  for (const b of bytes) s += byteToChar[b];
  return s;
}

/** The bytes that a byte-level token stands for; `undefined` where a character is outside the alphabet. */
export function fromByteAlphabet(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = charToByte.get(token[i]);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
