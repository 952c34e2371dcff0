// Numbers in words, Chinese and English: a translation task that we make ourselves, and in which every pair has one right answer.

import { Rng } from '../tensor/index.ts';

const ones =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  );
const tens = ['', '', 'twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety'];

/** 4105 → `four thousand one hundred five`; 0 … 999,999,999. */
export function numberInEnglish(n: number): string {
  if (n < 20) return ones[n];
  if (n < 100) return `${tens[Math.floor(n / 10)]}${n % 10 ? ` ${ones[n % 10]}` : ''}`;
  const [unit, name] = n < 1000 ? [100, 'hundred'] : n < 1e6 ? [1000, 'thousand'] : [1e6, 'million'];
  return `${numberInEnglish(Math.floor(n / unit))} ${name}${n % unit ? ` ${numberInEnglish(n % unit)}` : ''}`;
}

const digits = '零一二三四五六七八九';
const places = ['', '十', '百', '千'];

/** 4105 → 四千一百零五; 0 … 99,999,999. One 零 stands for any gap. */
export function numberInChinese(n: number): string {
  if (n === 0) return digits[0];
  if (n >= 10_000) {
    const [high, low] = [Math.floor(n / 10_000), n % 10_000];
    return `${numberInChinese(high)}万${low === 0 ? '' : `${low < 1000 ? '零' : ''}${belowTenThousand(low)}`}`;
  }
  const text = belowTenThousand(n);
  return n >= 10 && n < 20 ? text.slice(1) : text; // 十二, not 一十二
}

function belowTenThousand(n: number): string {
  let text = '';
  let gap = false;
  for (let place = 3; place >= 0; place--) {
    const digit = Math.floor(n / 10 ** place) % 10;
    if (digit === 0) gap = text !== '';
    else {
      text += `${gap ? '零' : ''}${digits[digit]}${places[place]}`;
      gap = false;
    }
  }
  return text;
}

/** `count` different numbers below a million, small and large ones alike, a pair a line: Chinese, a tab, English. */
export function numberPairs(count = 6000, seed = 13): string {
  const rng = new Rng(seed);
  const numbers = new Set<number>();
  while (numbers.size < count) numbers.add(rng.int(10 ** (3 + rng.int(4))));
  return [...numbers].map((n) => `${numberInChinese(n)}\t${numberInEnglish(n)}`).join('\n');
}
