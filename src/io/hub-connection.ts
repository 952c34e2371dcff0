import { QkvError } from '../errors.ts';
import { errorCode } from './file-system.ts';
import type { HubFile } from './hub-blob.ts';

// What is said to a hub, and what its answers mean. Listing goes through @huggingface/hub; its `fetch` is ours, so that no answer is read without
// limit, a token never leaves for another host, and each refusal has a code.

const MAX_ANSWER = 64 * 2 ** 20;
const MAX_FILES = 100_000;
const MAX_REQUESTS = 1000;
const TRIES = 5;

export interface HubTarget {
  repo: string;
  kind: 'model' | 'dataset';
  endpoint: string;
  token?: string;
  fetch: typeof fetch;
  retryMs: number;
  silenceMs: number;
  signal?: AbortSignal;
}

/** @throws QkvError E176 when it is no http address */
export function checkEndpoint(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '' || url.search !== '')
    throw new QkvError('E176', `${endpoint} is not an address of a hub`, { endpoint, detail: 'expected https://host' });
  return endpoint.replace(/\/+$/, '');
}

/** @throws QkvError E170 for words that cannot be a revision */
export function checkRevision(revision: string): string {
  const possible =
    /^[\w][\w./-]{0,254}$/.test(revision) && !revision.split('/').some((part) => part === '' || /^\.+$/.test(part));
  if (!possible) throw new QkvError('E170', `there is no revision "${revision}"`, { repo: '', what: 'revision', name: revision });
  return revision;
}

export class HubConnection {
  #requests = 0;
  constructor(readonly target: HubTarget) {}

  /** The commit that `revision` stands for, and its files. */
  async list(revision: string): Promise<{ commit: string; files: HubFile[] }> {
    const { repo, kind, endpoint } = this.target;
    const hub = await import('@huggingface/hub');
    const asked = { hubUrl: endpoint, fetch: this.#ask as typeof fetch };
    try {
      const about = { ...asked, name: repo, revision, additionalFields: ['sha'] as ['sha'] };
      const { sha: commit } = await (kind === 'model' ? hub.modelInfo(about) : hub.datasetInfo(about));
      if (typeof commit !== 'string' || !/^[0-9a-f]{40}$/.test(commit)) throw this.#nonsense('the answer names no commit');
      const files: HubFile[] = [];
      for await (const entry of hub.listFiles({
        ...asked,
        repo: { type: kind, name: repo },
        revision: commit,
        recursive: true,
      })) {
        if (entry?.type === 'directory') continue;
        if (files.length === MAX_FILES) throw this.#nonsense(`more than ${MAX_FILES} files`);
        files.push(this.#file(entry));
      }
      return { commit, files };
    } catch (error) {
      if (error instanceof QkvError) throw error;
      this.target.signal?.throwIfAborted();
      throw this.#nonsense(error instanceof Error ? error.message.slice(0, 200) : String(error));
    }
  }

  #file(entry: { path?: unknown; size?: unknown; oid?: unknown; lfs?: { oid?: unknown; size?: unknown } }): HubFile {
    const { path, lfs } = entry ?? {};
    const size = lfs ? lfs.size : entry?.size;
    const hash = lfs ? String(lfs.oid).replace(/^sha256:/, '') : entry?.oid;
    const fits =
      typeof path === 'string' &&
      path.length <= 1024 &&
      typeof size === 'number' &&
      Number.isSafeInteger(size) &&
      size >= 0 &&
      typeof hash === 'string' &&
      (lfs ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(hash);
    if (!fits) throw this.#nonsense(`a file is described as ${JSON.stringify(entry)?.slice(0, 100)}`);
    return { path: path as string, size: size as number, hash: hash as string };
  }

  #nonsense(detail: string): QkvError {
    const { endpoint } = this.target;
    return new QkvError('E176', `${endpoint} does not answer as a hub does: ${detail}`, { endpoint, detail });
  }

  /** A question with a short answer, asked again after a failed connection. */
  #ask = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    if (++this.#requests > MAX_REQUESTS) throw this.#nonsense(`more than ${MAX_REQUESTS} answers for one list`);
    return await this.patiently(async () => {
      const response = await this.request(String(input), { accept: 'application/json' }, init?.signal ?? undefined);
      const pieces: Uint8Array[] = [];
      let length = 0;
      for await (const piece of this.pieces(response)) {
        length += piece.length;
        if (length > MAX_ANSWER) throw this.#nonsense(`an answer of more than ${MAX_ANSWER} bytes`);
        pieces.push(piece);
      }
      const { status, headers } = response;
      return new Response(Buffer.concat(pieces), { status, headers: keep(headers, 'content-type', 'link') });
    });
  };

  /** Where the bytes of a file are. */
  urlOf(commit: string, path: string): string {
    const { endpoint, kind, repo } = this.target;
    const where = path.split('/').map(encodeURIComponent).join('/');
    return `${endpoint}/${kind === 'model' ? '' : 'datasets/'}${repo}/resolve/${commit}/${where}`;
  }

  /** One request. A status that is no success is an error with a code; `fetch` itself drops the token when it is sent on to another host. */
  async request(url: string, headers: Record<string, string>, signal = this.target.signal, file?: string): Promise<Response> {
    const { endpoint, token, fetch, silenceMs } = this.target;
    const { origin, protocol, hostname } = new URL(url);
    const ours = origin === new URL(endpoint).origin;
    const safe = protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
    const withToken: Record<string, string> = token && ours && safe ? { authorization: `Bearer ${token}` } : {};
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new Cut(`no answer for ${silenceMs / 1000} s`)), silenceMs);
    let response: Response;
    try {
      response = await fetch(url, {
        headers: { ...headers, 'accept-encoding': 'identity', ...withToken },
        signal: signal ? AbortSignal.any([deadline.signal, signal]) : deadline.signal,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof Cut ? error : new Cut(reasonOf(error), error);
    } finally {
      clearTimeout(timer); // a long body has a deadline of its own, see `pieces`
    }
    if (response.ok || response.status === 416) return response;
    await response.body?.cancel().catch(() => {});
    throw this.#refusal(response, Boolean(token), file);
  }

  #refusal(response: Response, hasToken: boolean, file?: string): Error {
    const { repo, endpoint } = this.target;
    const { status } = response;
    const code = response.headers.get('x-error-code') ?? '';
    const about = { repo, endpoint, status, hasToken };
    if (code === 'RevisionNotFound') return new QkvError('E170', `${repo} has no such revision`, { ...about, what: 'revision' });
    if (status === 404 && file !== undefined)
      return new QkvError('E170', `${repo} has no file ${file}`, { ...about, what: 'file', name: file });
    // Without a token, a hub says 401 for a name that does not exist and for one that is private alike.
    if (status === 404 || code === 'RepoNotFound')
      return new QkvError('E170', `there is no repository ${repo} at ${endpoint}`, { ...about, what: 'repo' });
    if (status === 401 || status === 403) return new QkvError('E171', `${endpoint} refuses ${repo} (${status})`, about);
    if (status === 429 || status >= 500)
      return new Cut(`HTTP ${status}`, undefined, Number(response.headers.get('retry-after')) || 0);
    return this.#nonsense(`HTTP ${status}`);
  }

  /** The body of an answer, piece by piece; silence counts as a cut. */
  async *pieces(response: Response): AsyncGenerator<Uint8Array> {
    if (!response.body) return;
    const reader = response.body.getReader();
    try {
      for (;;) {
        let timer: NodeJS.Timeout | undefined;
        const silence = new Promise<never>((_, fail) => {
          timer = setTimeout(() => fail(new Cut(`no byte for ${this.target.silenceMs / 1000} s`)), this.target.silenceMs);
        });
        const next = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
        this.target.signal?.throwIfAborted();
        if (next.done) return;
        yield next.value;
      }
    } catch (error) {
      this.target.signal?.throwIfAborted();
      throw error instanceof Cut || error instanceof QkvError ? error : new Cut(reasonOf(error), error);
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /**
   * Runs `step` again after a cut connection, each time after a longer wait. Progress (`done` grows) makes the tries count from one again.
   * @throws QkvError E172 when no try got further
   */
  async patiently<T>(step: () => Promise<T>, done: () => number = () => 0): Promise<T> {
    const { endpoint, repo, retryMs, signal } = this.target;
    let tries = 0;
    for (let all = 0; ; all++) {
      const before = done();
      try {
        return await step();
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
        tries = done() > before ? 1 : tries + 1;
        if (tries >= TRIES || all >= 20 * TRIES) {
          const values = { endpoint, repo, reason: error.message };
          throw Object.assign(new QkvError('E172', `no connection to ${endpoint}: ${error.message}`, values), { cause: error });
        }
        const wait = Math.max(retryMs * 2 ** (tries - 1), Math.min(60, error.retryAfter) * (retryMs && 1000));
        await new Promise((resolve) => setTimeout(resolve, wait));
        signal?.throwIfAborted();
      }
    }
  }
}

/** A connection that ended early or never began: worth another try. */
export class Cut extends Error {
  constructor(
    message: string,
    override readonly cause?: unknown,
    /** Seconds that the other side asks to wait. */
    readonly retryAfter = 0,
  ) {
    super(message);
  }
}

/** `fetch failed` hides the reason in its cause: ENOTFOUND, ECONNREFUSED, a certificate … */
function reasonOf(error: unknown): string {
  const cause = (error as { cause?: unknown })?.cause;
  const code = errorCode(cause) ?? errorCode(error);
  const text = cause instanceof Error && cause.message !== '' ? cause.message : String((error as Error)?.message ?? error);
  return code && !text.includes(code) ? `${code} ${text}` : text;
}

function keep(headers: Headers, ...names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (headers.get(name) === null ? [] : [[name, headers.get(name)!]])));
}
