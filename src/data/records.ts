/** Whole documents with the row that they came in: what cleaning, deduplicating and splitting work on. */
import { Rejects } from './rejects.ts';
import { documentsOf, type ReadOptions, type SourceFile } from './sources.ts';

/** A longer document becomes several records; none has more characters than this and one piece. */
const MAX_RECORD_CHARS = 4 << 20;

export interface DocumentRecord {
  text: string;
  /** The row, when the document came in one. */
  row?: Readonly<Record<string, unknown>>;
  /** Path of the file, and the line where the document begins. */
  source: string;
  line: number;
  /** The document's first piece (sources.ts): what the split by hash looks at, here as in `prepareData`. */
  head: string;
}

/** The documents of several files, whole up to 4 Mi characters. Throws at the end when too many rows were refused. */
export async function* records(files: readonly SourceFile[], options: ReadOptions = {}): AsyncGenerator<DocumentRecord> {
  const rejects = options.rejects ?? new Rejects();
  for (const file of files) yield* recordsOf(file, { ...options, rejects });
  rejects.check();
}

/** The documents of one file. */
export async function* recordsOf(file: SourceFile, options: ReadOptions & { rejects: Rejects }): AsyncGenerator<DocumentRecord> {
  let parts: string[] = [];
  let length = 0;
  let head = '';
  let row: DocumentRecord['row'];
  for await (const piece of documentsOf(file, options)) {
    if (piece.first) {
      head = piece.text;
      row = piece.row;
    }
    parts.push(piece.text);
    length += piece.text.length;
    if (!piece.last && length < MAX_RECORD_CHARS) continue;
    yield { text: parts.length === 1 ? parts[0] : parts.join(''), row, source: piece.source, line: piece.line, head };
    parts = [];
    length = 0;
  }
}
