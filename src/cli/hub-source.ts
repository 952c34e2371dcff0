/** A word that names a repository of a hub, fetched with a line of progress; files and folders are left as they are. */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { downloadFromHub, type HubProgress, isHubName } from '../io/hub.ts';
import { QkvError } from '../errors.ts';
import { bytes, duration } from './format.ts';
import type { Output } from './output.ts';

/** Settings of verbs that can fetch. */
export const hubSettings = {
  revision: z
    .string()
    .min(1)
    .default('main')
    .meta({ en: 'branch, tag or commit of a repository ORG/NAME', zh: '仓库（组织/名字）的分支、标签或提交' }),
  file: z.string().min(1).nullable().default(null).meta({
    en: "file of the repository, or a pattern: '*Q8_0.gguf'; auto: settings, tokenizer and the best weights",
    zh: "仓库里的文件或模式：'*Q8_0.gguf'；auto：配置、词表和最合适的权重",
  }),
  endpoint: z.string().min(1).nullable().default(null).meta({
    en: "address of the hub or of a mirror; auto: HF_ENDPOINT, else Hugging Face's",
    zh: 'hub 或镜像的地址；auto：HF_ENDPOINT，否则为 Hugging Face',
  }),
};

export interface HubSource {
  /** What to open: the folder, or the one file. */
  path: string;
  /** The repository, when it was one. */
  repo?: string;
}

/** @throws QkvError E170–E178, E181 of the download */
export async function fetchSource(
  source: string,
  {
    revision,
    file,
    endpoint,
    kind = 'model',
  }: { revision: string; file: string | null; endpoint: string | null; kind?: 'model' | 'dataset' },
  out: Output,
): Promise<HubSource> {
  if (existsSync(source)) return { path: source };
  if (!isHubName(source)) {
    // Something with a slash at most once and no ending may be meant as a name; all else is a path that is not there.
    if (/\.[a-z0-9]{2,11}$/i.test(source) || source.split('/').length > 2 || /^[./~]/.test(source)) return { path: source };
    throw new QkvError('E177', `"${source}" is neither a file nor a repository (org/name)`, { name: source });
  }
  const { folder, files, commit } = await downloadFromHub(source, {
    kind,
    revision,
    endpoint: endpoint ?? undefined,
    files: file === null ? undefined : [file],
    env: out.env,
    onProgress: progressLine(out),
  });
  out.live('');
  const fetched = files.filter((f) => f.fetched);
  const size = (list: typeof files) => bytes(list.reduce((sum, f) => sum + f.bytes, 0));
  out.say(
    out.style(
      'dim',
      fetched.length > 0
        ? out.t({
            en: `fetched ${fetched.length} files, ${size(fetched)}, from ${source} @ ${commit.slice(0, 8)}`,
            zh: `已从 ${source} @ ${commit.slice(0, 8)} 下载 ${fetched.length} 个文件，${size(fetched)}`,
          })
        : out.t({ en: `${source} @ ${commit.slice(0, 8)} is here already`, zh: `${source} @ ${commit.slice(0, 8)} 已在本机` }),
    ),
  );
  out.event({ type: 'download', repo: source, commit, folder, files });
  const gguf = files.length === 1 && files[0].path.endsWith('.gguf');
  return { path: gguf ? join(folder, files[0].path) : folder, repo: basename(source) };
}

/** A line on a terminal ten times a second; an event a second for programs. */
function progressLine(out: Output): (p: HubProgress) => void {
  let [shown, told] = [0, 0];
  return ({ file, bytes: here, totalBytes, bytesPerSecond, secondsLeft }) => {
    const now = performance.now();
    if (now - shown > 100) {
      shown = now;
      const left = Number.isFinite(secondsLeft) ? duration(secondsLeft, out.lang) : '–';
      const percent = Math.floor((100 * here) / Math.max(1, totalBytes));
      const rate = `${bytes(bytesPerSecond)}/s`;
      out.live(
        out.t({
          en: `${percent} %  ${bytes(here)} of ${bytes(totalBytes)}  ${rate}  ${left} left  ${file}`,
          zh: `${percent} %  ${bytes(here)} / ${bytes(totalBytes)}  ${rate}  剩余 ${left}  ${file}`,
        }),
      );
    }
    if (now - told > 1000) {
      told = now;
      out.event({ type: 'progress', file, bytes: here, totalBytes, bytesPerSecond, secondsLeft });
    }
  };
}
