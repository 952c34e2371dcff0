/** Text on disk → training batches. Read in this order: lines, rows, sources, clean, dedupe, split, workbench, shards, prepare, batches. */
export * from './agreement.ts';
export * from './annotate.ts';
export { annotationItems } from './annotation-items.ts';
export * from './annotation-task.ts';
export * from './batches.ts';
export { boilerplate, repeatedLines } from './boilerplate.ts';
export { chinese, chineseConverter, type ChineseForm } from './chinese.ts';
export * from './clean.ts';
export { type DedupeOptions, duplicateParagraphs, jaccard, type NearDuplicates, nearDuplicates, shingles } from './dedupe.ts';
export { type DedupReport, dedupFiles } from './dedup-files.ts';
export * from './dialogues.ts';
export { tooShort } from './errors.ts';
export { type Encoding, guessEncoding } from './encoding.ts';
export { htmlToText } from './html.ts';
export * from './inspect.ts';
export { languageOf, languages, loadLanguages } from './language.ts';
export { type Leak, type LeakReport, leakBetween, leakTest } from './leak.ts';
export type { LengthBin, LengthSummary } from './lengths.ts';
export { type LineBatch, lineBatches, MAX_LINE_BYTES } from './lines.ts';
export type { ThreadTokenizer } from './encode.ts';
export { type PipelineSql, pipelineSql, sqlRules, statisticsSql } from './duckdb.ts';
export { type Mixture, mixBatches, type MixtureSource } from './mixture.ts';
export { permuted } from './order.ts';
export { isShardName } from './build.ts';
export type { ChatWords, Manifest, SetCounts } from './manifest.ts';
export { type Licence, licenceOf } from './licence.ts';
export * from './packing.ts';
export { dedupParagraphs, type ParagraphReport } from './paragraphs.ts';
export type { PassOptions, PassReport, Place } from './pass.ts';
export { alignedPairs, type Labelled, labelledOf, type Pair, pairsOf } from './pairs.ts';
export { pipelines, readPipeline, ruleNames, rulesFrom } from './pipeline.ts';
export * from './prepare.ts';
export { type DocumentRecord, records } from './records.ts';
export * from './rejects.ts';
export type { GoneOn, WriteOptions } from './resumable.ts';
export {
  documents,
  type DocumentsAre,
  documentsOf,
  listSources,
  rowsOf,
  type Piece,
  type SourceFile,
  type SourceKind,
  type SourceOptions,
} from './sources.ts';
export { personal } from './personal.ts';
export { c4, gopherQuality } from './quality.ts';
export { gopherRepetition } from './repetition.ts';
export { documentHash, inValidation, type SplitKind, tailCut } from './split.ts';
export { type DataTokenizer, memoryStream, sliceStream, type TokenStream } from './tokens.ts';
export * from './stats.ts';
export { hanShare, wordsOf } from './words.ts';
export { type CleanReport, cleanFiles, type SplitReport, splitFiles } from './workbench.ts';
export type { Lost } from './unfinished.ts';
export { readWordVectors, type WordVectors } from './word-vectors.ts';
