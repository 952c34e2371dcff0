/** Text that remembers where it came from: each UTF-16 unit with the range of the original text that it stands for. The slow twin of normalize.ts, for offsets. */
import { toByteAlphabet } from './byte-alphabet.ts';
import { Charsmap, base64Bytes } from './charsmap.ts';
import { bertNormalizerSteps, compileNormalizer, lowercase, patternOf } from './normalize.ts';
import type { NormalizerSpec } from './normalize.ts';
import { alignSentencePiece } from './sentencepiece-normalizer.ts';
import { utf8Bytes, utf8Text } from './utf8.ts';

export interface Aligned {
  text: string;
  /** For each unit of the text the range [from, to) of the original, in UTF-16 units; both halves of a pair have the pair's. */
  from: Int32Array;
  to: Int32Array;
}

export function alignedText(text: string, start = 0): Aligned {
  const out = new Builder();
  for (let i = 0; i < text.length; ) {
    const width = text.codePointAt(i)! > 0xffff ? 2 : 1;
    out.add(text.slice(i, i + width), start + i, start + i + width);
    i += width;
  }
  return out.done();
}

export function slice({ text, from, to }: Aligned, start: number, end: number): Aligned {
  return { text: text.slice(start, end), from: from.subarray(start, end), to: to.subarray(start, end) };
}

/** A text in front, with the range of the first character, as the official package has it. */
export function prepend(source: Aligned, prefix: string): Aligned {
  if (source.text === '') return source;
  const out = new Builder();
  out.add(prefix, source.from[0], source.to[0]);
  out.addAll(source);
  return out.done();
}

class Builder {
  #text = '';
  #from: number[] = [];
  #to: number[] = [];
  add(text: string, from: number, to: number): void {
    this.#text += text;
    for (let i = 0; i < text.length; i++) {
      this.#from.push(from);
      this.#to.push(to);
    }
  }

  addAll({ text, from, to }: Aligned): void {
    this.#text += text;
    for (let i = 0; i < text.length; i++) {
      this.#from.push(from[i]);
      this.#to.push(to[i]);
    }
  }

  done(): Aligned {
    return { text: this.#text, from: Int32Array.from(this.#from), to: Int32Array.from(this.#to) };
  }
}

/** Each character by itself becomes a text, which has its range. */
function mapCharacters(source: Aligned, map: (char: string) => string): Aligned {
  const out = new Builder();
  let i = 0;
  for (const char of source.text) {
    out.add(map(char), source.from[i], source.to[i + char.length - 1]);
    i += char.length;
  }
  return out.done();
}

/** Matches of a pattern become a text, which has the range of the last character of the match. */
function replaceMatches(source: Aligned, pattern: RegExp, content: string): Aligned {
  const out = new Builder();
  let done = 0;
  for (const match of source.text.matchAll(pattern)) {
    if (match[0] === '') continue;
    out.addAll(slice(source, done, match.index));
    done = match.index + match[0].length;
    out.add(content, source.from[done - 1], source.to[done - 1]);
  }
  out.addAll(slice(source, done, source.text.length));
  return out.done();
}

/** Old characters against new ones in order: one for one, what is more has the range of the one before, what is fewer is gone. */
function pairUp(out: Builder, source: Aligned, start: number, end: number, text: string): void {
  let at = start;
  let [from, to] = [source.from[start], source.to[start]];
  for (const char of text) {
    if (at < end) {
      [from, to] = [source.from[at], source.to[at]];
      at += source.text.codePointAt(at)! > 0xffff ? 2 : 1;
    }
    out.add(char, from, to);
  }
}

/** A base with its marks, a syllable of Hangul letters (half-width and compatibility letters are letters to NFKC), or a character that touches nothing. */
const cluster =
  /[\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\ud7b0-\ud7ff\uac00-\ud7a3\uffa0-\uffdc]+[\p{M}\uff9e\uff9f]*|\P{M}[\p{M}\u0e33\u0eb3\uff9e\uff9f]*|\p{M}+/gsu;

function normalForm(source: Aligned, form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): Aligned {
  const out = new Builder();
  for (const { 0: match, index } of source.text.matchAll(cluster)) {
    if (form === 'NFC' || form === 'NFKC') composed(out, source, index, index + match.length, form);
    else decomposed(out, source, index, index + match.length, form);
  }
  return out.done();
}

/** Parts of a character have its range, in the order of the text; a composed character that of the first that it is made of. */
function composed(out: Builder, source: Aligned, start: number, end: number, form: 'NFC' | 'NFKC'): void {
  const decomposition = form === 'NFKC' ? 'NFKD' : 'NFD';
  const ranges: [number, number][] = [];
  for (let i = start; i < end; ) {
    const char = String.fromCodePoint(source.text.codePointAt(i)!);
    for (const _ of char.normalize(decomposition)) ranges.push([source.from[i], source.to[i]]);
    i += char.length;
  }
  const text = source.text.slice(start, end).normalize(form);
  let part = 0;
  for (const char of text) {
    const [from, to] = ranges[Math.min(part, ranges.length - 1)];
    out.add(char, from, to);
    part += Array.from(char.normalize(decomposition)).length;
  }
}

/** Marks are in canonical order now: a character that was in the text has the next range of the text, one that came out of another the range before it. */
function decomposed(out: Builder, source: Aligned, start: number, end: number, form: 'NFD' | 'NFKD'): void {
  const parts: [char: string, first: boolean][] = [];
  const ranges: [number, number][] = [];
  for (let i = start; i < end; ) {
    const char = String.fromCodePoint(source.text.codePointAt(i)!);
    ranges.push([source.from[i], source.to[i]]);
    Array.from(char.normalize(form)).forEach((part, k) => parts.push([part, k === 0]));
    i += char.length;
  }
  let next = 0;
  for (const char of source.text.slice(start, end).normalize(form)) {
    const [[, first]] = parts.splice(
      parts.findIndex(([part]) => part === char),
      1,
    );
    if (first) next++;
    out.add(char, ...ranges[Math.max(0, next - 1)]);
  }
}

/** The normalizer of a specification, on aligned text. Its text equals `compileNormalizer`'s. */
export function alignNormalizer(spec: NormalizerSpec): (source: Aligned) => Aligned {
  switch (spec.type) {
    case 'Sequence': {
      const steps = spec.normalizers.map(alignNormalizer);
      return (source) => steps.reduce((s, step) => step(s), source);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (source) => normalForm(source, spec.type as 'NFC');
    case 'Lowercase':
      return (source) => mapCharacters(source, lowercase);
    case 'ByteLevel':
      return (source) => mapCharacters(source, (char) => toByteAlphabet(utf8Bytes(char)));
    case 'StripAccents':
    case 'Nmt': {
      const normalize = compileNormalizer(spec);
      return (source) => mapCharacters(source, normalize);
    }
    case 'BertNormalizer': {
      const { clean, chinese, strip, lower } = bertNormalizerSteps(spec);
      return (source) => {
        if (clean) source = mapCharacters(source, clean);
        if (chinese) source = mapCharacters(source, chinese);
        if (strip) source = mapCharacters(normalForm(source, 'NFD'), (char) => (/\p{Mn}/u.test(char) ? '' : char));
        return lower ? mapCharacters(source, lowercase) : source;
      };
    }
    case 'Strip': {
      const { strip_left: left = true, strip_right: right = true } = spec;
      return (source) => {
        let [start, end] = [0, source.text.length];
        if (left) while (start < end && /\p{White_Space}/u.test(source.text[start])) start++;
        if (right) while (end > start && /\p{White_Space}/u.test(source.text[end - 1])) end--;
        return slice(source, start, end);
      };
    }
    case 'Replace': {
      const pattern = patternOf(spec.pattern);
      return (source) => replaceMatches(source, pattern, spec.content);
    }
    case 'Prepend':
      return (source) => prepend(source, spec.prepend);
    case 'Precompiled':
      return alignCharsmap(spec.precompiled_charsmap);
    case 'SentencePiece': {
      const align = alignSentencePiece(spec);
      return (source) => {
        const { text, from, to } = align(source.text);
        return { text, from: from.map((i) => source.from[i]), to: to.map((i) => source.to[i - 1]) };
      };
    }
  }
}

function alignCharsmap(base64: string): (source: Aligned) => Aligned {
  const map = new Charsmap(base64Bytes(base64), 'tokenizer.json');
  const lookUp = (text: string): string | undefined => {
    const found = map.find(utf8Bytes(text), 0, true);
    return map.matched > 0 ? utf8Text(found) : undefined;
  };
  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  return (source) => {
    const out = new Builder();
    for (const { segment, index } of graphemes.segment(source.text)) {
      const whole = utf8Bytes(segment).length < 6 ? lookUp(segment) : undefined;
      if (whole !== undefined) pairUp(out, source, index, index + segment.length, whole);
      else {
        let at = index;
        for (const char of segment) {
          const mapped = lookUp(char);
          if (mapped === undefined) out.addAll(slice(source, at, at + char.length));
          else pairUp(out, source, at, at + char.length, mapped);
          at += char.length;
        }
      }
    }
    return out.done();
  };
}
