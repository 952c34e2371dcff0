/** HTML to text in one scan. Linear in the text whatever is in it: each search for the end of something either moves on, or is remembered as vain. */

const BLOCKS = new Set(
  'address article aside blockquote body br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html li main nav ol option p pre section table td th title tr ul'.split(
    ' ',
  ),
);
/** What is inside is not text. */
const RAW = new Set(['script', 'style', 'noscript', 'template', 'svg', 'head', 'iframe', 'object', 'math', 'canvas']);
/** Around the content of a page, not part of it. */
const FRAME = new Set(['nav', 'footer', 'aside', 'button', 'select', 'menu', 'dialog']);
const FRAME_ATTRIBUTES =
  /\brole\s*=\s*["']?(?:navigation|contentinfo|search|menu|menubar|dialog)\b|\b(?:id|class)\s*=\s*["'](?:[^"']*\s)?(?:cookie[-_]?(?:banner|consent|notice|bar|popup)|consent[-_]?banner|breadcrumbs?|site-(?:footer|header|nav)|sidebar|footer|navbar)(?=[\s"'])/i;
const QUOTE_CHARS = 10_000;

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  ensp: ' ',
  emsp: ' ',
  thinsp: ' ',
  shy: '',
  copy: '©',
  reg: '®',
  trade: '™',
  hellip: '…',
  mdash: '—',
  ndash: '–',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  laquo: '«',
  raquo: '»',
  bull: '•',
  middot: '·',
  times: '×',
  divide: '÷',
  deg: '°',
  plusmn: '±',
  para: '¶',
  sect: '§',
  euro: '€',
  pound: '£',
  yen: '¥',
  cent: '¢',
  larr: '←',
  rarr: '→',
  eacute: 'é',
  egrave: 'è',
  agrave: 'à',
  ccedil: 'ç',
  ouml: 'ö',
  uuml: 'ü',
  auml: 'ä',
  szlig: 'ß',
  ntilde: 'ñ',
};

/** Whether there is a tag or an entity in it. */
export function looksLikeHtml(text: string): boolean {
  return (
    (text.includes('<') && /<(?:[a-zA-Z!/][^<>]*)>/.test(text)) ||
    (text.includes('&') && /&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z]+);/.test(text))
  );
}

/**
 * The text of HTML: comments, scripts, styles and tags go, block tags end a line, entities become characters. In a page (it begins with a tag, or has a block tag
 * for every fourth line end) line ends of the source are blanks, but in `pre`.
 * `content`: also without menus, footers, sidebars, forms and cookie boxes, as far as tags, roles or class names say so.
 */
export function htmlToText(text: string, content = false): string {
  const out: string[] = []; // pieces of the text
  const verbatim: boolean[] = []; // of each, whether its line ends are none of the source's
  const noEnd = new Set<string>(); // names whose end tag does not come any more
  let blocks = 0;
  let pre = 0;
  let frame = ''; // the element that is left out, and how deep we are in elements of its name
  let depth = 0;
  let at = 0;
  let tried = 0; // up to where a tag with quoted values was looked for in vain
  const emit = (from: number, to: number) => {
    if (depth > 0 || from >= to) return;
    out.push(text.slice(from, to));
    verbatim.push(pre > 0);
  };
  const searchEnd = (name: string, from: number): number => {
    if (noEnd.has(name)) return -1;
    const end = new RegExp(name === 'head' ? '</head\\s*>|(?=<body\\b)' : `</${name}\\s*>`, 'gi');
    end.lastIndex = from;
    const found = end.exec(text);
    if (found) return found.index + found[0].length;
    noEnd.add(name);
    return -1;
  };
  for (;;) {
    const open = text.indexOf('<', at);
    if (open < 0) break;
    emit(at, open);
    if (text.startsWith('<!--', open)) {
      const end = text.indexOf('-->', open + 4);
      at = end < 0 ? text.length : end + 3;
      continue;
    }
    let close = tagEnd(text, open, open >= tried);
    if (close < -1) {
      tried = -close;
      close = tagEnd(text, open, false);
    }
    if (close < 0) {
      emit(open, open + 1);
      at = open + 1;
      continue;
    }
    at = close + 1;
    const name = tagName(text, open);
    const ends = text.charCodeAt(open + 1) === 0x2f;
    if (depth > 0) {
      if (name !== frame) continue;
      depth += ends ? -1 : 1;
      if (depth === 0) {
        out.push('\n');
        verbatim.push(false);
      }
      continue;
    }
    if (!ends && RAW.has(name) && text.charCodeAt(close - 1) !== 0x2f) {
      const end = searchEnd(name, at);
      // What is never closed goes on to the end; not so a head, whose end tag may be left out.
      at = end >= 0 ? end : name === 'head' ? at : text.length;
      continue;
    }
    if (
      content &&
      !ends &&
      (FRAME.has(name) ||
        ((name === 'div' || name === 'section' || name === 'ul' || name === 'header') &&
          close - open < 1000 &&
          FRAME_ATTRIBUTES.test(text.slice(open, close)))) &&
      searchEnd(name, at) >= 0
    ) {
      frame = name;
      depth = 1;
      continue;
    }
    if (BLOCKS.has(name)) {
      blocks++;
      out.push('\n');
      verbatim.push(true);
      if (name === 'pre') pre = Math.max(0, pre + (ends ? -1 : 1));
    }
  }
  emit(at, text.length);
  if (depth > 0) return htmlToText(text); // its end tags are too few: better all of it than none
  let lines = 0;
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) lines++;
  const page = /^\s*<[a-z!]/i.test(text.slice(0, 1000)) || 4 * blocks >= lines;
  if (page) for (let i = 0; i < out.length; i++) if (!verbatim[i] && out[i].includes('\n')) out[i] = out[i].replaceAll('\n', ' ');
  let plain = out.join('');
  if (plain.includes('&')) plain = decodeEntities(plain);
  plain = blanksOnce(plain).trim();
  return content && plain === '' ? htmlToText(text) : plain;
}

/** Blanks and tabs in a row become one blank, none beside a line end; at most two line ends in a row. In one pass: patterns for it take longer than all the tags. */
function blanksOnce(text: string): string {
  let out = '';
  let from = 0; // what is before it is in `out`
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 32) continue;
    let lines = 0;
    let end = i;
    for (; ; end++) {
      const c = text.charCodeAt(end);
      if (c === 10) lines++;
      else if (c !== 32 && c !== 9) break;
    }
    const run = end - i;
    if (run > 2 || (run === 2 && lines < 2) || (run === 1 && text.charCodeAt(i) === 9)) {
      out += text.slice(from, i) + (lines === 0 ? ' ' : lines === 1 ? '\n' : '\n\n');
      from = end;
    }
    if (run > 0) i = end - 1;
  }
  return from === 0 ? text : out + text.slice(from);
}

/**
 * Place of the `>` that ends the tag at `open`; −1 when what is there is no tag. With `quotes` a `>` or `<` inside a quoted value ends nothing, and
 * −(place) says up to where there was no end: the next try there goes without quotes, so that no stretch is read more than twice.
 */
function tagEnd(text: string, open: number, quotes: boolean): number {
  const first = text.charCodeAt(open + 1) | 32;
  const starts = (first >= 0x61 && first <= 0x7a) || text[open + 1] === '/' || text[open + 1] === '!' || text[open + 1] === '?';
  if (!starts) return -1;
  let quoted = false;
  for (let i = open + 2; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x3e) return i;
    if (c === 0x3c) return quoted ? -Math.max(2, i) : -1;
    if (c !== 0x3d || !quotes) continue;
    const quote = text[i + 1];
    if (quote !== '"' && quote !== "'") continue;
    for (let k = i + 2; k < Math.min(text.length, i + QUOTE_CHARS); k++)
      if (text[k] === quote) {
        i = k;
        quoted = true;
        break;
      }
  }
  return quoted ? -Math.max(2, text.length) : -1;
}

function tagName(text: string, open: number): string {
  const from = text.charCodeAt(open + 1) === 0x2f ? open + 2 : open + 1;
  let to = from;
  for (; to < from + 20; to++) {
    const c = text.charCodeAt(to);
    if (!((c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a) || (c >= 0x30 && c <= 0x39))) break;
  }
  return text.slice(from, to).toLowerCase();
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/gi, (all, decimal, hex, name) => {
    if (name) return ENTITIES[name] ?? ENTITIES[name.toLowerCase()] ?? all;
    const point = decimal ? Number(decimal) : Number.parseInt(hex, 16);
    return point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff) ? String.fromCodePoint(point) : all;
  });
}
