/** Normalizers of `tokenizer.json`: text → text before anything is split. */
import { compilePattern, literalPattern } from './pattern.ts';
import { readCharsmap } from './charsmap.ts';
import { toByteAlphabet } from './byte-alphabet.ts';
import { compileSentencePiece } from './sentencepiece-normalizer.ts';
import type { SentencePieceNormalizer } from './sentencepiece-normalizer.ts';
import { tokenizerError } from './tokenizer.ts';
import { utf8Bytes } from './utf8.ts';

export type PatternSpec = { String: string } | { Regex: string };

export type NormalizerSpec =
  | { type: 'Sequence'; normalizers: NormalizerSpec[] }
  | { type: 'NFC' | 'NFD' | 'NFKC' | 'NFKD' | 'Lowercase' | 'StripAccents' | 'Nmt' | 'ByteLevel' }
  | {
      type: 'BertNormalizer';
      clean_text?: boolean;
      handle_chinese_chars?: boolean;
      strip_accents?: boolean | null;
      lowercase?: boolean;
    }
  | { type: 'Strip'; strip_left?: boolean; strip_right?: boolean }
  | { type: 'Replace'; pattern: PatternSpec; content: string }
  | { type: 'Prepend'; prepend: string }
  | { type: 'Precompiled'; precompiled_charsmap: string }
  | SentencePieceNormalizer;

export type Normalizer = (text: string) => string;

export function compileNormalizer(spec: NormalizerSpec): Normalizer {
  switch (spec.type) {
    case 'Sequence': {
      const steps = spec.normalizers.map(compileNormalizer);
      return (text) => steps.reduce((t, step) => step(t), text);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(spec.type);
    case 'Lowercase':
      return lowercase;
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '');
    case 'Nmt':
      return nmt;
    case 'ByteLevel':
      return (text) => toByteAlphabet(utf8Bytes(text));
    case 'BertNormalizer':
      return bertNormalizer(spec);
    case 'Strip': {
      const { strip_left: left = true, strip_right: right = true } = spec;
      return (text) => {
        if (left) text = text.replace(/^\p{White_Space}+/u, '');
        return right ? trimEnd(text) : text;
      };
    }
    case 'Replace': {
      const pattern = patternOf(spec.pattern);
      return (text) => text.replace(pattern, () => spec.content);
    }
    case 'Prepend':
      return (text) => (text === '' ? text : spec.prepend + text);
    case 'Precompiled':
      return readCharsmap(spec.precompiled_charsmap);
    case 'SentencePiece':
      return compileSentencePiece(spec);
    default:
      throw tokenizerError(
        `tokenizer.json: the normalizer ${JSON.stringify((spec as { type?: unknown }).type)} is not supported`,
      );
  }
}

export function patternOf(spec: PatternSpec): RegExp {
  return 'Regex' in spec ? compilePattern(spec.Regex) : literalPattern(spec.String);
}

/** Lower case of each character by itself, so that Σ is σ at the end of a word too. */
export function lowercase(text: string): string {
  return text.replace(/Σ/g, 'σ').toLowerCase();
}

/** Without blanks at the end; from the end backwards, since `\s+$` looks at every run of blanks. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** CJK ideographs as BERT counts them (Devlin et al. 2018, multilingual notes): unified, extensions A–E, compatibility. */
const cjk =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

type BertSpec = Extract<NormalizerSpec, { type: 'BertNormalizer' }>;

/** The steps that a BertNormalizer asks for: controls go and blanks become spaces; ideographs stand alone; accents go; letters are small. */
export function bertNormalizerSteps({
  clean_text: clean = true,
  handle_chinese_chars: chinese = true,
  strip_accents: accents,
  lowercase: lower = true,
}: BertSpec): { clean?: Normalizer; chinese?: Normalizer; strip: boolean; lower: boolean } {
  return {
    clean: clean
      ? (text) => text.replace(/(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\ufffd]/gu, '').replace(/\p{White_Space}/gu, ' ')
      : undefined,
    chinese: chinese ? (text) => text.replace(cjk, ' $& ') : undefined,
    strip: accents ?? lower,
    lower,
  };
}

function bertNormalizer(spec: BertSpec): Normalizer {
  const { clean, chinese, strip, lower } = bertNormalizerSteps(spec);
  return (text) => {
    if (clean) text = clean(text);
    if (chinese) text = chinese(text);
    if (strip) text = text.normalize('NFD').replace(/\p{Mn}/gu, '');
    return lower ? lowercase(text) : text;
  };
}

/** SentencePiece's `nmt` rules: controls go, odd blanks become spaces. */
function nmt(text: string): string {
  return text
    .replace(/[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]/g, '')
    .replace(/[\u0009\u000a\u000c\u000d\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, ' ');
}
