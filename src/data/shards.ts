/**
 * Token shards: files of token ids with an index of where documents begin, written once, then read a page at a time.
 *
 * Layout, little-endian:
 *
 *     0  8  magic "qkvtoken"            24  8  tokens
 *     8  4  version 1                   32  8  documents that begin in this shard
 *    12  4  bytes of an id: 1, 2, 4     40 32  SHA-256 that names the tokenizer
 *    16  4  vocabulary size             72 32  SHA-256 of everything from byte 128 on
 *    20  4  0                          104 24  0
 *   128     ids · zeros up to a multiple of 4 · u32 first token of each document, counted from the shard's first token
 *
 * An id ≥ the vocabulary size is refused when written and when read; it is never clamped.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { fsyncFolder, realFs, step, type WriteFs, writeAll } from './disk.ts';
import { badShard, changed, ioFailed } from './errors.ts';
import { checkRange, lastAtOrBefore, type TokenStream } from './tokens.ts';

const MAGIC = 'qkvtoken';
const VERSION = 1;
const HEADER_BYTES = 128;
const WRITE_BYTES = 1 << 20;
/** Ids in a page of the reader's cache: small, because shuffled windows of a large file hit another page each time. */
const PAGE_TOKENS = 1 << 12;
/** Pages kept: 1,024 × 4 Ki ids of 2 bytes are 8 MiB. */
const CACHED_PAGES = 1024;
/** Ids in one shard file: 64 MiB of uint16. */
export const SHARD_TOKENS = 1 << 25;

/** One shard file. */
export interface Shard {
  file: string;
  tokens: number;
  documents: number;
  /** SHA-256 of ids and index (everything behind the header), hex. */
  sha256: string;
}

/** What a shard belongs to. */
export interface ShardKind {
  vocabSize: number;
  /** SHA-256 that names the tokenizer, hex. */
  tokenizerHash: string;
}

/** Ids of whole tokens, or the zeros and ones beside them. */
type Ids = Uint8Array | Uint16Array | Uint32Array;
/** 1 byte for yes and no; 2 bytes an id up to a vocabulary of 65,536, else 4. */
export const idBytes = (vocabSize: number): 1 | 2 | 4 => (vocabSize <= 2 ? 1 : vocabSize <= 65_536 ? 2 : 4);
const idArray = (width: 1 | 2 | 4, n: number): Ids =>
  width === 1 ? new Uint8Array(n) : width === 2 ? new Uint16Array(n) : new Uint32Array(n);

const padded = (bytes: number) => Math.ceil(bytes / 4) * 4;

/** Writes ids into as many shards as they need, `<name>-00000.tokens` and on, into a folder that nobody reads yet. */
export class ShardWriter {
  /** Tokens and documents so far. */
  tokens = 0;
  documents = 0;
  readonly shards: Shard[] = [];
  /** Called with the number of each shard that is complete, and on the disk, but for the last of all. */
  onShard: ((i: number) => void) | undefined;
  readonly #width: 1 | 2 | 4;
  readonly #ids: Ids;
  #filled = 0; // ids waiting in #ids
  #fd = -1;
  #file = '';
  #hash = createHash('sha256');
  #inShard = 0;
  #starts = new Uint32Array(1 << 12); // a plain list of a million would be copied, at 8 bytes each, every time it grows
  #started = 0;
  #passed = 0; // tokens still to come that are in complete shards

  constructor(
    readonly folder: string,
    readonly name: string,
    readonly kind: ShardKind,
    readonly shardTokens = SHARD_TOKENS,
    readonly fs: WriteFs = realFs,
  ) {
    this.#width = idBytes(kind.vocabSize);
    this.#ids = idArray(this.#width, WRITE_BYTES / this.#width);
  }

  /** Goes on behind shards that are complete: what comes next are the tokens from `tokens` on, of which those that the shards have are passed over. */
  goOn(shards: readonly Shard[], tokens: number): void {
    this.shards.push(...shards);
    this.documents = shards.reduce((n, s) => n + s.documents, 0);
    this.tokens = tokens;
    this.#passed = shards.length * this.shardTokens - tokens;
  }

  /** The next id begins a document. */
  beginDocument(): void {
    if (this.#passed > 0) return;
    if (this.#fd < 0 || this.#inShard === this.shardTokens) this.#next();
    if (this.#started === this.#starts.length) {
      const more = new Uint32Array(2 * this.#started);
      more.set(this.#starts);
      this.#starts = more;
    }
    this.#starts[this.#started++] = this.#inShard;
    this.documents++;
  }

  /** Adds ids. Throws E138 for an id outside the vocabulary, E139 when the disk refuses. */
  append(ids: Int32Array | Uint8Array): void {
    const { vocabSize } = this.kind;
    const passed = Math.min(this.#passed, ids.length);
    this.#passed -= passed;
    this.tokens += passed;
    for (let i = passed; i < ids.length; i++) {
      const id = ids[i];
      if (id < 0 || id >= vocabSize) {
        throw badShard(
          join(this.folder, this.name),
          `the tokenizer gave id ${id} at token ${this.tokens}, outside its vocabulary of ${vocabSize}`,
        );
      }
      if (this.#fd < 0 || this.#inShard === this.shardTokens) this.#next();
      if (this.#filled === this.#ids.length) this.#flush();
      this.#ids[this.#filled++] = id;
      this.#inShard++;
      this.tokens++;
    }
  }

  /** Completes the last shard; all of them are on the disk when it returns. */
  finish(): Shard[] {
    this.#close();
    return this.shards;
  }

  /** Closes the open file without completing it. */
  abandon(): void {
    if (this.#fd >= 0) this.fs.closeSync(this.#fd);
    this.#fd = -1;
  }

  #next(): void {
    const done = this.#fd >= 0;
    this.#close();
    if (done) this.onShard?.(this.shards.length - 1);
    this.#file = `${this.name}-${String(this.shards.length).padStart(5, '0')}.tokens`;
    const path = join(this.folder, this.#file);
    step(path, () => {
      this.#fd = this.fs.openSync(path, 'wx');
      writeAll(this.fs, this.#fd, new Uint8Array(HEADER_BYTES)); // the true header comes last: a shard that was not completed has no magic
    });
    this.#hash = createHash('sha256');
    this.#inShard = 0;
    this.#started = 0;
  }

  #flush(): void {
    if (this.#filled === 0) return;
    this.#write(new Uint8Array(this.#ids.buffer, 0, this.#filled * this.#width));
    this.#filled = 0;
  }

  #write(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    step(join(this.folder, this.#file), () => writeAll(this.fs, this.#fd, bytes));
  }

  #close(): void {
    if (this.#fd < 0) return;
    this.#flush();
    const idsEnd = this.#inShard * this.#width;
    this.#write(new Uint8Array(padded(idsEnd) - idsEnd));
    const starts = this.#starts.subarray(0, this.#started);
    this.#write(new Uint8Array(starts.buffer, 0, starts.byteLength));
    const sha256 = this.#hash.digest();

    const header = Buffer.alloc(HEADER_BYTES);
    header.write(MAGIC, 0, 'latin1');
    header.writeUInt32LE(VERSION, 8);
    header.writeUInt32LE(this.#width, 12);
    header.writeUInt32LE(this.kind.vocabSize, 16);
    header.writeBigUInt64LE(BigInt(this.#inShard), 24);
    header.writeBigUInt64LE(BigInt(starts.length), 32);
    header.write(this.kind.tokenizerHash, 40, 32, 'hex');
    sha256.copy(header, 72);
    const fd = this.#fd;
    step(join(this.folder, this.#file), () => {
      writeAll(this.fs, fd, header, 0);
      this.fs.fsyncSync(fd);
    });
    this.#fd = -1;
    this.fs.closeSync(fd);
    this.shards.push({ file: this.#file, tokens: this.#inShard, documents: starts.length, sha256: sha256.toString('hex') });
  }
}

/** Makes the names of written shards durable. */
export const syncFolder = (folder: string, fs: WriteFs = realFs) => step(folder, () => fsyncFolder(fs, folder));

interface OpenShard extends Shard {
  path: string;
  fd: number;
  width: 1 | 2 | 4;
  /** Tokens, and documents, of the shards before it. */
  tokensBefore: number;
  documentsBefore: number;
  size: number;
  mtimeMs: number;
}

/**
 * Opens shards as one stream. Throws E138 when a shard is cut, damaged in its header, or of another tokenizer, and E137 later, when a file changes under it.
 * `verify` also compares the SHA-256 of all bytes (about 1 s a GB).
 */
export function openShards(
  folder: string,
  shards: readonly Shard[],
  kind: ShardKind,
  { verify = false }: { verify?: boolean } = {},
): TokenStream {
  const opened: OpenShard[] = [];
  try {
    let tokensBefore = 0;
    let documentsBefore = 0;
    for (const shard of shards) {
      opened.push(openShard(folder, shard, kind, verify, tokensBefore, documentsBefore));
      tokensBefore += shard.tokens;
      documentsBefore += shard.documents;
    }
    return new ShardStream(opened, kind.vocabSize);
  } catch (error) {
    for (const { fd } of opened) closeSync(fd);
    throw error;
  }
}

function openShard(
  folder: string,
  shard: Shard,
  kind: ShardKind,
  verify: boolean,
  tokensBefore: number,
  documentsBefore: number,
): OpenShard {
  const path = join(folder, shard.file);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw badShard(path, 'the shard is missing');
    throw ioFailed(path, 'read', error);
  }
  try {
    const { size, mtimeMs } = fstatSync(fd);
    const header = Buffer.alloc(HEADER_BYTES);
    if (readSync(fd, header, 0, HEADER_BYTES, 0) < HEADER_BYTES || header.toString('latin1', 0, 8) !== MAGIC)
      throw badShard(path, 'not a complete token shard');
    const version = header.readUInt32LE(8);
    if (version !== VERSION) throw badShard(path, `format ${version}; this program reads ${VERSION}`);
    const width = header.readUInt32LE(12);
    const vocabSize = header.readUInt32LE(16);
    if (vocabSize !== kind.vocabSize || width !== idBytes(vocabSize))
      throw badShard(path, `made for a vocabulary of ${vocabSize}, the tokenizer has ${kind.vocabSize}`);
    if (header.toString('hex', 40, 72) !== kind.tokenizerHash) throw badShard(path, 'made with another tokenizer');
    const tokens = Number(header.readBigUInt64LE(24));
    const documents = Number(header.readBigUInt64LE(32));
    if (tokens !== shard.tokens || documents !== shard.documents || header.toString('hex', 72, 104) !== shard.sha256)
      throw badShard(path, 'header and manifest disagree');
    const expected = HEADER_BYTES + padded(tokens * width) + 4 * documents;
    if (size !== expected) throw badShard(path, `${size} bytes, expected ${expected}`);
    if (verify && sha256From(fd, HEADER_BYTES) !== shard.sha256) throw badShard(path, 'SHA-256 of the ids differs');
    return { ...shard, path, fd, width: width as 1 | 2 | 4, tokensBefore, documentsBefore, size, mtimeMs };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function sha256From(fd: number, position: number): string {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(1 << 20);
  for (let n = readSync(fd, chunk, 0, chunk.length, position); n > 0; n = readSync(fd, chunk, 0, chunk.length, position)) {
    hash.update(chunk.subarray(0, n));
    position += n;
  }
  return hash.digest('hex');
}

/** Shards as one row of ids, read through a cache of pages. */
class ShardStream implements TokenStream {
  readonly length: number;
  readonly documents: number;
  readonly #shards: OpenShard[];
  readonly #pages = new Map<number, Ids>(); // in order of last use
  #lastKey = -1;
  #lastPage: Ids = new Uint16Array(0);

  constructor(
    shards: OpenShard[],
    readonly vocabSize: number,
  ) {
    this.#shards = shards;
    const last = shards.at(-1);
    this.length = last ? last.tokensBefore + last.tokens : 0;
    this.documents = last ? last.documentsBefore + last.documents : 0;
  }

  read(at: number, n: number): Int32Array {
    checkRange(this.length, at, n);
    const out = new Int32Array(n);
    this.readInto(out, 0, at, n);
    return out;
  }

  readInto(out: Int32Array, outAt: number, at: number, n: number): void {
    checkRange(this.length, at, n);
    let s = n > 0 ? lastAtOrBefore(this.#shards.length, (i) => this.#shards[i].tokensBefore, at) : 0;
    while (n > 0) {
      const shard = this.#shards[s];
      const inShard = at - shard.tokensBefore;
      const page = Math.floor(inShard / PAGE_TOKENS);
      const ids = this.#page(s, page);
      const from = inShard - page * PAGE_TOKENS;
      const count = Math.min(n, ids.length - from);
      out.set(ids.subarray(from, from + count), outAt);
      outAt += count;
      at += count;
      n -= count;
      if (at === shard.tokensBefore + shard.tokens) s++;
    }
  }

  documentStart(i: number): number {
    checkRange(this.documents, i, 1);
    const shard = this.#shards[lastAtOrBefore(this.#shards.length, (s) => this.#shards[s].documentsBefore, i)];
    const start = Buffer.alloc(4);
    this.#fill(shard, start, HEADER_BYTES + padded(shard.tokens * shard.width) + 4 * (i - shard.documentsBefore));
    return shard.tokensBefore + start.readUInt32LE(0);
  }

  documentOf(at: number): number {
    checkRange(this.length, at, 1);
    return lastAtOrBefore(this.documents, (i) => this.documentStart(i), at);
  }

  close(): void {
    for (const shard of this.#shards) {
      if (shard.fd >= 0) closeSync(shard.fd);
      shard.fd = -1;
    }
    this.#pages.clear();
    this.#lastKey = -1;
  }

  #page(s: number, page: number): Ids {
    const key = s * 2 ** 32 + page;
    if (key === this.#lastKey) return this.#lastPage;
    let ids = this.#pages.get(key);
    if (ids) this.#pages.delete(key);
    else {
      const shard = this.#shards[s];
      const count = Math.min(PAGE_TOKENS, shard.tokens - page * PAGE_TOKENS);
      ids = idArray(shard.width, count);
      this.#fill(shard, new Uint8Array(ids.buffer), HEADER_BYTES + page * PAGE_TOKENS * shard.width);
      for (let i = 0; i < count; i++) {
        if (ids[i] >= this.vocabSize)
          throw badShard(
            shard.path,
            `id ${ids[i]} at token ${page * PAGE_TOKENS + i} is outside the vocabulary of ${this.vocabSize}`,
          );
      }
      if (this.#pages.size >= CACHED_PAGES) this.#pages.delete(this.#pages.keys().next().value!);
    }
    this.#pages.set(key, ids);
    this.#lastKey = key;
    this.#lastPage = ids;
    return ids;
  }

  /** Reads exactly `bytes.length` bytes, of the file that was opened and no other. */
  #fill(shard: OpenShard, bytes: Uint8Array, position: number): void {
    if (shard.fd < 0) throw new Error(`the token stream over ${shard.path} was closed`);
    const { size, mtimeMs } = fstatSync(shard.fd);
    if (size !== shard.size || mtimeMs !== shard.mtimeMs) throw changed(shard.path);
    for (let done = 0; done < bytes.length; ) {
      const n = readSync(shard.fd, bytes, done, bytes.length - done, position + done);
      if (n === 0) throw badShard(shard.path, `the file ends at byte ${position + done}`);
      done += n;
    }
  }
}
