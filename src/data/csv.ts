/**
 * CSV (RFC 4180) and TSV, a record at a time over lines of bytes, in bounded memory.
 *
 * Why our own: a stray quote in row 17 must cost row 17 and not the thousand rows up to the next quote. A record that spans lines and comes out
 * with the wrong number of columns, or a quote that does not close within 1 Mi characters, refuses its first line only; the lines after it are read again.
 */
/** One line of the file, decoded. */
export interface TextLine {
  text: string;
  /** Its line end, which belongs to a quoted field that goes on. */
  end: '' | '\n' | '\r\n';
  number: number;
}

export interface CsvRecord {
  /** Line where it begins, from 1. */
  line: number;
  /** Column name → text. */
  values: Record<string, string>;
}

/** Characters in a record that spans several lines. */
const MAX_RECORD_CHARS = 1 << 20;

export interface CsvOptions {
  /** `csv`: the delimiter is `,`, or `;` or tab where the header has no comma; fields may be quoted. `tsv`: tabs, and a quote is a character like any other. */
  kind: 'csv' | 'tsv';
  /** Called for a record that cannot be used. */
  refuse: (line: number, reason: string) => void;
  /** Called for a line without text. */
  empty: (line: number) => void;
}

/** Reads lines, gives records. The first line that is not empty names the columns. */
export class CsvReader {
  /** Names of the columns, once the first line was read; a name given twice gets `_2`. */
  columns: string[] | undefined;
  readonly #options: CsvOptions;
  #delimiter = '\t';
  /** Lines of the record that is not complete. */
  #open: TextLine[] = [];
  #openChars = 0;
  #fields: string[] = [];
  #field = '';
  #inQuotes = false;
  #fault = '';

  constructor(options: CsvOptions) {
    this.#options = options;
  }

  /** Takes a line; the records that are complete with it. */
  *add(line: TextLine): Generator<CsvRecord> {
    const waiting = [line]; // the next one last
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const { record, again } = this.#line(next);
      if (record) yield record;
      for (let i = again.length - 1; i >= 0; i--) waiting.push(again[i]);
    }
  }

  /** The file is over: a quote that is still open refuses its line, and what it swallowed is read again. */
  *end(): Generator<CsvRecord> {
    while (this.#open.length > 0) {
      const [first, ...rest] = this.#open;
      this.#options.refuse(first.number, 'a quote opens here and never closes');
      this.#reset();
      for (const line of rest) yield* this.add(line);
    }
  }

  #line(line: TextLine): { record?: CsvRecord; again: TextLine[] } {
    if (this.#open.length === 0 && line.text.trim() === '') {
      this.#options.empty(line.number);
      return { again: [] };
    }
    if (!this.columns && this.#open.length === 0) this.#delimiter = this.#delimiterOf(line.text);
    this.#open.push(line);
    this.#openChars += line.text.length + line.end.length;
    const complete = this.#scan(line.text);
    const first = this.#open[0];
    if (!complete) {
      this.#field += line.end;
      if (this.#openChars <= MAX_RECORD_CHARS) return { again: [] };
      this.#options.refuse(first.number, `a quote opens here and does not close within ${MAX_RECORD_CHARS} characters`);
      const rest = this.#open.slice(1);
      this.#reset();
      return { again: rest };
    }
    const rest = this.#open.slice(1);
    const fields = this.#fields;
    const wanted = this.columns?.length ?? fields.length;
    const fault = this.#fault || (fields.length === wanted ? '' : `${fields.length} columns, the header has ${wanted}`);
    this.#reset();
    if (fault) {
      this.#options.refuse(first.number, fault);
      return { again: rest };
    }
    if (!this.columns) {
      this.columns = distinct(fields);
      return { again: [] };
    }
    const values: Record<string, string> = Object.create(null);
    for (const [i, name] of this.columns.entries()) values[name] = fields[i];
    return { record: { line: first.number, values }, again: [] };
  }

  #delimiterOf(header: string): string {
    if (this.#options.kind === 'tsv') return '\t';
    return header.includes(',') ? ',' : header.includes(';') ? ';' : header.includes('\t') ? '\t' : ',';
  }

  /** Takes one line into the open record; false when a quoted field goes on in the next. */
  #scan(text: string): boolean {
    const delimiter = this.#delimiter;
    if (this.#options.kind === 'tsv' || (!this.#inQuotes && !text.includes('"'))) {
      this.#fields = text.split(delimiter);
      return true;
    }
    let at = 0;
    for (;;) {
      if (this.#inQuotes) {
        const quote = text.indexOf('"', at);
        if (quote < 0) {
          this.#field += text.slice(at);
          return false;
        }
        this.#field += text.slice(at, quote);
        at = quote + 1;
        if (text[at] === '"') {
          this.#field += '"';
          at++;
          continue;
        }
        this.#inQuotes = false;
        if (at < text.length && text[at] !== delimiter) this.#fault ||= 'text after a closing quote';
      } else if (text[at] === '"' && this.#field === '') {
        this.#inQuotes = true;
        at++;
        continue;
      }
      const end = text.indexOf(delimiter, at);
      this.#field += text.slice(at, end < 0 ? undefined : end);
      this.#fields.push(this.#field);
      this.#field = '';
      if (end < 0) return true;
      at = end + 1;
    }
  }

  #reset(): void {
    this.#open = [];
    this.#openChars = 0;
    this.#fields = [];
    this.#field = '';
    this.#inQuotes = false;
    this.#fault = '';
  }
}

function distinct(names: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((raw) => {
    const name = raw.trim();
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return times === 1 ? name : `${name}_${times}`;
  });
}
