/** Files: hostile ones are checked, ours are saved as a whole or not at all. */
export * from './checkpoint-error.ts';
export { checkDiskRoom, CheckpointSaver, findCheckpoint, saveCheckpoint, stepName, stepsOf } from './checkpoint.ts';
export type { CheckpointFile, FoundCheckpoint, Saved, SaveOptions } from './checkpoint.ts';
export * from './floats.ts';
export { readSmallFile, writeFileAtomically } from './file-system.ts';
export { type GgufReader, ggufKey, openGguf } from './gguf.ts';
export type { GgufTensor, GgufValue } from './gguf-head.ts';
export { dequantize, type GgufType, quantize, type WritableType } from './gguf-quant.ts';
export { type GgufTensorToWrite, writeGguf } from './gguf-write.ts';
export { verifyCheckpoint, type Manifest } from './manifest.ts';
export { openInFolder } from './inside-folder.ts';
export { openPytorch } from './pytorch.ts';
export * from './run-folder.ts';
export { currentTimeline, logLine, logNumber, LogWriter, readLog } from './run-log.ts';
export type { LogPart, LogRecord, LogType } from './run-log.ts';
export { holderOf, lockRun, type LockHolder } from './run-lock.ts';
export * from './safetensors.ts';
export { dtypeBits } from './safetensors-header.ts';
export type { SafetensorsDtype, SafetensorsHeader, TensorEntry } from './safetensors-header.ts';
export { openShardedSafetensors } from './safetensors-index.ts';
export { parseStrictJson, type StrictJson, toPlain } from './strict-json.ts';
export { openWeights } from './weights.ts';
export { bertStoredAs } from './hugging-face-bert-names.ts';
export {
  publishedBertConfig,
  type EncoderTask,
  type EncoderTasks,
  type LoadedEncoder,
  loadEncoder,
  type LoadEncoderOptions,
} from './hugging-face-bert.ts';
export { loadEncoderDecoder, type PublishedT5, publishedT5Config, t5StoredAs } from './hugging-face-t5.ts';
export { openPublished, openPublishedFolder, type Published, type PublishedSource } from './published.ts';
export { publishedConfig, storedAs } from './hugging-face.ts';
export { savePretrained } from './save-pretrained.ts';
export { fillTensors } from './fill-tensors.ts';
export { loadPretrained } from './model-weights.ts';
export {
  hasTokenizer,
  type LoadedTokenizer,
  loadChatTemplate,
  loadTokenizer,
  tokenizerConfig,
  type TokenizerFormat,
} from './load-tokenizer.ts';
export { downloadFromHub, type HubOptions, type HubProgress, type HubSnapshot, hubCacheFolder, isHubName } from './hub.ts';
export { openHdf5 } from './hdf5.ts';
export { openTensorflowCheckpoint } from './tensorflow-checkpoint.ts';
export { openTfjs, saveTfjs, type SaveTfjsOptions } from './tfjs.ts';
