import { CheckpointError, quote } from './checkpoint-error.ts';

/**
 * Reads JSON from a file that may be hostile, one token at a time: no recursion, duplicate keys are the caller's to refuse, integers
 * are never rounded. `JSON.parse` keeps the last of duplicate keys and rounds above 2⁵³ − 1, so that two readers would see two files.
 */
export class JsonScanner {
  at = 0;
  constructor(
    readonly text: string,
    /** Named in errors. */
    readonly file: string,
    /** What the text is, for messages: `header`, `index`, … */
    readonly part: string,
    /** Codes for text that is not JSON and for text that is not Unicode. */
    readonly codes: { json: string; utf8: string },
  ) {}

  /** Refuses the text: what was expected, and where. */
  fail(expected: string, at = this.at): never {
    const found =
      at < this.text.length ? `, found ${quote(String.fromCodePoint(this.text.codePointAt(at)!))}` : ', but it ends there';
    throw new CheckpointError(this.codes.json, this.file, `expected ${expected} at character ${at} of the ${this.part}${found}`);
  }

  /** Skips the four kinds of white space that JSON allows, and returns the code of the next character (NaN at the end). */
  peek(): number {
    for (;;) {
      const c = this.text.charCodeAt(this.at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return c;
      this.at++;
    }
  }

  /** Takes one punctuation mark or refuses the text. */
  take(mark: string): void {
    if (this.peek() !== mark.charCodeAt(0)) this.fail(`\`${mark}\``);
    this.at++;
  }

  /** After a member or an element: true at a comma, false at `close`; anything else is refused. */
  more(close: string): boolean {
    const c = this.peek();
    if (c !== 0x2c && c !== close.charCodeAt(0)) this.fail(`\`,\` or \`${close}\``);
    this.at++;
    return c === 0x2c;
  }

  /** True when the next mark closes an empty object or array, which is then taken. */
  closes(close: string): boolean {
    if (this.peek() !== close.charCodeAt(0)) return false;
    this.at++;
    return true;
  }

  /** A string, with its escapes undone. Control characters are refused, and so are escapes that make half a surrogate pair. */
  string(): string {
    if (this.peek() !== 0x22) this.fail('`"`');
    const { text } = this;
    const open = this.at++;
    let value = '';
    let from = this.at;
    for (;;) {
      const c = text.charCodeAt(this.at);
      if (c === 0x22) {
        value += text.slice(from, this.at++);
        return value;
      }
      if (c === 0x5c) {
        value += text.slice(from, this.at) + this.escape();
        from = this.at;
      } else if (c >= 0x20) this.at++;
      else if (Number.isNaN(c)) this.fail(`the end of the string that starts at ${open}`);
      else this.fail('no control character inside a string');
    }
  }

  private escape(): string {
    const c = this.text[this.at + 1];
    const simple = c === undefined ? -1 : '"\\/bfnrt'.indexOf(c);
    if (simple >= 0) {
      this.at += 2;
      return '"\\/\b\f\n\r\t'[simple];
    }
    if (c !== 'u') this.fail('an escape (\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)');
    const start = this.at;
    const high = this.hex();
    if (high >= 0xdc00 && high <= 0xdfff) this.loneSurrogate(start);
    if (high < 0xd800 || high > 0xdbff) return String.fromCharCode(high);
    if (this.text[this.at] !== '\\' || this.text[this.at + 1] !== 'u') this.loneSurrogate(start);
    const low = this.hex();
    if (low < 0xdc00 || low > 0xdfff) this.loneSurrogate(start);
    return String.fromCharCode(high, low);
  }

  private hex(): number {
    const digits = this.text.slice(this.at + 2, this.at + 6);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail('four hexadecimal digits after \\u');
    this.at += 6;
    return Number.parseInt(digits, 16);
  }

  private loneSurrogate(at: number): never {
    const detail = `half a surrogate pair (${this.text.slice(at, at + 6)}) at character ${at}: the ${this.part} is not valid Unicode`;
    throw new CheckpointError(this.codes.utf8, this.file, detail);
  }

  /** A non-negative integer ≤ 2⁵³ − 1 in plain digits: no sign, point, exponent or leading zero. */
  integer(): number {
    const first = this.peek();
    const start = this.at;
    let value = 0;
    let c = first;
    for (; c >= 0x30 && c <= 0x39; c = this.text.charCodeAt(++this.at)) {
      value = value * 10 + (c - 0x30);
    }
    const length = this.at - start;
    if (length === 0 || (first === 0x30 && length > 1) || c === 0x2e || c === 0x65 || c === 0x45) {
      this.fail('a non-negative integer', start);
    }
    // 2⁵³ − 1 has sixteen digits, and a double holds every sum up to 2⁵³ exactly: past it, `value` only grows.
    if (value > Number.MAX_SAFE_INTEGER) {
      const digits = this.text.slice(start, Math.min(this.at, start + 40));
      throw new CheckpointError('INT_OVERFLOW', this.file, `${digits} is too large: integers end at 9007199254740991`);
    }
    return value;
  }

  /** Nothing but white space may follow. */
  end(): void {
    if (!Number.isNaN(this.peek())) this.fail(`the end of the ${this.part}`);
  }

  /** Names the kind of the value that comes next, without reading it. */
  kind(): string {
    const c = String.fromCharCode(this.peek());
    if (c === '"') return 'a string';
    if (c === '{') return 'an object';
    if (c === '[') return 'an array';
    if (c === 't' || c === 'f') return 'a boolean';
    if (c === 'n') return 'null';
    return /[-0-9]/.test(c) ? 'a number' : 'not JSON';
  }
}

/**
 * Decodes UTF-8 strictly: overlong forms, surrogates and cut sequences are refused with their byte position, a byte-order mark is kept.
 * `Buffer.toString` never throws, and `TextDecoder` swallows a byte-order mark unless told otherwise.
 */
export function decodeUtf8(bytes: Uint8Array, file: string, part: string, code: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const at = firstBadUtf8(bytes);
    if (at < 0)
      throw new CheckpointError('LIMIT', file, `the ${part} of ${bytes.length} bytes is too long for a string`, '', 65, cause);
    throw new CheckpointError(code, file, `${part} is not valid UTF-8 at byte ${at}`);
  }
}

/** Index of the first byte that starts no well-formed sequence (Unicode 15, table 3-7), or −1. */
export function firstBadUtf8(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; ) {
    const b = bytes[i];
    if (b < 0x80) {
      i++;
      continue;
    }
    const length = b >= 0xc2 && b <= 0xdf ? 2 : b >= 0xe0 && b <= 0xef ? 3 : b >= 0xf0 && b <= 0xf4 ? 4 : 0;
    if (length === 0 || i + length > bytes.length) return i;
    const low = b === 0xe0 ? 0xa0 : b === 0xf0 ? 0x90 : 0x80;
    const high = b === 0xed ? 0x9f : b === 0xf4 ? 0x8f : 0xbf;
    if (bytes[i + 1] < low || bytes[i + 1] > high) return i;
    for (let k = 2; k < length; k++) if (bytes[i + k] < 0x80 || bytes[i + k] > 0xbf) return i;
    i += length;
  }
  return -1;
}
