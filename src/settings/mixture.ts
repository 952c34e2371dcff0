/** `data.mix`: further sources and their shares of the training samples, as words: `books:0.3,code/:0.1`. The rest are of `data`. */
import { QkvError } from '../errors.ts';
import type { Place } from './written.ts';

export interface MixedSource {
  path: string;
  /** Of the training samples, 0 < share < 1. */
  share: number;
}

/** The sources that a value names; none for null. @throws E103 where it is no list of sources, or nothing is left for `data` */
export function mixtureOf(value: string | null, at?: Place): MixedSource[] {
  if (value === null) return [];
  const sources = value.split(',').map((word) => {
    const [, path, share] = /^\s*(.+):\s*([0-9.eE+-]+)\s*$/.exec(word) ?? [];
    return { path, share: Number(share) };
  });
  const sum = sources.reduce((total, s) => total + s.share, 0);
  if (sources.every((s) => s.path !== undefined && s.share > 0) && sum < 1) return sources;
  throw new QkvError(
    'E103',
    `data.mix=${JSON.stringify(value)} is not possible. Allowed: PATH:SHARE, … with shares below 1 in all`,
    {
      key: 'data.mix',
      value,
      at,
      allowed: 'PATH:SHARE, with commas between; shares above 0 and below 1 in all: books:0.3,code/:0.1',
      allowedZh: '路径:份额，用逗号分开；份额大于 0，合计小于 1：books:0.3,code/:0.1',
    },
  );
}

/** The same value with its paths changed. */
export const withPaths = (value: string, change: (path: string) => string): string =>
  mixtureOf(value)
    .map(({ path, share }) => `${change(path)}:${share}`)
    .join(',');
