/** Values of a foreign JSON file, each checked where it is taken: the file may be damaged or hostile. */
import { tokenizerError } from './tokenizer.ts';

/** What a file may ask for; the largest published vocabularies (Gemma: 262k entries, 515k merges, 6k added) are far below. */
export const limits = {
  characters: 256 << 20,
  entries: 1 << 21,
  merges: 1 << 22,
  addedTokens: 1 << 17,
  tokenLength: 1 << 16,
  steps: 64,
  padding: 1 << 20,
  depth: 16,
};

/** A value of the file and where it stands; each accessor checks one kind. */
export class Reader {
  constructor(
    readonly value: unknown,
    readonly path: string,
  ) {}

  refuse(why: string): never {
    throw tokenizerError(`${this.path}: ${why}`, { path: this.path });
  }

  get missing(): boolean {
    return this.value === undefined || this.value === null;
  }

  #expected(kind: string): never {
    return this.refuse(`expected ${kind}, found ${JSON.stringify(this.value)?.slice(0, 60) ?? 'nothing'}`);
  }

  object(): Reader {
    return typeof this.value === 'object' && this.value !== null && !Array.isArray(this.value)
      ? this
      : this.#expected('an object');
  }

  optional(key: string): Reader {
    const here = this.object().value as Record<string, unknown>;
    return new Reader(Object.hasOwn(here, key) ? here[key] : undefined, `${this.path}.${key}`);
  }

  field(key: string): Reader {
    const reader = this.optional(key);
    return reader.missing ? this.refuse(`"${key}" is missing`) : reader;
  }

  list(limit: number): Reader[] {
    if (!Array.isArray(this.value)) return this.#expected('a list');
    if (this.value.length > limit) return this.refuse(`${this.value.length} entries; the limit is ${limit}`);
    return this.value.map((item, i) => new Reader(item, `${this.path}[${i}]`));
  }

  /** The entries of an object as pairs: JSON.parse keeps "__proto__" as an own key, and no key is ever looked up in the object. */
  entries(limit: number): [string, Reader][] {
    const entries = Object.entries(this.object().value as Record<string, unknown>);
    if (entries.length > limit) this.refuse(`${entries.length} entries; the limit is ${limit}`);
    return entries.map(([key, value]) => [key, new Reader(value, this.path)]);
  }

  text(limit = limits.tokenLength): string {
    if (typeof this.value !== 'string') return this.#expected('a text');
    return this.value.length > limit
      ? this.refuse(`a text of ${this.value.length} characters; the limit is ${limit}`)
      : this.value;
  }

  id(): number {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= limits.entries)
      return this.#expected(`an id below ${limits.entries}`);
    return value;
  }

  /** A number of things; published files have 10³⁰ and 2⁶⁴ − 1 for "no limit". */
  count(): number {
    const { value } = this;
    return typeof value === 'number' && value >= 0 && Math.floor(value) === value ? value : this.#expected('a whole number');
  }

  number(): number {
    return typeof this.value === 'number' && Number.isFinite(this.value) ? this.value : this.#expected('a number');
  }

  flag(fallback: boolean): boolean {
    return this.missing ? fallback : typeof this.value === 'boolean' ? this.value : this.#expected('true or false');
  }

  oneOf<T extends string>(...words: T[]): T {
    return words.includes(this.value as T) ? (this.value as T) : this.#expected(`one of ${words.join(', ')}`);
  }
}
