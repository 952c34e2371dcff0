/** Text on disk → training batches. Read in this order: lines, sources, split, shards, prepare, batches. */
export * from './batches.ts';
export * from './clean.ts';
export { type DedupeOptions, jaccard, type Leak, leakTest, type NearDuplicates, nearDuplicates, shingles } from './dedupe.ts';
export { type Encoding, guessEncoding } from './encoding.ts';
export * from './inspect.ts';
export { type LineBatch, lineBatches, MAX_LINE_BYTES } from './lines.ts';
export { permuted } from './order.ts';
export * from './prepare.ts';
export * from './rejects.ts';
export {
  documents,
  type DocumentsAre,
  documentsOf,
  listSources,
  type Piece,
  type SourceFile,
  type SourceKind,
  type SourceOptions,
} from './sources.ts';
export { inValidation, type SplitKind, tailCut } from './split.ts';
export { type DataTokenizer, memoryStream, sliceStream, type TokenStream } from './tokens.ts';
