/** Numbers as people read them, in both languages. */

export type Lang = 'zh' | 'en';

/** 12345 → `12,345` in English, `12 345` in Chinese. */
export function count(n: number, lang: Lang): string {
  return Math.round(n)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, lang === 'zh' ? ' ' : ',');
}

/** Large counts: 331776 → `0.33M`, 124439808 → `124M`, 1024 → `1,024`. */
export function compact(n: number, lang: Lang): string {
  for (const [unit, size] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
  ] as const) {
    // Small models are counted in millions too: 0.33M.
    if (n >= (unit === 'M' ? 0.1 : 1) * size) {
      const v = n / size;
      return `${v >= 99.5 ? Math.round(v) : v >= 9.95 ? v.toFixed(1) : v.toFixed(2)}${unit}`;
    }
  }
  return count(n, lang);
}

/** Bytes in powers of 1000: `5.9 GB`, `22 MB`, `1.3 MB`, `812 B`. */
export function bytes(n: number): string {
  for (const [unit, size] of [
    ['TB', 1e12],
    ['GB', 1e9],
    ['MB', 1e6],
    ['kB', 1e3],
  ] as const) {
    if (n >= 0.9995 * size) {
      const v = n / size;
      return `${v >= 9.95 ? Math.round(v) : v.toFixed(1)} ${unit}`;
    }
  }
  return `${Math.round(n)} B`;
}

/** Seconds as a clock: `0:07`, `2:40`, `1:04:10`. */
export function clock(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–:––';
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  return s < 3600
    ? `${Math.floor(s / 60)}:${two(s % 60)}`
    : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/** Seconds in words: `8 s`, `2 min 40 s`, `3 h 5 min`, `2 d 4 h`. */
export function duration(seconds: number, lang: Lang): string {
  if (!Number.isFinite(seconds)) return lang === 'zh' ? '未知' : 'unknown';
  const u = lang === 'zh' ? ['秒', '分', '时', '天'] : ['s', 'min', 'h', 'd'];
  if (seconds < 10) return `${seconds.toFixed(1)} ${u[0]}`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} ${u[0]}`;
  const part = (big: number, bigUnit: string, small: number, smallUnit: string) => {
    const rest = Math.floor((s % big) / small);
    return `${Math.floor(s / big)} ${bigUnit}${rest ? ` ${rest} ${smallUnit}` : ''}`;
  };
  if (s < 3600) return part(60, u[1], 1, u[0]);
  if (s < 86400) return part(3600, u[2], 60, u[1]);
  return part(86400, u[3], 3600, u[2]);
}

/** A rate of work: `6.1 GFLOP/s`. */
export function flops(n: number): string {
  for (const [unit, size] of [
    ['PFLOP', 1e15],
    ['TFLOP', 1e12],
    ['GFLOP', 1e9],
    ['MFLOP', 1e6],
  ] as const) {
    if (n >= size) return `${(n / size).toPrecision(3)} ${unit}`;
  }
  return `${(n / 1e3).toPrecision(3)} kFLOP`;
}

/** A learning rate or a norm in its shortest honest form: `1e-3`, `7.4e-4`, `0.9`. */
export function short(x: number): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? 'NaN' : x > 0 ? '∞' : '−∞';
  if (x === 0) return '0';
  if (Math.abs(x) >= 0.01 && Math.abs(x) < 1e4) return String(Number(x.toPrecision(3)));
  return Number(x.toPrecision(2)).toExponential().replace('e+', 'e');
}

/** A loss: three decimals, or its name when it is no number. */
export const loss = (x: number): string => (Number.isFinite(x) ? x.toFixed(3) : Number.isNaN(x) ? 'NaN' : x > 0 ? '∞' : '−∞');
