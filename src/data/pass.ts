/** One pass over everything at a path, a document at a time, which can begin behind the documents that a run before it was done with. */
import { emptyData } from './errors.ts';
import { type DocumentRecord, recordsOf } from './records.ts';
import { type NotedKind, type RefusedKind, Rejects, type RejectsState } from './rejects.ts';
import { listSources, type SourceFile, type SourceOptions } from './sources.ts';

export interface PassOptions extends SourceOptions {
  /** Share of rows that may be refused. */
  maxRejected?: number;
  onProgress?: (progress: { bytes: number; totalBytes: number; documents: number }) => void;
}

/** What every pass counts. */
export interface PassReport {
  files: number;
  bytes: number;
  documents: number;
  /** Rows that could not be read, by kind. */
  rows: { rows: number } & Record<RefusedKind | NotedKind, number>;
}

/** A document's place: `path:line`. */
export interface Place {
  source: string;
  line: number;
}

/**
 * Where a pass is: so many documents are done, and this was counted where the file in hand begins. Going on means to read that file again, and no other
 * one before it.
 */
export interface PassState {
  done: number;
  /** Index of the file in hand, and what was before it. */
  file: number;
  bytes: number;
  documents: number;
  rejects: RejectsState;
}

/** Characters of a text that a report shows. */
export const EXAMPLE_CHARS = 120;

export const beginning = (): PassState => ({ done: 0, file: 0, bytes: 0, documents: 0, rejects: new Rejects().state() });

/** Input between two states that are told of. */
const STATE_BYTES = 4 << 20;

/**
 * Reads everything at `path`; `each` document comes with the index of its file. `files`: what is there, where it is listed already; `from`: behind what was done there; `onState`: told every 4 MiB where the pass
 * is, and at its end.
 */
export async function pass(
  path: string,
  options: PassOptions,
  each: (document: DocumentRecord, file: number) => void,
  {
    files: listed,
    from,
    onState,
    stateBytes = STATE_BYTES,
  }: { files?: readonly SourceFile[]; from?: PassState; onState?: (state: PassState) => void; stateBytes?: number } = {},
): Promise<PassReport> {
  const files = listed ?? (await listSources(path));
  const totalBytes = files.reduce((sum, f) => sum + f.size, 0);
  const rejects = new Rejects(options.maxRejected ?? 0.01);
  if (from) rejects.goOn(from.rejects);
  const skipped = from?.done ?? 0;
  let { bytes, documents } = from ?? { bytes: 0, documents: 0 };
  let told = bytes;
  const onBytes = (n: number) => {
    bytes += n;
    options.onProgress?.({ bytes, totalBytes, documents });
  };
  let file = from?.file ?? 0;
  let before: Omit<PassState, 'done'>;
  const begin = () => {
    before = { file, bytes, documents, rejects: rejects.state() };
  };
  for (; file < files.length; file++) {
    begin();
    for await (const document of recordsOf(files[file], { ...options, rejects, onBytes })) {
      const number = documents++;
      if (number < skipped) {
        told = bytes;
        continue;
      }
      each(document, file);
      if (bytes - told < stateBytes) continue;
      told = bytes;
      onState?.({ ...before!, done: documents });
    }
  }
  rejects.check();
  if (documents === 0)
    throw emptyData(path, {
      files: files.length,
      rows: rejects.rows,
      rejected: { ...rejects.refused, empty: rejects.noted.empty },
    });
  begin();
  onState?.({ ...before!, done: documents });
  return { files: files.length, bytes, documents, rows: rejects.summary() };
}

export const rowOf = ({ row }: DocumentRecord, text: string, field: string): Record<string, unknown> => ({
  ...row,
  [field]: text,
});
