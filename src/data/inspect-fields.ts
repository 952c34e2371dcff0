/** The fields of rows, as `qkv data inspect` reports them, and which of them holds the text. */
import { Rejects } from './rejects.ts';
import { rowsOf, type SourceFile, type SourceOptions } from './sources.ts';

/** A field of the rows that were looked at. */
export interface FieldReport {
  name: string;
  /** Share of rows that have it. */
  share: number;
  /** How often it held what: string, number, null, list, object, boolean. */
  types: Record<string, number>;
  /** Mean length of its strings, characters. */
  meanLength: number;
  example: string;
}

/** Rows of each file that are looked at. */
const FIELD_ROWS = 1000;
const EXAMPLE_CHARS = 200;

/** The first characters, on one line. */
export const start = (text: string): string =>
  [...text.slice(0, 2 * EXAMPLE_CHARS)].slice(0, EXAMPLE_CHARS).join('').replace(/\s+/g, ' ').trim();

/** The text field to read: the one asked for, else `text`, else the one with the longest texts, with a warning. */
export function fieldFor(
  asked: string | undefined,
  fields: FieldReport[] | undefined,
  path: string,
  warn: (code: string, message: string, values: Record<string, unknown>) => void,
): string {
  const wanted = asked ?? 'text';
  if (!fields || fields.length === 0 || fields.some((f) => f.name === wanted)) return wanted;
  const longest = fields.find((f) => f.types['string'] > 0);
  const names = fields.map((f) => f.name);
  warn('E131', `no field "${wanted}"${longest ? `; "${longest.name}" was looked at instead (data.field=${longest.name})` : ''}`, {
    path,
    line: 1,
    field: wanted,
    fields: names,
  });
  return longest?.name ?? wanted;
}

/** Fields of the first rows of each file, the one with most text first. */
export async function fieldsOf(files: readonly SourceFile[], options: SourceOptions): Promise<FieldReport[]> {
  const found = new Map<string, FieldReport & { characters: number; count: number }>();
  let rows = 0;
  for (const file of files) {
    let left = FIELD_ROWS;
    const read = { encoding: options.encoding, encodingErrors: 'skip' as const, rejects: new Rejects(1) }; // faults are counted where the documents are read
    for await (const { values } of rowsOf(file, read)) {
      rows++;
      for (const [name, value] of Object.entries(values)) {
        let field = found.get(name);
        if (!field) found.set(name, (field = { name, share: 0, types: {}, meanLength: 0, example: '', characters: 0, count: 0 }));
        const type = value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
        field.types[type] = (field.types[type] ?? 0) + 1;
        field.count++;
        if (type === 'string') field.characters += (value as string).length;
        if (field.example === '') field.example = start(type === 'string' ? (value as string) : JSON.stringify(value));
      }
      if (--left <= 0) break;
    }
  }
  return [...found.values()]
    .sort((a, b) => b.characters - a.characters)
    .map(({ characters, count, ...field }) => ({
      ...field,
      share: count / rows,
      meanLength: field.types['string'] ? characters / field.types['string'] : 0,
    }));
}
