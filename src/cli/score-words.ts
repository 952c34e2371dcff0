import type { Score } from '../applications/events.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** What an evaluation measured beside the loss, in words. */
export function scoreWords({ accuracy, candidates, nextAccuracy, f1 }: Partial<Score>): { en: string; zh: string }[] {
  const words: { en: string; zh: string }[] = [];
  if (accuracy !== undefined)
    words.push(
      candidates === undefined
        ? { en: `${percent(accuracy)} right`, zh: `猜对 ${percent(accuracy)}` }
        : { en: `${percent(accuracy)} found among ${candidates}`, zh: `${candidates} 个中找对 ${percent(accuracy)}` },
    );
  if (nextAccuracy !== undefined)
    words.push({ en: `${percent(nextAccuracy)} next right`, zh: `接续判断对 ${percent(nextAccuracy)}` });
  if (f1 !== undefined) words.push({ en: `F1 ${f1.toFixed(3)} of replaced tokens`, zh: `替换词元 F1 ${f1.toFixed(3)}` });
  return words;
}
