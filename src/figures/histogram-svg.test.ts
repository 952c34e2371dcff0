import { expect, test } from 'vitest';
import { histogramSvg } from './histogram-svg.ts';

const bars = [3, 0, 41, 12].map((value, i) => ({ label: `< ${2 ** (i + 4)}`, value, note: String(value) }));
const draw = (name = 'Lengths', lang: 'en' | 'zh' = 'en') =>
  histogramSvg([{ title: name, x: 'tokens', y: 'documents', bars, caption: 'median 40' }], {
    title: name,
    description: 'four bars',
    lang,
  });

/** Elements must nest; attributes must be quoted; text must have no bare & or <. A well-formed document leaves nothing on the stack. */
function wellFormed(svg: string): string[] {
  const open: string[] = [];
  const names: string[] = [];
  let rest = svg;
  while (rest !== '') {
    const tag = /^<(\/?)([a-zA-Z]+)((?:\s+[a-zA-Z0-9:-]+="[^"<&]*(?:&(?:amp|lt|gt|quot);[^"<&]*)*")*)\s*(\/?)>/.exec(rest);
    const text = /^(?:[^<&]|&(?:amp|lt|gt|quot);)+/.exec(rest);
    if (tag) {
      const [whole, close, name, , alone] = tag;
      if (close) expect(open.pop()).toBe(name);
      else {
        names.push(name);
        if (!alone) open.push(name);
      }
      rest = rest.slice(whole.length);
    } else if (text) rest = rest.slice(text[0].length);
    else throw new Error(`not XML: ${rest.slice(0, 80)}`);
  }
  expect(open).toEqual([]);
  return names;
}

test('one bar a bin, its height by its value, a title and a description that are referred to, and no script', () => {
  const svg = draw();
  const names = wellFormed(svg);
  expect(names.filter((n) => n === 'rect')).toHaveLength(bars.length);
  expect(new Set(names)).toEqual(new Set(['svg', 'title', 'desc', 'style', 'g', 'text', 'line', 'rect']));
  const heights = [...svg.matchAll(/<rect [^>]*height="([\d.]+)"/g)].map((m) => Number(m[1]));
  const most = Math.max(...heights);
  for (const [i, { value }] of bars.entries()) expect(heights[i] / most).toBeCloseTo(value / 41, 3);
  expect(svg).toMatch(/role="img" lang="en" aria-labelledby="title description"/);
  expect(svg).toContain('<title id="title">Lengths</title>');
  expect(svg).toContain('<desc id="description">four bars</desc>');
  expect(draw()).toBe(svg);
});

test('what stands in names is text: markup, control characters and broken surrogates too', () => {
  const svg = draw('<script>alert("x")</script> & \u0000\ud800 长度', 'zh');
  expect(wellFormed(svg)).not.toContain('script');
  expect(svg).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; \ufffd\ufffd 长度');
  expect(svg).toContain('lang="zh"');
});

test('many bins are named upright; none at all is an empty panel', () => {
  const many = Array.from({ length: 20 }, (_, i) => ({ label: `< ${2 ** i}`, value: i, note: String(i) }));
  const of = (list: typeof many) => histogramSvg([{ title: 't', x: 'x', y: 'y', bars: list }], { title: 't', description: 'd' });
  expect(of(many)).toContain('rotate(-90');
  expect(of(many.slice(0, 3))).not.toContain('rotate');
  wellFormed(of([]));
  expect(of([])).not.toMatch(/NaN|Infinity/);
});
