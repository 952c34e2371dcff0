/** Personal data → placeholders. What can be checked is checked: a number is an identity number or a card only when its check digit is right. */
import type { Rule } from './clean.ts';

const MAIL = /(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*\.[a-z]{2,24}(?![\w-])/gi;
/** Keys that services hand out by a known prefix, tokens of JSON Web Signature, and private keys in PEM. */
const KEY =
  /(?<![\w-])(?:sk-[\w-]{20,}|gh[pousr]_\w{36,}|github_pat_\w{50,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|A[KS]IA[0-9A-Z]{16}|LTAI[A-Za-z0-9]{12,20}|AKID[A-Za-z0-9]{32}|xox[abeprs]-[\w-]{10,}|AIza[\w-]{35}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})(?![\w-])/g;
/** One of these is in every key; looking for each takes a fifth of the time of one pattern for all. */
const KEY_HINTS = ['_', 'k-', 'AKI', 'ASIA', 'AIza', 'LTAI', 'pat-', 'xox', 'yJ'];
const PEM = /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)/g;

/** A stretch of digits and what stands between them in numbers: the patterns below lie within one, with all that they look at. */
const NUMBERS = /[\d(+][\d .()+\-xX]{6,}/g;
const CHINESE_ID = /(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)/g;
const CARD = /(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d.-])/g;
const IPV4 = /(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)/g;
/** Mainland mobile · international with + · Chinese landline with its area code · North American. */
const PHONE =
  /(?<![\d.])(?:\+\d{1,3}[ -]?\(?\d{1,4}\)?(?:[ -]?\d{2,4}){2,4}|1[3-9]\d[ -]?\d{4}[ -]?\d{4}|0(?:10|2\d|[3-9]\d{2})-[2-9]\d{6,7}|\(0(?:10|2\d|[3-9]\d{2})\) ?[2-9]\d{6,7}|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\d.]*\d)/g;
/** Eight groups, or fewer with one `::`, of which there are at least three: `::1` and times of day are nobody's address. */
const IPV6 = /(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,7}(?![\w:])/gi;
const REGION_ID = /(?<![A-Za-z0-9])(?:[A-Z][12]\d{8}|[A-Z]{1,2}\d{6}\([0-9A]\))(?![A-Za-z0-9])/g;

/**
 * Mail addresses, IPv4 and IPv6 addresses, phone numbers (mainland mobile and landline, international with +, North American), identity numbers with a right
 * check digit (mainland, Taiwan, Hong Kong), payment cards with a right check digit, and keys become <EMAIL>, <IP>, <PHONE>, <ID>, <CARD>, <KEY>.
 * The report counts each kind.
 */
export const personal = (): Rule => ({
  name: 'personal',
  apply(text, note) {
    const mask = (what: string): string => {
      note?.(what);
      return `<${what}>`;
    };
    if (text.includes('@')) text = text.replace(MAIL, () => mask('EMAIL'));
    if (KEY_HINTS.some((hint) => text.includes(hint))) text = text.replace(KEY, () => mask('KEY'));
    if (text.includes('PRIVATE KEY-----')) text = text.replace(PEM, () => mask('KEY'));
    text = text.replace(NUMBERS, (numbers) =>
      numbers
        .replace(CHINESE_ID, (id) => (mainlandIdIsValid(id) ? mask('ID') : id))
        .replace(CARD, (number) => (luhn(number.replace(/\D/g, '')) ? mask('CARD') : number))
        .replace(IPV4, () => mask('IP'))
        .replace(PHONE, () => mask('PHONE')),
    );
    if (hasColonInHex(text)) text = text.replace(IPV6, (address) => (isIpv6(address) ? mask('IP') : address));
    if (!/\d{6}/.test(text)) return text;
    return text.replace(REGION_ID, (id) => ((id.endsWith(')') ? hongKongIdIsValid(id) : taiwanIdIsValid(id)) ? mask('ID') : id));
  },
});

/** GB 11643-1999: Σ digit · 2^(18−i) ≡ 1 (mod 11), the last digit X being 10. */
export function mainlandIdIsValid(id: string): boolean {
  let sum = 0;
  for (let i = 0; i < 18; i++) sum += (id[i] === 'X' || id[i] === 'x' ? 10 : Number(id[i])) * (2 ** (17 - i) % 11);
  return sum % 11 === 1;
}

/** The letter stands for 10 … 35 (in this order), its tens count once, its ones nine times, the digits 8 … 1 times and the last once: Σ ≡ 0 (mod 10). */
export function taiwanIdIsValid(id: string): boolean {
  const letter = 'ABCDEFGHJKLMNPQRSTUVXYWZIO'.indexOf(id[0]) + 10;
  let sum = Math.floor(letter / 10) + 9 * (letter % 10) + Number(id[9]);
  for (let i = 1; i < 9; i++) sum += Number(id[i]) * (9 - i);
  return sum % 10 === 0;
}

/** Letters count A = 10 … Z = 35, a missing first letter 36; weights 9 … 1 over letters, digits and the check digit (A = 10): Σ ≡ 0 (mod 11). */
export function hongKongIdIsValid(id: string): boolean {
  const plain = id.replace(/[()]/g, '').padStart(9, ' ');
  let sum = 0;
  for (let i = 0; i < 9; i++) sum += (9 - i) * (plain[i] === ' ' ? 36 : Number.parseInt(plain[i], 36));
  return sum % 11 === 0;
}

/** The check digit of payment cards (ISO/IEC 7812): every second digit from the right counts double. */
export function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const d = Number(digits[digits.length - 1 - i]);
    sum += i % 2 === 0 ? d : d < 5 ? 2 * d : 2 * d - 9;
  }
  return sum % 10 === 0 && /[1-9]/.test(digits);
}

/** Whether a colon stands between what may be hexadecimal digits: the pattern for addresses is slow. */
function hasColonInHex(text: string): boolean {
  for (let i = text.indexOf(':'); i >= 0; i = text.indexOf(':', i + 1))
    if (/^[0-9a-f]:[0-9a-f:]/i.test(text.slice(i - 1, i + 2))) return true;
  return false;
}

/** Eight groups, or `::` once and at least three groups; `12:30:45` is neither. */
function isIpv6(address: string): boolean {
  const groups = address.split(':').filter((g) => g !== '').length;
  const gaps = address.split('::').length - 1;
  return gaps === 0 ? groups === 8 : gaps === 1 && groups >= 3 && groups < 8 && !address.includes(':::');
}
