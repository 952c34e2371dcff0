/** What surrounds the content of a page: menus, cookie notices, footers; and lines that a site repeats on all its pages. */
import type { Rule } from './clean.ts';
import { hasWords } from './words.ts';

/** Lines that speak of the page instead of its subject. They are looked for in short lines only. */
const NOTICES: readonly RegExp[] = [
  // cookies and consent
  /\b(?:uses?|using|accept(?:ing)?|allow|manage|reject) (?:all |our |of )?cookies?\b|\bcookies? (?:policy|settings|preferences|notice)\b|\bwe value your privacy\b/i,
  /(?:本网站|本站|我们)(?:会)?使用.{0,6}cookie|(?:接受|拒绝|管理)(?:所有|全部)?\s?cookie|cookie\s?(?:政策|设置|偏好)/i,
  // rights, registration of Chinese sites
  /^\W{0,3}(?:copyright\b|\(c\)\s*\d{4}|©)|\ball rights reserved\b/i,
  /版权所有|版權所有|保留所有权利|(?:[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]\s?ICP\s?[备证]|公网安备|违法和不良信息举报|增值电信业务经营许可证)/,
  // navigation
  /^(?:skip to (?:main )?content|back to top|(?:previous|next|older|newer) (?:post|article|page|entry)s?|read more|continue reading|share (?:this|on)\b.{0,40}|follow us\b.{0,40}|(?:sign|log) ?(?:in|up|out)(?: or (?:sign|log) ?(?:in|up))?|subscribe(?: to our newsletter| now)?|leave a (?:reply|comment)|powered by .{1,40}|(?:all )?categories|tags?:.{0,60}|print this page|related (?:posts|articles|stories))[\s.:»›→]*$/i,
  /^(?:上一[篇页頁章]|下一[篇页頁章]|返回(?:顶部|首页|目录|列表|頂部|首頁)|阅读(?:全文|更多|原文)|閱讀(?:全文|更多)|查看更多|更多(?:内容|精彩).{0,10}|点击(?:查看|进入|下载|关注).{0,20}|扫(?:一扫|码|描二维码).{0,20}|分享(?:到|至).{0,30}|责任编辑[：:].{0,20}|編輯[：:].{0,20}|编辑[：:].{0,20}|来源[：:].{0,30}|相关(?:阅读|文章|推荐|新闻)|猜你喜欢|热门(?:推荐|文章|标签)|登录|注册|登录[/|·]注册|联系我们|关于我们|网站地图|友情链接.{0,40}|收藏本站|设为首页|当前位置[：:].{0,60}|您(?:的|现在的)位置[：:].{0,60})[\s。.：:»›→]*$/,
];
const SHORT = 160;
/** Short lines without a mark at their end, this many of them in a row, are a menu. */
const MENU_LINES = 5;

/**
 * Drops lines that are menus (five or more in a row of at most three words or four Han characters, or one line of short items with bars between), cookie notices,
 * copyright lines, registration numbers and links for getting around. For pages: a poem may look like a menu.
 */
export const boilerplate = (): Rule => ({
  name: 'boilerplate',
  apply(text, note) {
    const lines = text.split('\n');
    const drop = new Uint8Array(lines.length);
    let dropped = 0;
    let run: number[] = [];
    const endRun = () => {
      if (run.length >= MENU_LINES)
        for (const i of run) {
          if (!drop[i]) dropped++;
          drop[i] = 1;
          note?.('menu');
        }
      run = [];
    };
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i];
      if (line.length > SHORT) {
        endRun();
        continue;
      }
      const trimmed = line.trim();
      if (trimmed === '') continue; // between the lines of a menu there may be empty ones
      if (NOTICES.some((n) => n.test(trimmed))) {
        drop[i] = 1;
        dropped++;
        note?.('notice');
        continue;
      }
      if (isMenuLine(trimmed)) {
        drop[i] = 1;
        dropped++;
        note?.('menu');
        continue;
      }
      if (isMenuItem(trimmed)) run.push(i);
      else endRun();
    }
    endRun();
    return dropped === 0 ? text : withoutLines(lines, (i) => drop[i] === 1);
  },
});

const isMenuItem = (line: string): boolean =>
  line.length <= 40 &&
  !/[.!?。！？…;；,，:：”"」』）)]$/.test(line) &&
  !hasWords(line, 0, line.length, /^\P{L}*\p{Script=Han}/u.test(line), /\p{Script=Han}/u.test(line) ? 5 : 4);

/** `Home | News | About us | Contact`, `首页 > 新闻 > 国内`: four short items or more. */
function isMenuLine(line: string): boolean {
  for (const bar of ['|', '｜', '·', '»', '›', '>', '•']) {
    if (!line.includes(bar)) continue;
    const items = line.split(bar);
    if (
      items.length >= (bar === '>' || bar === '»' || bar === '›' ? 3 : 4) &&
      items.every((item) => item.trim().length <= 20 && !/[.!?。！？，,]/.test(item))
    )
      return true;
  }
  return false;
}

function withoutLines(lines: readonly string[], drop: (i: number) => boolean): string {
  return lines
    .filter((_, i) => !drop(i))
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

const COUNTERS = 1 << 22;
const LONGEST = 300;

/**
 * Drops lines that stand in at least `documents` different documents: what a site puts on each page. The only rule that knows other documents: it reads all
 * of the text before the first document is cleaned (with the rules before it applied), in 32 MB however many lines there are; a line is counted too often, never too
 * seldom (count-min sketch of 4 × 2²² counters; Cormode & Muthukrishnan 2005). Parts that are cleaned each for itself know only their own lines.
 */
export const repeatedLines = ({ documents = 10 } = {}): Rule => {
  const counters = [0, 1, 2, 3].map(() => new Uint16Array(COUNTERS));
  const places = new Uint32Array(4);
  const place = (line: string): void => {
    let h = 0x811c9dc5;
    for (let i = 0; i < line.length; i++) h = Math.imul(h ^ line.charCodeAt(i), 0x01000193);
    let g = line.length;
    for (let i = 0; i < line.length; i++) g = (Math.imul(g, 0x9e3779b1) + line.charCodeAt(i)) | 0;
    for (let k = 0; k < 4; k++) {
      let x = Math.imul(h + Math.imul(k, g | 1), 0x2c1b3c6d);
      x = Math.imul(x ^ (x >>> 15), 0x297a2d39);
      places[k] = (x ^ (x >>> 15)) & (COUNTERS - 1);
    }
  };
  const countOf = (): number => Math.min(...counters.map((c, k) => c[places[k]]));
  const candidate = (line: string): boolean => line !== '' && line.length <= LONGEST;
  return {
    name: `repeatedLines(${documents})`,
    learn(text) {
      for (const line of new Set(text.split('\n').map((l) => l.trim()))) {
        if (!candidate(line)) continue;
        place(line);
        const count = countOf();
        if (count === 0xffff) continue;
        for (let k = 0; k < 4; k++) if (counters[k][places[k]] === count) counters[k][places[k]] = count + 1;
      }
    },
    learned: () => counters.map((c) => new Uint8Array(c.buffer)),
    apply(text, note) {
      const lines = text.split('\n');
      const drop = lines.map((l) => {
        const line = l.trim();
        if (!candidate(line)) return false;
        place(line);
        return countOf() >= documents;
      });
      const dropped = drop.filter(Boolean).length;
      for (let i = 0; i < dropped; i++) note?.('line');
      return dropped === 0 ? text : withoutLines(lines, (i) => drop[i]);
    },
  };
};
