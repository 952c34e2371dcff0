/** Histograms as SVG: plain text, no script, readable without colour and by a screen reader. Pure: the same input gives the same bytes. */
import { displayWidth } from './width.ts';

export interface HistogramPanel {
  title: string;
  /** What is counted along the axis, and up it. */
  x: string;
  y: string;
  bars: readonly { label: string; value: number; note: string }[];
  /** One line below: quantiles, say. */
  caption?: string;
}

const escaped = (text: string): string =>
  text
    // XML 1.0 has no other control characters.
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');

const [left, right, head, plot, foot] = [64, 24, 56, 200, 96];
const panelHeight = head + plot + foot;

/** A round number of at most five steps up to `most`: 1, 2 or 5 times a power of ten. */
function stepOf(most: number): number {
  const raw = Math.max(1, most) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  return Math.max(1, [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw)!);
}

/**
 * One panel below the other, each with its bars, their counts above them, two axes and a caption. `title` and `description` are what is read aloud; colours follow the
 * page's, light or dark.
 */
export function histogramSvg(
  panels: readonly HistogramPanel[],
  { title, description, lang = 'en', width = 760 }: { title: string; description: string; lang?: 'en' | 'zh'; width?: number },
): string {
  const height = panels.length * panelHeight;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" lang="${lang}" aria-labelledby="title description" font-family="system-ui, 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif" font-size="12" fill="currentColor">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="description">${escaped(description)}</desc>`,
    '<style>svg{color:#1b1f24}.bar{fill:#2f6f9f}.line{stroke:#8a929b;stroke-width:1}@media(prefers-color-scheme:dark){svg{color:#e8eaed}.bar{fill:#7fb6dd}}</style>',
  ];
  for (const [p, { title: name, x, y, bars, caption }] of panels.entries()) {
    const top = p * panelHeight + head;
    const floor = top + plot;
    const most = Math.max(1, ...bars.map((b) => b.value));
    const step = stepOf(most);
    const full = Math.ceil(most / step) * step;
    const up = (value: number) => Number((floor - (plot * value) / full).toFixed(2));
    const wide = (width - left - right) / Math.max(1, bars.length);
    // Names of bars stand upright where they would run into each other.
    const upright = bars.some((b) => displayWidth(b.label) * 7 + 6 > wide);
    lines.push(`<g role="group" aria-label="${escaped(name)}">`);
    lines.push(`<text x="${left}" y="${top - 28}" font-size="15" font-weight="600">${escaped(name)}</text>`);
    lines.push(`<text x="${left - 8}" y="${top - 12}" text-anchor="end">${escaped(y)}</text>`);
    for (let value = 0; value <= full; value += step) {
      lines.push(
        `<line class="line" x1="${left}" x2="${width - right}" y1="${up(value)}" y2="${up(value)}"${value > 0 ? ' stroke-dasharray="2 4"' : ''}/>`,
      );
      lines.push(`<text x="${left - 8}" y="${up(value) + 4}" text-anchor="end">${value.toLocaleString('en-US')}</text>`);
    }
    for (const [i, { label, value, note }] of bars.entries()) {
      const from = Number((left + i * wide + wide * 0.1).toFixed(2));
      const middle = Number((left + (i + 0.5) * wide).toFixed(2));
      const tall = Number(((plot * value) / full).toFixed(2));
      lines.push(
        `<rect class="bar" x="${from}" y="${up(value)}" width="${Number((wide * 0.8).toFixed(2))}" height="${tall}"><title>${escaped(`${label}: ${note}`)}</title></rect>`,
      );
      lines.push(`<text x="${middle}" y="${up(value) - 4}" text-anchor="middle" font-size="11">${escaped(note)}</text>`);
      lines.push(
        upright
          ? `<text x="${middle + 4}" y="${floor + 8}" text-anchor="end" transform="rotate(-90 ${middle + 4} ${floor + 8})">${escaped(label)}</text>`
          : `<text x="${middle}" y="${floor + 18}" text-anchor="middle">${escaped(label)}</text>`,
      );
    }
    lines.push(`<text x="${width - right}" y="${floor + foot - 30}" text-anchor="end">${escaped(x)}</text>`);
    if (caption) lines.push(`<text x="${left}" y="${floor + foot - 12}">${escaped(caption)}</text>`);
    lines.push('</g>');
  }
  lines.push('</svg>');
  return `${lines.join('\n')}\n`;
}
