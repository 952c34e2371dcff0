/**
 * Which language is a text in? Chinese, Japanese and Korean are told by their scripts, the others by letter n-grams (ELD 2.1, Apache-2.0: 60 languages, by itself).
 * Codes are ISO 639-1; `und` where there are too few letters to tell.
 */
import type { Rule } from './clean.ts';
import { countLetters } from './words.ts';

interface Detector {
  detect(text: string): { language: string };
}
let detector: Detector | undefined;

/** Loads the n-grams (some 0.2 s, once). */
export async function loadLanguages(): Promise<void> {
  if (!detector) detector = (await import('eld/small')).default;
}

/** Characters that are looked at: from the beginning, the middle and the end. */
const SAMPLE = 400;

/** The language of a text, from three stretches of it. `loadLanguages` comes first. */
export function languageOf(text: string): string {
  if (!detector) throw new Error('languageOf: loadLanguages() was not awaited');
  const sample = sampleOf(text);
  const { letters, han, kana, hangul } = countLetters(sample);
  if (letters < 2) return 'und';
  if (kana > 0.1 * letters) return 'ja';
  if (hangul > 0.3 * letters) return 'ko';
  if (han > 0.3 * letters) return 'zh';
  return detector.detect(sample).language || 'und';
}

/** Three stretches, cut at blanks, so that no n-gram is half a word. */
function sampleOf(text: string): string {
  if (text.length <= SAMPLE) return text;
  const part = Math.floor(SAMPLE / 3);
  return [0, (text.length - part) >> 1, text.length - part]
    .map((from) => {
      const piece = text.slice(from, from + part);
      const first = from === 0 ? 0 : piece.search(/\s/) + 1; // 0 where there is no blank
      return piece.slice(first);
    })
    .join(' ');
}

/** Keeps documents in one of the languages (ISO 639-1: `en`, `zh`, `ja` …). The report counts the languages that came by. */
export const languages = ({ codes }: { codes: readonly string[] }): Rule => ({
  name: `languages(${codes.join(',')})`,
  load: loadLanguages,
  apply(text, note) {
    const language = languageOf(text);
    note?.(language);
    return codes.includes(language) ? text : undefined;
  },
});
