/** Messages about hubs and about files that others made. Part of the table in index.ts. */
import { bytes, count } from '../format.ts';
import { text, here, opt, shellWord, type Entry, some, reasonEn, reasonZh } from './parts.ts';

/** The values that each code is made of. */
export interface FilesValues {
  /** `what`: what of the repository is not there. */
  E170: { repo: string; what: 'repo' | 'revision' | 'file'; name?: string; endpoint?: string; hasToken?: boolean };
  E171: { repo: string; endpoint: string; status: number; hasToken: boolean };
  E172: { endpoint: string; repo: string; reason: string };
  E173: { file: string; repo: string; expected: string | number; found: string };
  E174: { needed: number; free: number; folder: string };
  E175: { repo: string; files: readonly string[] };
  E176: { endpoint: string; detail: string };
  E177: { name: string };
  E178: { repo: string; pid?: number; host?: string };
  E180: { expected: number; found: number; path: string; sha?: string; right?: string };
  E181: { path: string; reason: string };
  /** `folder`: it is one, without settings. */
  E182: { path: string; folder?: boolean };
  E183: { path: string; reason: string };
  E184: { file: string; code: string; detail: string; hint: string };
  /** `char`: one that the vocabulary lacks. */
  E185: { detail: string; char?: string };
}

export const filesMessages: { [C in keyof FilesValues]: Entry<FilesValues[C]> } = {
  E170: {
    exit: 3,
    en: (v) =>
      v.what === 'repo'
        ? text(
            `there is no repository ${v.repo} at ${v.endpoint}`,
            v.hasToken
              ? 'Check the name; your token may not see it'
              : 'Check the name. If it is private, set HF_TOKEN to a token that may read it',
          )
        : v.what === 'file'
          ? text(`${v.repo} has no file ${v.name}`, 'Check the name and the revision')
          : text(
              `${v.repo || 'the repository'} has no revision ${v.name ?? 'of this name'}`,
              'A branch, a tag or a commit; main when left out',
            ),
    zh: (v) =>
      v.what === 'repo'
        ? text(
            `${v.endpoint} 上没有仓库 ${v.repo}`,
            v.hasToken ? '检查名字；也可能是令牌没有权限' : '检查名字。如果是私有仓库，把 HF_TOKEN 设为有读权限的令牌',
          )
        : v.what === 'file'
          ? text(`${v.repo} 里没有文件 ${v.name}`, '检查文件名和版本')
          : text(`${v.repo || '该仓库'} 没有版本 ${v.name ?? ''}`.trimEnd(), '可用分支、标签或提交；省略时为 main'),
  },
  E171: {
    exit: 3,
    en: (v) =>
      text(
        `${v.endpoint} does not give ${v.repo} (HTTP ${v.status})`,
        v.hasToken
          ? 'Your token has no access: accept the terms on the page of the model, or take another token'
          : 'It is private, or its terms must be accepted on its page. Then set HF_TOKEN to a token that may read it',
      ),
    zh: (v) =>
      text(
        `${v.endpoint} 拒绝提供 ${v.repo}（HTTP ${v.status}）`,
        v.hasToken
          ? '令牌没有权限：先在模型页面接受条款，或换一个令牌'
          : '它是私有的，或要先在页面上接受条款。然后把 HF_TOKEN 设为有读权限的令牌',
      ),
  },
  E172: {
    exit: 75,
    en: (v) =>
      text(
        `no connection to ${v.endpoint}: ${v.reason}`,
        'What has arrived is kept: the same command goes on from there',
        'A mirror: set HF_ENDPOINT to its address. Without a network: copy the folder here and name it',
      ),
    zh: (v) =>
      text(
        `连不上 ${v.endpoint}：${v.reason}`,
        '已下载的部分保留：再执行同一命令会接着下',
        '用镜像：把 HF_ENDPOINT 设为镜像地址。没有网络：把文件夹拷到本机并指定路径',
      ),
  },
  E173: {
    exit: 65,
    en: (v) =>
      text(
        `${v.file} of ${v.repo} arrived with other bytes than the list says`,
        `expected ${v.expected}, got ${v.found}. Nothing was kept`,
        'Try again later, or take another mirror (HF_ENDPOINT)',
      ),
    zh: (v) =>
      text(
        `${v.repo} 的 ${v.file} 与清单不符`,
        `应为 ${v.expected}，实得 ${v.found}。已丢弃`,
        '稍后再试，或换一个镜像（HF_ENDPOINT）',
      ),
  },
  E174: {
    exit: 4,
    en: (v) =>
      text(
        `the download needs ${bytes(v.needed)}, the disk has ${bytes(v.free)}`,
        { where: here(v.folder) },
        'Free space, or set HF_HUB_CACHE to a folder on another disk',
      ),
    zh: (v) =>
      text(
        `下载需要 ${bytes(v.needed)}，磁盘只剩 ${bytes(v.free)}`,
        { where: here(v.folder) },
        '腾出空间，或把 HF_HUB_CACHE 设到另一块磁盘',
      ),
  },
  E175: {
    exit: 3,
    en: (v) =>
      text(
        `${v.repo} has no file that was asked for, and no weights of a kind that qkv reads on its own`,
        `It has: ${some(v.files, ', ', 8)}`,
        `Choose with file=NAME or a pattern such as file='*Q8_0.gguf'`,
      ),
    zh: (v) =>
      text(
        `${v.repo} 里没有所要的文件，也没有 qkv 能自动选中的权重`,
        `现有：${some(v.files, '、', 8)}`,
        `用 file= 指定文件名，或用 file='*Q8_0.gguf' 这样的模式`,
      ),
  },
  E176: {
    exit: 65,
    en: (v) => text(`${v.endpoint} does not answer as a hub does: ${v.detail}`, 'Check HF_ENDPOINT'),
    zh: (v) => text(`${v.endpoint} 的回答不符合 hub 的协议：${v.detail}`, '检查 HF_ENDPOINT'),
  },
  E177: {
    exit: 2,
    en: (v) =>
      text(`"${v.name}" is neither a file nor a folder here, nor the name of a repository`, 'Repositories are called ORG/NAME'),
    zh: (v) => text(`“${v.name}” 既不是本地文件或文件夹，也不是仓库名`, '仓库名写作 组织/名字'),
  },
  E178: {
    exit: 75,
    en: (v) =>
      text(
        `another process${v.pid ? ` (${v.pid}${v.host ? ` on ${v.host}` : ''})` : ''} is fetching ${v.repo}`,
        'Wait for it, or end it',
      ),
    zh: (v) =>
      text(`另一个进程${v.pid ? `（${v.pid}${v.host ? `，${v.host}` : ''}）` : ''}正在下载 ${v.repo}`, '等它完成，或结束它'),
  },
  E180: {
    exit: 65,
    en: (v) =>
      text(
        `tokenizer mismatch: the checkpoint expects ${count(v.expected, 'en')} entries${v.sha ? ` (sha ${v.sha.slice(0, 4)}…)` : ''}, ${here(v.path)} has ${count(v.found, 'en')}`,
        `Put back the one it was trained with${v.right ? `: ${here(v.right)}` : ''}`,
      ),
    zh: (v) =>
      text(
        `词表不符：检查点要 ${count(v.expected, 'zh')} 项${v.sha ? `（sha ${v.sha.slice(0, 4)}…）` : ''}，${here(v.path)} 有 ${count(v.found, 'zh')} 项`,
        `换回训练时的词表${v.right ? `：${here(v.right)}` : ''}`,
      ),
  },
  E181: {
    exit: 4,
    en: (v) =>
      text(
        `cannot write${v.path && ` ${here(v.path)}`}: ${reasonEn[v.reason] ?? v.reason}`,
        'Free space, change the mode of the folder, or work in another one',
      ),
    zh: (v) =>
      text(`写不了${v.path && ` ${here(v.path)}`}：${reasonZh[v.reason] ?? v.reason}`, '腾出空间、改文件夹权限，或换一个文件夹'),
  },
  E182: {
    exit: 3,
    en: (v) =>
      v.folder
        ? text(
            `no settings in ${here(v.path)}: neither qkv.json nor config.json`,
            `Is it the data? ${opt(`data=${shellWord(here(v.path))}`)}`,
          )
        : text(`there is no file ${here(v.path)}`, 'Check the path'),
    zh: (v) =>
      v.folder
        ? text(
            `${here(v.path)} 里没有配置：既无 qkv.json 也无 config.json`,
            `如果它是语料：${opt(`data=${shellWord(here(v.path))}`)}`,
          )
        : text(`没有文件 ${here(v.path)}`, '检查路径'),
  },
  E183: {
    exit: 3,
    en: (v) => text(`cannot read ${here(v.path)}: ${reasonEn[v.reason] ?? v.reason}`, 'Change its mode, or take another file'),
    zh: (v) => text(`读不了 ${here(v.path)}：${reasonZh[v.reason] ?? v.reason}`, '改权限，或换一个文件'),
  },
  E184: {
    exit: 65,
    en: (v) => text(`file refused (${v.code}): ${v.detail}`, { where: here(v.file) }, v.hint),
    zh: (v) => text(`拒绝文件（${v.code}）：${v.detail}`, { where: here(v.file) }, v.hint),
  },
  E185: {
    exit: 65,
    en: (v) =>
      v.char === undefined
        ? text(`tokenizer: ${v.detail}`)
        : text(
            `the text has "${v.char}", which the vocabulary lacks`,
            `Leave it out, or take a tokenizer that knows all characters: ${opt('tokenizer=bpe')}`,
          ),
    zh: (v) =>
      v.char === undefined
        ? text(`词表：${v.detail}`)
        : text(`文本里有 “${v.char}”，词表里没有`, `去掉它，或换认识一切字符的词表：${opt('tokenizer=bpe')}`),
  },
};
