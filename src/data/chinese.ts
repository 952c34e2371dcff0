/** Simplified ↔ traditional Chinese, by OpenCC's word tables (opencc-js, Apache-2.0): 头发 ↔ 頭髮, but 发展 ↔ 發展. */
import type { Rule } from './clean.ts';

/** `simplified`, or traditional: `traditional` (OpenCC's standard), `taiwan`, `hongkong` (their characters, not their words). */
export type ChineseForm = 'simplified' | 'traditional' | 'taiwan' | 'hongkong';
const LOCALES = { simplified: 'cn', traditional: 't', taiwan: 'tw', hongkong: 'hk' } as const;

type Convert = (text: string) => string;
const loaded = new Map<ChineseForm, Convert>();

/** A converter into a form; text in that form already is left nearly as it is (a character that both forms share may be read as the other's). */
export async function chineseConverter(to: ChineseForm): Promise<Convert> {
  const known = loaded.get(to);
  if (known) return known;
  const convert =
    to === 'simplified'
      ? (await import('opencc-js/t2cn')).Converter({ from: 't', to: 'cn' })
      : (await import('opencc-js/cn2t')).Converter({ from: 'cn', to: LOCALES[to] });
  loaded.set(to, convert);
  return convert;
}

const HAN = /\p{Script=Han}/u;

/** The Chinese of a text in one form. Text without Han is not touched; Japanese is left alone (kana in more than one letter of ten). */
export const chinese = ({ to = 'simplified' }: { to?: ChineseForm } = {}): Rule => {
  let convert: Convert | undefined;
  return {
    name: `chinese(${to})`,
    async load() {
      convert = await chineseConverter(to);
    },
    apply(text) {
      if (!convert) throw new Error('chinese: load() was not awaited');
      if (!HAN.test(text) || isJapanese(text)) return text;
      return convert(text);
    },
  };
};

const KANA = /[\u3041-\u30ff]/g;
function isJapanese(text: string): boolean {
  const sample = text.slice(0, 4000);
  return (sample.match(KANA)?.length ?? 0) > 0.1 * sample.length;
}
