/** Text as UTF-8 bytes and back: well-formed on the way in, never a broken character on the way out. */

const encoder = new TextEncoder();
// ignoreBOM: a byte-order mark inside a text is a character like any other, not a mark to drop.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const loneSurrogate = /\p{Cs}/gu;

/** UTF-8 bytes of a text. */
export function utf8Bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Write the UTF-8 bytes of a text at `start` of an array that has room for 3 bytes a UTF-16 unit; returns how many they are. */
export function utf8Into(text: string, bytes: Uint8Array, start: number): number {
  // Short ASCII, which most words are, without a call out of JavaScript.
  if (text.length < 24) {
    let i = 0;
    for (; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) break;
      bytes[start + i] = unit;
    }
    if (i === text.length) return i;
  }
  return encoder.encodeInto(text, bytes.subarray(start)).written;
}

/** Text of UTF-8 bytes; each maximal invalid part becomes one U+FFFD (WHATWG Encoding, §4.1). */
export function utf8Text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** The text with every lone surrogate (no character, no UTF-8 form) replaced by U+FFFD, and how many there were. */
export function replaceLoneSurrogates(text: string): { text: string; replaced: number } {
  if (text.search(loneSurrogate) < 0) return { text, replaced: 0 };
  let replaced = 0;
  const mended = text.replace(loneSurrogate, () => {
    replaced++;
    return '\ufffd';
  });
  return { text: mended, replaced };
}

/** UTF-8 that arrives in pieces: `push` gives the characters that are complete, `end` what is left (U+FFFD where it is broken). */
export interface Utf8Stream {
  push(bytes: Uint8Array): string;
  end(): string;
}

/** A streaming UTF-8 decoder: pushes joined, with `end`, equal `utf8Text` of the bytes joined. */
export function utf8Stream(): Utf8Stream {
  const streaming = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push: (bytes) => streaming.decode(bytes, { stream: true }),
    end: () => streaming.decode(),
  };
}

/** Bytes in the form a person reads: `e4 bd a0`. */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');
}
