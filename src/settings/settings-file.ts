/** Reads a settings file: one flat JSON object in which comments and a comma at the end are welcome, and every key knows its line. */
import { QkvError } from '../errors.ts';

export interface FileSetting {
  key: string;
  value: unknown;
  /** From 1. */
  line: number;
}

/**
 * The settings of `text`, in order. `//` and block comments are passed over.
 * @throws E104 with the line, for anything that is not a flat object of values and for a key that stands twice
 */
export function readSettingsFile(text: string, file: string): FileSetting[] {
  const reader = new Reader(text, file);
  const found: FileSetting[] = [];
  reader.expect('{');
  while (!reader.take('}')) {
    const line = reader.line();
    const key = reader.string();
    if (found.some((s) => s.key === key)) reader.fail('duplicate', key, line);
    reader.expect(':');
    found.push({ key, value: reader.value(), line });
    if (!reader.take(',')) {
      reader.expect('}');
      break;
    }
  }
  reader.end();
  return found;
}

type Problem = 'expected' | 'duplicate' | 'value';

class Reader {
  #at = 0;
  constructor(
    readonly text: string,
    readonly file: string,
  ) {
    if (text.charCodeAt(0) === 0xfeff) this.#at = 1;
  }

  fail(problem: Problem, what: string, line = this.line()): never {
    const said =
      problem === 'duplicate'
        ? `"${what}" stands twice`
        : problem === 'value'
          ? `no value I can read: ${what}`
          : `expected ${what}`;
    throw new QkvError('E104', `${this.file}:${line} ${said}`, { file: this.file, line, problem, what });
  }

  /** Line of the next token. */
  line(): number {
    this.#blanks();
    let line = 1;
    for (let i = 0; i < this.#at; i++) if (this.text[i] === '\n') line++;
    return line;
  }

  take(char: string): boolean {
    this.#blanks();
    if (this.text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  expect(char: string): void {
    if (!this.take(char)) this.fail('expected', char);
  }

  end(): void {
    this.#blanks();
    if (this.#at < this.text.length) this.fail('value', this.text.slice(this.#at, this.#at + 20).split('\n')[0]);
  }

  string(): string {
    const text = this.#match(/"(?:[^"\\\n]|\\.)*"/y);
    if (text === undefined) this.fail('expected', '"key"');
    return this.#parse(text) as string;
  }

  value(): unknown {
    if (this.take('[')) {
      const list: unknown[] = [];
      while (!this.take(']')) {
        list.push(this.value());
        if (!this.take(',')) {
          this.expect(']');
          break;
        }
      }
      return list;
    }
    const text = this.#match(/"(?:[^"\\\n]|\\.)*"|true\b|false\b|null\b|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y);
    if (text === undefined) this.fail('value', this.text.slice(this.#at, this.#at + 20).split('\n')[0]);
    return this.#parse(text);
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      return this.fail('value', text.slice(0, 40));
    }
  }

  #match(pattern: RegExp): string | undefined {
    this.#blanks();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #blanks(): void {
    const pattern = /(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
    pattern.lastIndex = this.#at;
    this.#at += pattern.exec(this.text)![0].length;
  }
}
