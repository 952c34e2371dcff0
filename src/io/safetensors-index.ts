import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { readFully, realFs } from './file-system.ts';
import { checkPlainName, type FolderTrust, openInFolder } from './inside-folder.ts';
import { openSafetensors, type SafetensorsReader } from './safetensors.ts';
import type { Limits, TensorEntry } from './safetensors-header.ts';
import { parseStrictJson } from './strict-json.ts';

const MAX_INDEX_BYTES = 64 * 2 ** 20;

export interface ShardIndex {
  /** Tensor name → shard file name. */
  weightMap: Map<string, string>;
  /** Bytes of all tensors, when the index says so. */
  totalSize?: number;
}

/**
 * Judges the text of a `model.safetensors.index.json`.
 * @throws CheckpointError INDEX_JSON, SHARD_NAME, SHARD_MISSING (rows I1, I4, I5)
 */
export function parseShardIndex(bytes: Uint8Array, file: string): ShardIndex {
  if (bytes.length > MAX_INDEX_BYTES) throw indexTooLarge(bytes.length, file);
  const index = parseStrictJson(bytes, { file, part: 'index', codes: { json: 'INDEX_JSON', utf8: 'INDEX_JSON' } });
  const fault = (detail: string) => new CheckpointError('INDEX_JSON', file, detail);
  if (!(index instanceof Map)) throw fault('the index is not an object');
  const map = index.get('weight_map');
  if (!(map instanceof Map)) throw fault('the index lacks weight_map');
  const weightMap = new Map<string, string>();
  for (const [tensor, shard] of map) {
    if (typeof shard !== 'string') throw fault(`weight_map.${tensor} is not a file name`);
    checkPlainName(shard, file);
    weightMap.set(tensor, shard);
  }
  const metadata = index.get('metadata') ?? new Map();
  if (!(metadata instanceof Map)) throw fault('metadata is not an object');
  const totalSize = metadata.get('total_size');
  if (totalSize !== undefined && !(typeof totalSize === 'number' && Number.isSafeInteger(totalSize) && totalSize >= 0)) {
    throw fault('metadata.total_size is not a number of bytes');
  }
  checkShardCount(new Set(weightMap.values()), file);
  return { weightMap, totalSize };
}

/** Names such as `model-00002-of-00003.safetensors` must agree on the count, and all numbers must be there. */
function checkShardCount(shards: Set<string>, file: string): void {
  let total = 0;
  const seen = new Set<number>();
  for (const shard of shards) {
    const match = /-(\d{5})-of-(\d{5})\.[^.]+$/.exec(shard);
    if (!match) continue;
    const [number, of] = [Number(match[1]), Number(match[2])];
    if (total !== 0 && of !== total)
      throw new CheckpointError('SHARD_MISSING', file, `${quote(shard)} says ${of} shards, another says ${total}`);
    if (number < 1 || number > of)
      throw new CheckpointError('SHARD_MISSING', file, `${quote(shard)} is number ${number} of ${of}`);
    total = of;
    seen.add(number);
  }
  for (let number = 1; number <= total; number++) {
    if (!seen.has(number)) {
      throw new CheckpointError(
        'SHARD_MISSING',
        file,
        `the index puts no tensor into shard ${number} of ${total}`,
        'Download the index again',
      );
    }
  }
}

const indexTooLarge = (bytes: number, file: string) =>
  new CheckpointError('INDEX_JSON', file, `the index is ${Math.ceil(bytes / 2 ** 20)} MB; the limit is 64 MB`);

/**
 * Opens all shards of an index; the result reads like one file. Index and shards must agree on every tensor and on the total size.
 * @throws CheckpointError as `openSafetensors` for each shard, and INDEX_JSON, INDEX_MISMATCH, SHARD_* (rows I1–I5, I7)
 */
export function openShardedSafetensors(indexPath: string, options: FolderTrust & Limits = {}): SafetensorsReader {
  return openSharded(indexPath, options, (shard, fd) => openSafetensors(shard, { fd, ...options }), true);
}

/**
 * The same for shards of any kind that `open` can read; it is given the path for messages, and the descriptor to read and close.
 * `exact`: total_size counts every tensor. PyTorch's counts those that share a storage once, and its shards have them twice.
 */
export function openSharded(
  indexPath: string,
  trust: FolderTrust,
  open: (shard: string, fd: number) => SafetensorsReader,
  exact = false,
): SafetensorsReader {
  const folder = realpathOrMissing(dirname(indexPath), indexPath);
  const { weightMap, totalSize } = parseShardIndex(readIndex(folder, indexPath, trust), indexPath);
  const readers = new Map<string, SafetensorsReader>();
  const close = () => {
    for (const reader of readers.values()) reader.close();
  };
  try {
    for (const shard of new Set(weightMap.values())) {
      readers.set(shard, open(join(folder, shard), openInFolder(folder, shard, trust)));
    }
    const { metadata, tensors } = checkAgainstShards(weightMap, totalSize, readers, indexPath, exact);
    const readerOf = (name: string) => {
      const shard = weightMap.get(name);
      if (shard === undefined)
        throw new CheckpointError('NO_TENSOR', indexPath, `there is no tensor ${quote(name)} in the index`);
      return readers.get(shard)!;
    };
    return {
      metadata,
      tensors,
      read: (name) => readerOf(name).read(name),
      readInto: (name, offset, target) => readerOf(name).readInto(name, offset, target),
      windows: [...readers.values()].every((reader) => reader.windows),
      direct: [...readers.values()].every((reader) => reader.direct)
        ? {
            of: (name) => readerOf(name).direct!.of(name),
            unchanged: () => {
              for (const reader of readers.values()) reader.direct!.unchanged();
            },
          }
        : undefined,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function readIndex(folder: string, indexPath: string, options: FolderTrust): Uint8Array {
  const fd = openInFolder(folder, basename(indexPath), options);
  try {
    const { size } = realFs.fstatSync(fd);
    if (size > MAX_INDEX_BYTES) throw indexTooLarge(size, indexPath);
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, readFully(realFs, fd, bytes, 0));
  } finally {
    realFs.closeSync(fd);
  }
}

function realpathOrMissing(folder: string, indexPath: string): string {
  try {
    return realpathSync(folder);
  } catch (cause) {
    throw new CheckpointError('NOT_FOUND', indexPath, 'no such file', '', 3, cause);
  }
}

function checkAgainstShards(
  weightMap: Map<string, string>,
  totalSize: number | undefined,
  readers: Map<string, SafetensorsReader>,
  file: string,
  exact: boolean,
) {
  const mismatch = (detail: string) => new CheckpointError('INDEX_MISMATCH', file, detail, 'Download the folder again');
  const metadata = new Map<string, string>();
  const tensors = new Map<string, TensorEntry>();
  const holder = new Map<string, string>();
  let bytes = 0;
  for (const [shard, reader] of readers) {
    for (const [key, value] of reader.metadata) metadata.set(key, value);
    for (const [name, tensor] of reader.tensors) {
      const other = holder.get(name);
      if (other !== undefined) throw mismatch(`tensor ${quote(name)} is in ${other} and in ${shard}`);
      if (!weightMap.has(name)) throw mismatch(`${shard} holds ${quote(name)}, which the index does not list`);
      holder.set(name, shard);
      tensors.set(name, tensor);
      bytes += tensor.byteLength;
    }
  }
  for (const [name, shard] of weightMap) {
    if (holder.get(name) !== shard) throw mismatch(`the index puts ${quote(name)} into ${shard}, which does not hold it`);
  }
  if (totalSize !== undefined && (totalSize > bytes || (exact && totalSize < bytes)))
    throw mismatch(`total_size is ${totalSize}, the tensors have ${bytes} bytes`);
  return { metadata, tensors };
}
