import { CheckpointError, quote } from './checkpoint-error.ts';
import { decodeUtf8, JsonScanner } from './json-scanner.ts';

/** A JSON value as read from a file: objects are `Map`s, so that a key may be `__proto__`. */
export type StrictJson = null | boolean | number | string | StrictJson[] | Map<string, StrictJson>;

export interface StrictJsonOptions {
  /** The file, for messages. */
  file: string;
  /** What the text is, for messages. */
  part?: string;
  maxBytes?: number;
  /** Brackets within brackets. */
  maxDepth?: number;
  codes?: { json: string; utf8: string };
}

const MAX_BYTES = 64 * 2 ** 20;

/**
 * Parses JSON strictly: UTF-8 checked, duplicate keys, half surrogate pairs and too deep nesting refused, integers above 2⁵³ − 1 refused
 * instead of rounded.
 * @throws CheckpointError with `codes` (JSON and JSON unless told otherwise), INT_OVERFLOW
 */
export function parseStrictJson(
  bytes: Uint8Array,
  { file, part = 'file', maxBytes = MAX_BYTES, maxDepth = 64, codes = { json: 'JSON', utf8: 'JSON' } }: StrictJsonOptions,
): StrictJson {
  if (bytes.length > maxBytes) {
    throw new CheckpointError(codes.json, file, `the ${part} has ${bytes.length} bytes; the limit is ${maxBytes}`);
  }
  const text = decodeUtf8(bytes, file, part, codes.utf8);
  if (text.charCodeAt(0) === 0xfeff)
    throw new CheckpointError(codes.json, file, `unexpected character U+FEFF at the start of the ${part}`);
  const scan = new JsonScanner(text, file, part, codes);
  const value = scanValue(scan, maxDepth);
  scan.end();
  return value;
}

function scanValue(scan: JsonScanner, depthLeft: number): StrictJson {
  const c = scan.peek();
  if (c === 0x22) return scan.string();
  if (c === 0x7b || c === 0x5b) {
    if (depthLeft === 0) scan.fail('no deeper nesting');
    return c === 0x7b ? scanObject(scan, depthLeft - 1) : scanArray(scan, depthLeft - 1);
  }
  for (const [word, value] of words) {
    if (scan.text.startsWith(word, scan.at)) {
      scan.at += word.length;
      return value;
    }
  }
  return scanNumber(scan);
}

const words = [
  ['true', true],
  ['false', false],
  ['null', null],
] as const;

function scanObject(scan: JsonScanner, depthLeft: number): Map<string, StrictJson> {
  const object = new Map<string, StrictJson>();
  scan.take('{');
  if (scan.closes('}')) return object;
  do {
    const key = scan.string();
    scan.take(':');
    if (object.has(key))
      throw new CheckpointError(scan.codes.json, scan.file, `key ${quote(key)} appears twice in the ${scan.part}`);
    object.set(key, scanValue(scan, depthLeft));
  } while (scan.more('}'));
  return object;
}

function scanArray(scan: JsonScanner, depthLeft: number): StrictJson[] {
  const array: StrictJson[] = [];
  scan.take('[');
  if (scan.closes(']')) return array;
  do array.push(scanValue(scan, depthLeft));
  while (scan.more(']'));
  return array;
}

const numberPattern = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;

function scanNumber(scan: JsonScanner): number {
  numberPattern.lastIndex = scan.at;
  const match = numberPattern.exec(scan.text);
  if (!match) scan.fail('a value');
  const value = Number(match[0]);
  if (!Number.isFinite(value) || (match[1] === undefined && match[2] === undefined && !Number.isSafeInteger(value))) {
    throw new CheckpointError('INT_OVERFLOW', scan.file, `${match[0].slice(0, 40)} is too large for a number`);
  }
  scan.at += match[0].length;
  return value;
}

/** The same value with plain objects, for configuration schemas. A key `__proto__` becomes an ordinary own property. */
export function toPlain(value: StrictJson): unknown {
  if (Array.isArray(value)) return value.map(toPlain);
  if (!(value instanceof Map)) return value;
  const object: Record<string, unknown> = {};
  for (const [key, inner] of value) {
    Object.defineProperty(object, key, { value: toPlain(inner), enumerable: true, writable: true, configurable: true });
  }
  return object;
}
