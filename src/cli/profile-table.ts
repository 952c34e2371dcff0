/** Where a stretch of work spent its time, as a table for people. */
import type { Profile } from '../tensor/index.ts';
import { count } from './format.ts';
import { type Output, table } from './output.ts';
import type { Both } from './verb.ts';

/** A row for every kernel, the longest first; then the time in which the kernels had no work: JavaScript, data, the disk. */
export function profileTable({ idleSeconds, kernels }: Profile, out: Output): string {
  const total = idleSeconds + [...kernels.values()].reduce((sum, { seconds }) => sum + seconds, 0);
  const row = (name: string, calls: string, seconds: number): string[] => [
    name,
    calls,
    seconds.toFixed(2),
    `${((100 * seconds) / total).toFixed(1)} %`,
  ];
  const t = (text: Both) => out.t(text);
  const { lang } = out;
  return table(
    [
      t({ en: 'kernel', zh: '内核' }),
      t({ en: 'calls', zh: '次数' }),
      t({ en: 'seconds', zh: '秒' }),
      t({ en: 'share', zh: '占比' }),
    ],
    [
      ...[...kernels].map(([name, { calls, seconds }]) => row(name, count(calls, lang), seconds)),
      row(t({ en: '(nothing to do)', zh: '（空闲）' }), '', idleSeconds),
    ],
    [1, 2, 3],
  );
}
