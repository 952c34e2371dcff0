import * as nodeFs from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { QkvError } from '../errors.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { errorCode, type FileSystem, quietly, realFs, writeFileAtomically } from './file-system.ts';
import { fetchBlob, type HubFile } from './hub-blob.ts';
import { checkEndpoint, checkRevision, HubConnection } from './hub-connection.ts';
import { filesOfModel } from './hub-selection.ts';
import { checkPlainName } from './inside-folder.ts';
import { lockRun } from './run-lock.ts';

// A published model or data set, fetched into the cache that Hugging Face's own tools keep, so that nothing is fetched twice:
//   CACHE/models--ORG--NAME/ blobs/HASH · snapshots/COMMIT/FILE → ../../blobs/HASH · refs/REVISION (the commit it stood for)

export interface HubProgress {
  /** The file that is arriving. */
  file: string;
  /** Bytes of all wanted files that are here. */
  bytes: number;
  totalBytes: number;
  /** Over this download so far; what was here before does not count. */
  bytesPerSecond: number;
  secondsLeft: number;
}

export interface HubOptions {
  kind?: 'model' | 'dataset';
  /** A branch, a tag or a commit. */
  revision?: string;
  /** Where the hub is: `HF_ENDPOINT`, as users of mirrors know it, else Hugging Face's own. */
  endpoint?: string;
  /** For private and gated repositories: `HF_TOKEN`. Sent to the endpoint only, and only over https or to this machine. */
  token?: string;
  /** `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else `~/.cache/huggingface/hub`. */
  cacheFolder?: string;
  /** Which files, by path; what a model needs (`filesOfModel`), or all of a data set, when left out. */
  choose?: (paths: readonly string[]) => readonly string[];
  /** The same as words: paths, with `*` for any run of letters (`*Q4_K_M.gguf`). */
  files?: readonly string[];
  onProgress?: (progress: HubProgress) => void;
  signal?: AbortSignal;
  env?: Readonly<Record<string, string | undefined>>;
  /** Tests: what to connect and to write with, and how long to wait before a second try (doubled each time). */
  fetch?: typeof fetch;
  fs?: FileSystem;
  retryMs?: number;
  /** Milliseconds without a byte after which a connection counts as cut. */
  silenceMs?: number;
}

export interface HubSnapshot {
  /** The folder with the files: in the layout of a Hugging Face folder. */
  folder: string;
  commit: string;
  files: { path: string; bytes: number; fetched: boolean }[];
}

/** Is `word` the name of a repository (`org/name`) and not a path that exists? */
export const isHubName = (word: string): boolean =>
  /^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/.test(word) && !word.includes('..') && !nodeFs.existsSync(word);

/** Where downloads are kept. */
export function hubCacheFolder(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const home = env['HF_HOME'] ?? join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'huggingface');
  return env['HF_HUB_CACHE'] ?? env['HUGGINGFACE_HUB_CACHE'] ?? join(home, 'hub');
}

/**
 * Fetches the files of `repo` (`org/name`) that are not here yet. A cut download goes on where it stopped, also in a later call; each file is
 * checked against its size and its hash (SHA-256, or Git's own for small files) and appears under its name as a whole.
 * @throws QkvError E170 not found · E171 no access · E172 no connection · E173 wrong bytes · E174, E181 no room · E175 nothing to fetch ·
 *   E176 not a hub · E177 not a name · E178 another download of it is running
 */
export async function downloadFromHub(repo: string, options: HubOptions = {}): Promise<HubSnapshot> {
  const { kind = 'model', env = process.env, fs = realFs } = options;
  if (!/^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/.test(repo) || repo.includes('..'))
    throw new QkvError('E177', `"${repo}" is not the name of a repository (org/name)`, { name: repo });
  const revision = checkRevision(options.revision ?? 'main');
  const connection = new HubConnection({
    repo,
    kind,
    endpoint: checkEndpoint(options.endpoint ?? env['HF_ENDPOINT'] ?? 'https://huggingface.co'),
    token: options.token ?? env['HF_TOKEN'],
    fetch: options.fetch ?? fetch,
    retryMs: options.retryMs ?? 1000,
    silenceMs: options.silenceMs ?? 30_000,
    signal: options.signal,
  });
  const { commit, files: all } = await connection.list(revision);
  const wanted = chosen(repo, all, options, kind);

  const home = join(options.cacheFolder ?? hubCacheFolder(env), `${kind}s--${repo.replace('/', '--')}`);
  const folder = join(home, 'snapshots', commit);
  makeFolders(fs, [join(home, 'blobs'), folder]);
  const lock = lockHome(repo, home);
  try {
    const missing = wanted.filter((file) => !isHere(join(home, 'blobs', file.hash), file.size));
    checkRoom(home, missing, fs);
    const meter = progressMeter(wanted, missing, options.onProgress);
    for (const file of missing) await fetchBlob(connection, commit, file, join(home, 'blobs'), fs, meter(file.path));
    for (const file of wanted) linkFile(fs, join(home, 'blobs', file.hash), join(folder, file.path));
    if (revision !== commit) {
      const ref = join(home, 'refs', revision);
      makeFolders(fs, [dirname(ref)]);
      writeFileAtomically(ref, commit, fs);
    }
    const fetched = new Set(missing.map((file) => file.path));
    return { folder, commit, files: wanted.map(({ path, size }) => ({ path, bytes: size, fetched: fetched.has(path) })) };
  } finally {
    lock.release();
  }
}

function chosen(repo: string, all: readonly HubFile[], options: HubOptions, kind: string): HubFile[] {
  const paths = all.map((file) => file.path);
  const patterns = options.files?.map(
    (word) => new RegExp(`^${word.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`),
  );
  const choose =
    options.choose ??
    (patterns
      ? (list: readonly string[]) => list.filter((path) => patterns.some((pattern) => pattern.test(path)))
      : kind === 'model'
        ? filesOfModel
        : (list: readonly string[]) => list.filter((path) => !/(^|\/)\.git/.test(path)));
  const names = new Set(choose(paths));
  const wanted = all.filter((file) => names.has(file.path));
  if (wanted.length === 0) {
    const ggufs = paths.filter((path) => path.endsWith('.gguf'));
    throw new QkvError('E175', `${repo} has no file that was asked for`, { repo, files: ggufs.length > 0 ? ggufs : paths });
  }
  for (const file of wanted) for (const part of file.path.split('/')) checkPlainName(part, repo);
  return wanted;
}

function isHere(path: string, size: number): boolean {
  const stat = nodeFs.statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.size === size;
}

function makeFolders(fs: FileSystem, folders: readonly string[]): void {
  for (const folder of folders) {
    try {
      fs.mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw new QkvError('E181', `cannot write ${folder}`, { path: folder, reason: errorCode(error) ?? String(error) });
    }
  }
}

function lockHome(repo: string, home: string): { release(): void } {
  try {
    return lockRun(home);
  } catch (error) {
    if (!(error instanceof QkvError)) throw error;
    throw new QkvError('E178', `another process is fetching ${repo}`, { repo, ...error.values });
  }
}

/** Refuses before the first byte when the disk has no room for what is missing. */
function checkRoom(home: string, missing: readonly HubFile[], fs: FileSystem): void {
  const partial = (file: HubFile) =>
    nodeFs.statSync(join(home, 'blobs', `${file.hash}.incomplete`), { throwIfNoEntry: false })?.size ?? 0;
  const needed = missing.reduce((sum, file) => sum + Math.max(0, file.size - partial(file)), 0);
  let free = Number.POSITIVE_INFINITY;
  quietly(() => {
    const { bavail, bsize } = fs.statfsSync(home);
    free = bavail * bsize;
  });
  if (needed > free) throw new QkvError('E174', `${needed} bytes are needed, ${free} are free`, { needed, free, folder: home });
}

/** For each file a function that takes the bytes of it that are here, and those that came just now. */
function progressMeter(wanted: readonly HubFile[], missing: readonly HubFile[], report: HubOptions['onProgress']) {
  const totalBytes = wanted.reduce((sum, file) => sum + file.size, 0);
  const start = performance.now();
  let received = 0;
  let done = totalBytes - missing.reduce((sum, file) => sum + file.size, 0);
  return (path: string) => {
    const before = done;
    return (bytesOfFile: number, arrived: number) => {
      received += arrived;
      done = before + bytesOfFile;
      const bytesPerSecond = received / Math.max(1e-3, (performance.now() - start) / 1000);
      report?.({ file: path, bytes: done, totalBytes, bytesPerSecond, secondsLeft: (totalBytes - done) / bytesPerSecond });
    };
  };
}

/** `snapshots/COMMIT/FILE` → the blob; a copy where the system allows no links. */
function linkFile(fs: FileSystem, blob: string, path: string): void {
  makeFolders(fs, [dirname(path)]);
  const target = relative(dirname(path), blob);
  const old = nodeFs.lstatSync(path, { throwIfNoEntry: false });
  if (old?.isSymbolicLink() && nodeFs.readlinkSync(path) === target) return;
  if (old && !old.isSymbolicLink() && !old.isFile()) throw new CheckpointError('SHARD_FILE', path, 'is not a file');
  if (old) fs.unlinkSync(path);
  try {
    nodeFs.symlinkSync(target, path);
  } catch (error) {
    if (!['EPERM', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP'].includes(errorCode(error) ?? '')) throw error;
    nodeFs.copyFileSync(blob, path);
  }
}
