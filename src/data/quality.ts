/**
 * The quality rules of two corpora that were made from the web, each with its Chinese counterpart.
 * Gopher: Rae et al. 2021, appendix A.1.1. C4: Raffel et al. 2020, §2.2. Han characters stand for words where a text is mostly Chinese (hanShare > 0.3).
 */
import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import type { Rule } from './clean.ts';
import { countLetters, hashWords, hasWords, wordHash, type Words } from './words.ts';

/** Gopher's list. */
const FUNCTION_WORDS = ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'];
const CHINESE_FUNCTION_WORDS = [
  '的',
  '了',
  '是',
  '在',
  '和',
  '不',
  '有',
  '我',
  '这',
  '他',
  '這',
  '們',
  '们',
  '之',
  '也',
  '而',
  '其',
];
/** Hash of a function word as it is written → its number; made at first use. */
let functionHashes: Map<number, number> | undefined;
const functionWordHashes = () =>
  new Map(
    FUNCTION_WORDS.flatMap((w, i) =>
      [w, w[0].toUpperCase() + w.slice(1), w.toUpperCase()].map((spelled) => [wordHash(spelled), i] as const),
    ),
  );

const BULLET = /^\s*(?:[-*•·●◆■□○▪►‣※]|[①-⑳])/;
/** Marks between which a Chinese text has its phrases. */
const CHINESE_MARKS = /[，。！？；：、,.!?;:\n…]+/g;

/**
 * Gopher's quality filter: 50 … 100,000 words; mean word length 3 … 10; at most one # or ellipsis for ten words; at most 90 % of lines begin with a bullet and 30 % end
 * in an ellipsis; 80 % of words have a letter; two of the commonest function words occur.
 * In Chinese: characters are counted; instead of word length, phrases between marks have 2 … 60 characters on average; instead of words with a letter, 60 % of what is not
 * blank are letters; the function words are Chinese ones.
 */
export const gopherQuality = ({ minWords = 50, maxWords = 100_000 } = {}): Rule => ({
  name: `gopherQuality(${minWords},${maxWords})`,
  apply(text, note) {
    const drop = (why: string) => {
      note?.(why);
      return undefined;
    };
    const { letters, han } = countLetters(text);
    const chinese = letters > 0 && han / letters > 0.3;
    functionHashes ??= functionWordHashes(); // before the words of the text: both use the same arrays
    const words = hashWords(text, 'blanks', chinese);
    if (words.count < minWords) return drop('too few words');
    if (words.count > maxWords) return drop('too many words');
    if (chinese) {
      const phrases = (text.match(CHINESE_MARKS)?.length ?? 0) + 1;
      const mean = words.count / phrases;
      if (mean < 2 || mean > 60) return drop('phrase length');
      if (letters < 0.6 * notBlank(text)) return drop('letters');
    } else {
      const mean = words.total / words.count;
      if (mean < 3 || mean > 10) return drop('word length');
      if (words.withLetter < 0.8 * words.count) return drop('letters');
    }
    if (symbolCount(text) > 0.1 * words.count) return drop('symbols');
    let lines = 0;
    let bullets = 0;
    let ellipses = 0;
    eachLine(text, (from, to) => {
      lines++;
      const last = text[to - 1];
      if (last === '…' || (last === '.' && text.endsWith('...', to))) ellipses++;
      const first = text.charCodeAt(from);
      if ((first < 0x30 || first > 0x7a) && BULLET.test(text.slice(from, Math.min(to, from + 8)))) bullets++;
    });
    if (bullets > 0.9 * lines) return drop('bullets');
    if (ellipses > 0.3 * lines) return drop('ellipses');
    return functionWords(text, words, chinese) >= 2 ? text : drop('function words');
  },
});

/** Calls for every line with something in it, without the blanks around. */
function eachLine(text: string, each: (from: number, to: number) => void): void {
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    let from = at;
    let to = end;
    while (from < to && isBlank(text.charCodeAt(from))) from++;
    while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
    if (to > from) each(from, to);
    at = end + 1;
  }
}

const isBlank = (c: number): boolean => c === 32 || (c >= 9 && c <= 13) || c === 0xa0 || c === 0x3000;

/** #, … and ... */
function symbolCount(text: string): number {
  let count = 0;
  for (const symbol of ['#', '…', '...'])
    for (let i = text.indexOf(symbol); i >= 0; i = text.indexOf(symbol, i + symbol.length)) count++;
  return count;
}

function notBlank(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (!isBlank(c) && (c & 0xfc00) !== 0xdc00) count++; // the second half of a pair is no character
  }
  return count;
}

/** How many different function words occur; it stops at two. English ones in lower case, capitalised or in capitals. */
function functionWords(text: string, words: Words, chinese: boolean): number {
  let found = 0;
  if (chinese) {
    for (const word of CHINESE_FUNCTION_WORDS) if (text.includes(word) && ++found >= 2) break;
    return found;
  }
  let seen = 0;
  for (let i = 0; i < words.count; i++) {
    if (words.lengths[i] < 2 || words.lengths[i] > 4) continue;
    const which = functionHashes!.get(words.hashes[i]);
    if (which === undefined || (seen & (1 << which)) !== 0) continue;
    seen |= 1 << which;
    if (++found >= 2) break;
  }
  return found;
}

/** Lines about the page instead of its subject. In lower case. */
const POLICY = [
  'javascript',
  'terms of use',
  'privacy policy',
  'cookie policy',
  'uses cookies',
  'use of cookies',
  'use cookies',
  '使用条款',
  '隐私政策',
  '隐私权政策',
  '用户协议',
  '浏览器版本过低',
];
const speaksOfPolicy = (lower: string): boolean => POLICY.some((words) => lower.includes(words));
/** Marks of sources as Wikipedia sets them. */
const CITATION = /\[(?:\d{1,3}|edit|citation needed|来源请求|來源請求|编辑|需要引用)\]/g;
const LINE_END = new Set('.!?"\'”’。！？…」』）)');
const SENTENCE_END = new Set(Array.from('.!?。！？…', (mark) => mark.charCodeAt(0)));

/**
 * C4's rules: lines that end in a mark and have at least 5 words stay; lines that speak of JavaScript, terms of use or cookies go; marks of sources ([1], [citation needed]) go; documents with
 * placeholder text, with braces (code), with a word of the list `badWords`, or with fewer than 3 sentences left go. In Chinese: 。！？…；”』」 end a line, and 5 characters are enough.
 * C4's own list of bad words is not here: `badWords` names a file with one a line. That the language is English belongs to the rule `languages`, that a passage of three
 * sentences occurs once to deduplicating by paragraph.
 */
export const c4 = ({ minSentences = 3, badWords }: { minSentences?: number; badWords?: string } = {}): Rule => {
  const list =
    badWords === undefined
      ? []
      : readFileSync(badWords, 'utf8')
          .split(/\r?\n/)
          .map((w) => w.trim().toLowerCase())
          .filter((w) => w !== '');
  const bad = list.length > 0 ? new RegExp(list.map(wordPattern).join('|'), 'iu') : undefined;
  const hash = list.length > 0 ? `,${createHash('sha256').update(JSON.stringify(list)).digest('hex').slice(0, 8)}` : '';
  return {
    name: `c4(${minSentences}${hash})`,
    apply(text, note) {
      const drop = (why: string) => {
        note?.(why);
        return undefined;
      };
      if (text.includes('{')) return drop('braces');
      const lower = text.toLowerCase();
      if (lower.includes('lorem ipsum')) return drop('placeholder');
      if (bad?.test(text)) return drop('bad words');
      const policy = speaksOfPolicy(lower);
      if (text.includes('[')) text = text.replace(CITATION, '');
      const { letters, han } = countLetters(text);
      const chinese = letters > 0 && han / letters > 0.3;
      const kept: string[] = [];
      let dropped = 0;
      for (let at = 0; at <= text.length; ) {
        let end = text.indexOf('\n', at);
        if (end < 0) end = text.length;
        let from = at;
        let to = end;
        while (from < to && isBlank(text.charCodeAt(from))) from++;
        while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
        if (from === to || keeps(text, from, to, chinese, policy)) kept.push(text.slice(at, end));
        else dropped++;
        at = end + 1;
      }
      if (dropped > 0) {
        text = kept.join('\n');
        note?.('lines');
      }
      if (text.includes('\n\n\n')) text = text.replace(/\n{3,}/g, '\n\n');
      text = text.trim();
      return sentences(text, minSentences) ? text : drop('too few sentences');
    },
  };
};

/** A word by itself where there are blanks between words, anywhere in Chinese. */
function wordPattern(word: string): string {
  const plain = word.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  return /\p{Script=Han}/u.test(word) ? plain : `(?<![\\p{L}\\p{N}])${plain}(?![\\p{L}\\p{N}])`;
}

function keeps(text: string, from: number, to: number, chinese: boolean, policy: boolean): boolean {
  const last = text[to - 1];
  if (!LINE_END.has(last) && !(chinese && last === '；')) return false;
  if (last === '.' && text.startsWith('...', to - 3) && to - 3 >= from) return false;
  if (policy && speaksOfPolicy(text.slice(from, to).toLowerCase())) return false;
  return hasWords(text, from, to, chinese, 5);
}

/** Whether runs of marks that end sentences are at least so many. */
function sentences(text: string, least: number): boolean {
  let found = 0;
  let before = false;
  for (let i = 0; i < text.length && found < least; i++) {
    const c = text.charCodeAt(i);
    const mark = (c < 0x40 || c === 0x2026 || c === 0x3002 || c > 0xff00) && SENTENCE_END.has(c);
    if (mark && !before) found++;
    before = mark;
  }
  return found >= least;
}
