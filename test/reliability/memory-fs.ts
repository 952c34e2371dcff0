import type { FileSystem } from '../../src/io/file-system.ts';

// A file system in memory that records what was asked of it, and from the record the states in which a power cut may leave a disk.

export type Inode = { id: number; data?: Uint8Array; entries?: Map<string, Inode> };

/** What changes a disk. Names are changes of a folder, bytes are changes of a file; each becomes durable by an fsync of its own. */
export type Op =
  | { op: 'link'; dir: Inode; name: string; inode: Inode }
  | { op: 'unlink'; dir: Inode; name: string }
  | { op: 'rename'; dir: Inode; from: string; to: string; inode: Inode }
  | { op: 'write'; inode: Inode; data: Uint8Array }
  | { op: 'fsync'; inode: Inode };

const fail = (code: string, what: string): never => {
  throw Object.assign(new Error(`${code}: ${what}`), { code });
};

/** The calls of `FileSystem` over a tree of inodes; `/` is the root and the only place for folders is what was made. */
export class MemoryFs {
  readonly ops: Op[] = [];
  private nextId = 1;
  private nextFd = 3;
  private readonly fds = new Map<number, { inode: Inode; at: number }>();
  constructor(readonly root: Inode = { id: 0, entries: new Map() }) {}

  private find(path: string): Inode | undefined {
    let node: Inode | undefined = this.root;
    for (const part of path.split('/').filter(Boolean)) node = node?.entries?.get(part);
    return node;
  }
  private get(path: string): Inode {
    return this.find(path) ?? fail('ENOENT', path);
  }
  private parent(path: string): [dir: Inode, name: string] {
    const parts = path.split('/').filter(Boolean);
    const name = parts.pop()!;
    const dir = this.get(parts.join('/'));
    if (!dir.entries) fail('ENOTDIR', path);
    return [dir, name];
  }
  private link(path: string, inode: Inode): Inode {
    const [dir, name] = this.parent(path);
    if (dir.entries!.has(name)) fail('EEXIST', path);
    dir.entries!.set(name, inode);
    this.ops.push({ op: 'link', dir, name, inode });
    return inode;
  }
  private unlink(path: string): void {
    const [dir, name] = this.parent(path);
    dir.entries!.delete(name);
    this.ops.push({ op: 'unlink', dir, name });
  }

  /** The object to pass as `fs`. */
  readonly fs = {
    openSync: (path: string, flags: string | number = 'r') => {
      const make = flags === 'wx' || flags === 'w';
      if (make && flags === 'wx' && this.find(path)) fail('EEXIST', path);
      const inode =
        this.find(path) ?? (make ? this.link(path, { id: this.nextId++, data: new Uint8Array() }) : fail('ENOENT', path));
      this.fds.set(this.nextFd, { inode, at: 0 });
      return this.nextFd++;
    },
    closeSync: (fd: number) => void (this.fds.delete(fd) || fail('EBADF', String(fd))),
    writeSync: (fd: number, bytes: Uint8Array, offset: number, length: number) => {
      const file = this.fds.get(fd) ?? fail('EBADF', String(fd));
      const data = new Uint8Array(file.at + length);
      data.set(file.inode.data!);
      data.set(bytes.subarray(offset, offset + length), file.at);
      file.at += length;
      this.ops.push({ op: 'write', inode: file.inode, data });
      file.inode.data = data;
      return length;
    },
    readSync: (fd: number, target: Uint8Array, offset: number, length: number, position: number) => {
      const { data } = (this.fds.get(fd) ?? fail('EBADF', String(fd))).inode;
      const piece = data!.subarray(position, position + length);
      target.set(piece, offset);
      return piece.length;
    },
    fsyncSync: (fd: number) => void this.ops.push({ op: 'fsync', inode: (this.fds.get(fd) ?? fail('EBADF', String(fd))).inode }),
    fstatSync: (fd: number) => this.stat((this.fds.get(fd) ?? fail('EBADF', String(fd))).inode),
    lstatSync: (path: string) => this.stat(this.get(path)),
    mkdirSync: (path: string) => void this.link(path, { id: this.nextId++, entries: new Map() }),
    readdirSync: (path: string) => [...(this.get(path).entries ?? fail('ENOTDIR', path)).keys()],
    renameSync: (from: string, to: string) => {
      const [dir, name] = this.parent(from);
      const [dirTo, nameTo] = this.parent(to);
      if (dir !== dirTo) fail('EXDEV', 'the model knows renames within a folder only');
      const inode = this.get(from);
      if ((dir.entries!.get(nameTo)?.entries?.size ?? 0) > 0) fail('ENOTEMPTY', to);
      dir.entries!.delete(name);
      dir.entries!.set(nameTo, inode);
      this.ops.push({ op: 'rename', dir, from: name, to: nameTo, inode });
    },
    unlinkSync: (path: string) => (this.get(path).data ? this.unlink(path) : fail('EISDIR', path)),
    rmdirSync: (path: string) =>
      (this.get(path).entries ?? fail('ENOTDIR', path)).size > 0 ? fail('ENOTEMPTY', path) : this.unlink(path),
  } as unknown as FileSystem;

  private stat({ id, data }: Inode) {
    return {
      ino: id,
      size: data?.length ?? 0,
      mtimeMs: 0,
      isFile: () => data !== undefined,
      isFIFO: () => false,
      isDirectory: () => !data,
    };
  }
}

/** What becomes of bytes that were written and not fsynced: not there, there, zeros of the right length, the first pages and then zeros. */
export type Unsynced = 'absent' | 'full' | 'zero' | 'torn';

/**
 * The states a disk may be in when the power goes after `ops`.
 * Ordered: folder changes reach the disk in their order, so that a prefix of the unsynced ones is there. Lax: any subset.
 */
export function* powerCutStates(ops: Op[], mode: 'ordered' | 'lax', random: () => number): Generator<Inode> {
  const names = ops.flatMap((op, at) => (op.op === 'write' || op.op === 'fsync' ? [] : [{ op, at }]));
  const lastSync = new Map<Inode, number>();
  for (const [at, op] of ops.entries()) if (op.op === 'fsync') lastSync.set(op.inode, at);
  const durable = names.map(({ op, at }) => (lastSync.get(op.dir) ?? -1) > at);
  const settled = mode === 'ordered' ? durable.lastIndexOf(true) + 1 : 0;
  const pending = names.map((_, i) => i).filter((i) => (mode === 'ordered' ? i >= settled : !durable[i]));
  const choices: boolean[][] = [];
  if (mode === 'ordered') for (let n = 0; n <= pending.length; n++) choices.push(pending.map((_, i) => i < n));
  else if (pending.length <= 6)
    for (let bits = 0; bits < 1 << pending.length; bits++) choices.push(pending.map((_, i) => ((bits >> i) & 1) === 1));
  else for (let k = 0; k < 64; k++) choices.push(pending.map(() => random() % 2 === 1));
  for (const choice of choices) {
    const applied = names.filter((_, i) => (pending.includes(i) ? choice[pending.indexOf(i)] : true)).map(({ op }) => op);
    for (const unsynced of ['absent', 'full', 'zero', 'torn'] as const) yield build(applied, ops, unsynced);
  }
}

function build(applied: Op[], ops: Op[], unsynced: Unsynced): Inode {
  const copies = new Map<Inode, Inode>();
  const copy = (inode: Inode): Inode => {
    let made = copies.get(inode);
    if (!made)
      copies.set(
        inode,
        (made = inode.entries ? { id: inode.id, entries: new Map() } : { id: inode.id, data: contents(inode, ops, unsynced) }),
      );
    return made;
  };
  let root: Inode | undefined;
  for (const op of applied) {
    if (op.op === 'write' || op.op === 'fsync') continue;
    const dir = copy(op.dir);
    if (op.dir.id === 0) root = dir;
    if (op.op === 'link') dir.entries!.set(op.name, copy(op.inode));
    else if (op.op === 'unlink') dir.entries!.delete(op.name);
    else {
      if (dir.entries!.get(op.from) === copy(op.inode)) dir.entries!.delete(op.from);
      dir.entries!.set(op.to, copy(op.inode));
    }
  }
  return root ?? { id: 0, entries: new Map() };
}

function contents(inode: Inode, ops: Op[], unsynced: Unsynced): Uint8Array {
  let synced: Uint8Array = new Uint8Array();
  let now: Uint8Array = new Uint8Array();
  for (const op of ops) {
    if (op.op === 'write' && op.inode === inode) now = op.data;
    if (op.op === 'fsync' && op.inode === inode) synced = now;
  }
  if (now === synced || unsynced === 'full') return now;
  if (unsynced === 'absent') return synced;
  const damaged = new Uint8Array(now.length);
  damaged.set(unsynced === 'torn' ? now.subarray(0, Math.floor(now.length / 2 / 4096) * 4096) : synced);
  return damaged;
}

/** A text that is the same for trees with the same names and bytes. */
export function fingerprint({ data, entries }: Inode): string {
  if (data) return `${data.length}:${Buffer.from(data).toString('latin1')}`;
  return `{${[...entries!].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, inode]) => `${name}=${fingerprint(inode)}`)}}`;
}
