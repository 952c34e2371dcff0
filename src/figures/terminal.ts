/** Pictures made of characters: the attention of one head as a heatmap, bars, curves. Pure: the same input gives the same text. */
import { type Ambiguous, clip, displayWidth, padEnd, padStart } from './width.ts';

/**
 * How a cell is drawn. `truecolor` and `256`: a coloured background. `shade`: ` ·░▒▓█`. `digits`: tenths, `7` for 70 % and more, the same
 * width in every terminal. `ascii`: ` .:-=+*#%@`.
 */
export type Cells = 'truecolor' | '256' | 'shade' | 'digits' | 'ascii';

export interface HeatmapOptions {
  /** One text a row; also the columns' texts in the readout. */
  labels: readonly string[];
  /** First line. */
  title?: string;
  cells?: Cells;
  /** Row i has nothing to the right of column i. */
  causal?: boolean;
  /** Columns of the terminal. Larger matrices are pooled by maximum until they fit. */
  width?: number;
  ambiguous?: Ambiguous;
  lang?: 'zh' | 'en';
}

const shades = ' ·░▒▓█';
const asciiRamp = ' .:-=+*#%@';
const labelWidth = 12;

/** Level 0 … levels−1 of a weight in [0, 1], √-coded so that small weights stay visible: level k begins at (k / levels)². */
export const levelOf = (weight: number, levels: number): number =>
  Math.max(0, Math.min(levels - 1, Math.floor(Math.sqrt(Math.max(0, weight)) * levels + 1e-9)));

/**
 * Attention weights (T, T), row = query, column = key, as text:
 *
 *     解码器  1 │▓▓▒▒                │ → 0 <bos> 67%
 *
 * Each row ends with the key that it looks at most.
 */
export function heatmap(weights: ArrayLike<number>, options: HeatmapOptions): string {
  const { labels, title, cells = 'shade', causal = true, width = 100, ambiguous = 'narrow', lang = 'en' } = options;
  const T = labels.length;
  if (weights.length !== T * T) throw new RangeError(`heatmap: ${T} labels need ${T * T} weights, not ${weights.length}`);
  const names = labels.map((l) => clip(l, labelWidth, ambiguous));
  const wide = Math.max(1, ...names.map((n) => displayWidth(n, ambiguous)));
  const digits = String(T - 1).length;
  const room = width - wide - digits - 5 - 14; // bars, spaces and the readout
  const block = Math.max(1, Math.ceil((2 * T) / Math.max(8, room)));
  const N = Math.ceil(T / block);
  const bar = cells === 'ascii' || cells === 'digits' ? '|' : '│';
  const arrow = cells === 'ascii' || cells === 'digits' ? '->' : '→';

  const lines: string[] = [];
  lines.push(`${title ? `${title}   ` : ''}${lang === 'zh' ? '行 = 查询，列 = 键' : 'rows = query, columns = key'}`);
  lines.push(legend(cells, lang));
  if (block > 1)
    lines.push(
      lang === 'zh' ? `每格 ${block}×${block} 个词元，取最大值` : `each cell is the largest of ${block}×${block} tokens`,
    );
  for (let i = 0; i < N; i++) {
    let row = '';
    for (let j = 0; j < N; j++) {
      if (causal && j > i) row += '  ';
      else row += cell(pooled(weights, T, i, j, block), cells, ambiguous);
    }
    const q = Math.min(T - 1, (i + 1) * block - 1); // the last query of the block has the readout
    let k = 0;
    for (let j = 1; j < T; j++) if (weights[q * T + j] > weights[q * T + k]) k = j;
    const readout = `${arrow} ${k} ${names[k]} ${Math.round(100 * weights[q * T + k])}%`;
    lines.push(
      `${padStart(names[q], wide, ambiguous)} ${String(q).padStart(digits)} ${bar}${row}${bar} ${clip(readout, Math.max(14, width - wide - digits - 5 - 2 * N), ambiguous)}`,
    );
  }
  let axis = ' '.repeat(wide + digits + 2 + displayWidth(bar, ambiguous));
  for (let j = 0; j < N; j++) {
    const at = Math.min(T - 1, (j + 1) * block - 1);
    axis += T <= 100 ? padEnd(String(at), 2) : j % 4 === 0 ? padEnd(String(at), 8) : '';
  }
  lines.push(axis.trimEnd());
  return lines.join('\n');
}

/** The largest weight of a block of cells: one hot cell survives any pooling. */
function pooled(weights: ArrayLike<number>, T: number, i: number, j: number, block: number): number {
  let most = 0;
  for (let q = i * block; q < Math.min(T, (i + 1) * block); q++)
    for (let k = j * block; k < Math.min(T, (j + 1) * block); k++) most = Math.max(most, weights[q * T + k]);
  return most;
}

/** Two columns of the terminal. */
function cell(weight: number, cells: Cells, ambiguous: Ambiguous): string {
  if (cells === 'truecolor') return `\x1b[48;2;${colour(Math.sqrt(weight)).join(';')}m  \x1b[0m`;
  if (cells === '256') return `\x1b[48;5;${colour256(Math.sqrt(weight))}m  \x1b[0m`;
  if (cells === 'digits') return weight < 0.01 ? '. ' : `${Math.min(9, Math.floor(weight * 10 + 1e-9))} `;
  const char = cells === 'ascii' ? asciiRamp[levelOf(weight, asciiRamp.length)] : shades[levelOf(weight, shades.length)];
  return displayWidth(char, ambiguous) === 2 ? char : char + char;
}

/** The scale, computed from the coding. */
function legend(cells: Cells, lang: 'zh' | 'en'): string {
  const percent = (x: number) => `${Number((100 * x).toFixed(1))}%`;
  const name = lang === 'zh' ? '深浅' : 'shade';
  if (cells === 'digits')
    return lang === 'zh' ? '数字：7 = 70–80%，0 = 1–10%，. = 不到 1%' : 'digits: 7 = 70–80%, 0 = 1–10%, . = below 1%';
  if (cells === 'truecolor' || cells === '256') {
    const stops = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1];
    return `${name}: ${stops.map((w) => `${cell(w, cells, 'narrow')} ${percent(w)}`).join('  ')}`;
  }
  const ramp = cells === 'ascii' ? asciiRamp : shades;
  const bounds = Array.from(ramp, (_, k) => (k / ramp.length) ** 2);
  const blank = lang === 'zh' ? '空白' : 'blank';
  return `${name}: ${Array.from(ramp, (c, k) => `${k === 0 ? blank : c} ${k === ramp.length - 1 ? '≥' : ''}${percent(bounds[k])}${k === ramp.length - 1 ? '' : `–${percent(bounds[k + 1])}`}`).join('  ')}`;
}

/** Night blue → teal → green → yellow: brightness rises with the value, so it reads without hue as well. */
const anchors: readonly (readonly [number, number, number])[] = [
  [14, 16, 40],
  [34, 58, 120],
  [26, 120, 140],
  [80, 180, 110],
  [200, 214, 70],
  [255, 246, 170],
];

/** Colour of x in [0, 1], red green blue in 0 … 255. */
function colour(x: number): [number, number, number] {
  const at = Math.max(0, Math.min(1, x)) * (anchors.length - 1);
  const i = Math.min(anchors.length - 2, Math.floor(at));
  const mix = (c: number) => Math.round(anchors[i][c] + (at - i) * (anchors[i + 1][c] - anchors[i][c]));
  return [mix(0), mix(1), mix(2)];
}

/** The nearest of the 6×6×6 colour cube. */
function colour256(x: number): number {
  const [r, g, b] = colour(x).map((c) => Math.round((c / 255) * 5));
  return 16 + 36 * r + 6 * g + b;
}

export interface Bar {
  label: string;
  value: number;
  /** Written after the bar; the value itself when absent. */
  note?: string;
}

/** Horizontal bars, the longest `length` columns: lengths of documents, the next tokens' probabilities, scores of heads. */
export function bars(
  rows: readonly Bar[],
  { length = 24, ascii = false, most }: { length?: number; ascii?: boolean; most?: number } = {},
): string {
  const top = most ?? Math.max(...rows.map((r) => r.value), Number.MIN_VALUE);
  const wide = Math.max(0, ...rows.map((r) => displayWidth(r.label)));
  return rows
    .map(({ label, value, note }) =>
      `${padStart(label, wide)} ${padEnd(barOf(value / top, length, ascii), length)} ${note ?? Number(value.toPrecision(3))}`.trimEnd(),
    )
    .join('\n');
}

const eighths = ' ▏▎▍▌▋▊▉█';

/** A bar of `share` (0 … 1) of `length` columns, in eighths of a column. */
export function barOf(share: number, length: number, ascii = false): string {
  const full = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0)) * length;
  if (ascii) return '#'.repeat(Math.round(full));
  const rest = Math.round((full - Math.floor(full)) * 8);
  return '█'.repeat(Math.floor(full) + (rest === 8 ? 1 : 0)) + (rest > 0 && rest < 8 ? eighths[rest] : '');
}

/** Values over time as a curve of braille dots, 2×4 dots a character; highest value on the upper edge. Without points: an empty text. */
export function curve(
  points: readonly { x: number; y: number }[],
  { width = 60, height = 8 }: { width?: number; height?: number } = {},
): string {
  const finite = points.filter((p) => Number.isFinite(p.y));
  if (finite.length === 0) return '';
  const [x0, x1] = [Math.min(...finite.map((p) => p.x)), Math.max(...finite.map((p) => p.x))];
  const [y0, y1] = [Math.min(...finite.map((p) => p.y)), Math.max(...finite.map((p) => p.y))];
  const dots = Array.from({ length: height }, () => new Uint8Array(width));
  const bit = [
    [0x01, 0x08],
    [0x02, 0x10],
    [0x04, 0x20],
    [0x40, 0x80],
  ];
  let before: number | undefined;
  let column = 0;
  const place = ({ x, y }: { x: number; y: number }) => {
    const i = x1 === x0 ? 0 : Math.round(((x - x0) / (x1 - x0)) * (2 * width - 1));
    const j = y1 === y0 ? 2 * height : Math.round(((y1 - y) / (y1 - y0)) * (4 * height - 1));
    // A line, not a cloud: fill the column between neighbours.
    const from = before !== undefined && i - column <= 1 ? before : j;
    for (let r = Math.min(from, j); r <= Math.max(from, j); r++) dots[r >> 2][i >> 1] |= bit[r & 3][i & 1];
    before = j;
    column = i;
  };
  for (let k = 0; k + 1 < finite.length; k++) {
    const [a, b] = [finite[k], finite[k + 1]];
    const parts = Math.max(1, Math.round(((b.x - a.x) / (x1 - x0 || 1)) * 2 * width));
    for (let s = 0; s < parts; s++) place({ x: a.x + ((b.x - a.x) * s) / parts, y: a.y + ((b.y - a.y) * s) / parts });
  }
  place(finite.at(-1)!);
  const top = y1.toFixed(2);
  const low = y0.toFixed(2);
  const margin = Math.max(top.length, low.length);
  return dots
    .map((row, r) => {
      const text = Array.from(row, (d) => String.fromCodePoint(0x2800 + d)).join('');
      return `${(r === 0 ? top : r === height - 1 ? low : '').padStart(margin)} ${r === 0 ? '┤' : r === height - 1 ? '┤' : '│'}${text.replace(/\u2800+$/, '')}`;
    })
    .join('\n');
}
