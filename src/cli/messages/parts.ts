/** What messages are made of: marks for commands and settings, places, paths. */
import { relative } from 'node:path';
import type { Place } from '../../settings/config.ts';

/** A message before layout. `where` stands at the right of the first line; `more` are the lines below it. */
export interface Text {
  what: string;
  where?: string;
  more: string[];
}

/** Marks a whole command inside a message. */
export const cmd = (line: string) => `\u0001${line}\u0002`;
/** Marks `key=value` or `--flag` inside a message. */
export const opt = (word: string) => `\u0003${word}\u0002`;

/** What happened, where (an object), and the lines below. */
export const text = (what: string, ...rest: (string | { where?: string } | false | undefined)[]): Text => {
  const where = rest.find((r): r is { where?: string } => typeof r === 'object')?.where;
  return { what, where, more: rest.filter((r): r is string => typeof r === 'string' && r !== '') };
};

/** A path as short as it can be said from here. */
export function here(path: string): string {
  const short = relative(process.cwd(), path);
  return short !== '' && !short.startsWith('..') && short.length < path.length ? short : path;
}

/** A word that the shell takes as it stands, in quotes where it needs them. */
export const shellWord = (word: string) =>
  /^[\p{L}\p{N}_./=:@%+,-]+$/u.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** Where a setting stands, in words. */
export const placeEn = (at: Place | undefined) => ({
  where: !at ? undefined : 'file' in at ? `${here(at.file)}:${at.line}` : `command line ${at.argument}`,
});
export const placeZh = (at: Place | undefined) => ({
  where: !at ? undefined : 'file' in at ? `${here(at.file)}:${at.line}` : `命令行 ${at.argument}`,
});

export interface Entry<V> {
  /** Exit code; undefined for a warning. */
  exit?: number;
  en: (v: V) => Text;
  zh: (v: V) => Text;
}

export const some = (names: readonly string[], separator: string, most = 6) =>
  names.slice(0, most).join(separator) + (names.length > most ? `${separator === ' ' ? ' ' : separator}…` : '');

export const reasonEn: Record<string, string> = {
  full: 'the disk is full',
  'read-only': 'it is read-only',
  permission: 'no permission',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk is full',
  EROFS: 'it is read-only',
  EACCES: 'no permission',
  EPERM: 'no permission',
  ENOTDIR: 'a file is in the way',
};

export const reasonZh: Record<string, string> = {
  full: '磁盘已满',
  'read-only': '只读',
  permission: '没有权限',
  ENOSPC: '磁盘已满',
  EDQUOT: '磁盘已满',
  EROFS: '只读',
  EACCES: '没有权限',
  EPERM: '没有权限',
  ENOTDIR: '被一个文件挡住',
};

/** The system's own word in a sentence: `… (ENOSPC: no space left on device, write)`. */
export const systemCode = (detail: string): string | undefined => /\b(E[A-Z]{3,})\b/.exec(detail)?.[1];

/** What is wrong with a checkpoint, as io/ says it, in Chinese. */
export const damageZh = (why: string): string =>
  why
    .replace(/"(.+?)" has (\d+) bytes, the manifest says (\d+)/, '“$1” 有 $2 字节，清单上是 $3')
    .replace(/SHA-256 of "(.+?)" differs from the manifest/, '“$1” 的 SHA-256 与清单不同')
    .replace(/\. (step-\d+) will be used instead$/, '。改用 $1');

export const partEn: Record<string, string> = {
  weights: 'weights',
  gradients: 'gradients',
  moments: 'optimizer',
  activations: 'activations',
  logits: 'logits',
  staging: 'checkpoint copy',
  data: 'data',
  program: 'program',
};

export const partZh: Record<string, string> = {
  weights: '权重',
  gradients: '梯度',
  moments: '优化器',
  activations: '激活',
  logits: '输出层',
  staging: '存档副本',
  data: '数据',
  program: '程序',
};
