/** `qkv tok compare`: how much text a token holds, of several tokenizers. */
import { z } from 'zod';
import { documents, listSources } from '../../../data/index.ts';
import { settings } from '../../../settings/config.ts';
import { bytes, count } from '../../format.ts';
import { table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { encodeText, loadTokenizer } from './common.ts';

const compareSettings = {
  tokenizer: z.string().min(1).nullable().default(null).meta({
    en: 'a tokenizer.json, a folder that holds one, a run, or byte; again for each tokenizer',
    zh: 'tokenizer.json、含有它的文件夹、某次运行，或 byte；每个词表写一次',
  }),
  'data.field': settings['data.field'],
  'data.documents': settings['data.documents'],
  'data.encoding': settings['data.encoding'],
  'data.encodingErrors': settings['data.encodingErrors'],
};
/** Texts by which an unknown token is known. */
const UNKNOWN = ['<unk>', '[UNK]', '<|unk|>'];
/** Text that is compared on: enough for three digits, little enough to wait for. */
const COMPARE_CHARACTERS = 4e6;

export const tokCompare: Verb = {
  name: 'tok compare',
  about: { en: 'characters and bytes a token of several tokenizers on one text', zh: '几个词表在同一文本上每词元的字符与字节' },
  words: [{ name: 'PATH' }, { name: 'FILE-or-RUN', optional: true, rest: true }],
  settings: compareSettings,
  examples: [
    'qkv tok compare book.txt tokenizer=a.json tokenizer=b.json',
    'qkv tok compare book.txt demo-1 tokenizer.json byte',
    'qkv tok compare rows.jsonl a.json byte data.field=content',
  ],
  async run(args, out) {
    const given = verbSettings(compareSettings, args);
    const [path, ...words] = args.words;
    const names = [...words, ...args.settings.filter((s) => s.key === 'tokenizer').map((s) => s.text)];
    if (names.length === 0) required(null, 'tokenizer=FILE', tokCompare);
    const loaded: ({ name: string } & Awaited<ReturnType<typeof loadTokenizer>>)[] = [];
    for (const name of names) loaded.push({ name, ...(await loadTokenizer(name)) });
    const texts: string[] = [];
    let characters = 0;
    for await (const { text } of documents(await listSources(path), {
      field: given['data.field'],
      documents: given['data.documents'],
      encoding: given['data.encoding'],
      encodingErrors: given['data.encodingErrors'] ?? undefined,
    })) {
      const part =
        characters + text.length > COMPARE_CHARACTERS
          ? text.slice(0, COMPARE_CHARACTERS - characters).replace(/[\ud800-\udbff]$/, '')
          : text;
      texts.push(part);
      characters += part.length;
      if (characters >= COMPARE_CHARACTERS) break;
    }
    const totals = {
      characters: texts.reduce((n, t) => n + [...t].length, 0),
      bytes: texts.reduce((n, t) => n + Buffer.byteLength(t), 0),
    };
    const results = loaded.map(({ name, tokenizer, path: file }) => {
      out.live(name);
      const unknown = UNKNOWN.map((t) => tokenizer.specialTokens.get(t) ?? tokenizer.tokenToId(t)).find((id) => id !== undefined);
      const times = new Map<number, number>();
      let tokens = 0;
      let unknowns = 0;
      const began = performance.now();
      const encoded: Int32Array[] = [];
      for (const text of texts) encoded.push(encodeText(tokenizer, text));
      const seconds = (performance.now() - began) / 1000;
      for (const ids of encoded) {
        tokens += ids.length;
        for (const id of ids) {
          times.set(id, (times.get(id) ?? 0) + 1);
          if (id === unknown) unknowns++;
        }
      }
      return {
        name,
        file,
        kind: tokenizer.kind,
        vocabSize: tokenizer.vocabSize,
        tokens,
        charactersPerToken: totals.characters / tokens,
        bytesPerToken: totals.bytes / tokens,
        bitsPerByte: bitsOf(times.values(), tokens) / totals.bytes,
        used: times.size,
        unknown: unknowns,
        megabytesPerSecond: totals.bytes / 1e6 / seconds,
      };
    });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    const least = Math.min(...results.map((r) => r.tokens));
    out.answer(
      out.style(
        'bold',
        `${path}   ${n(totals.characters)} ${out.t({ en: 'characters', zh: '个字符' })} · ${bytes(totals.bytes)}`,
      ),
    );
    out.answer(
      table(
        out.lang === 'zh'
          ? ['词表', '种类', '项数', '词元', '字符/词元', '字节/词元', '比特/字节', '用到的项', '未知', 'MB/秒']
          : [
              'tokenizer',
              'kind',
              'entries',
              'tokens',
              'characters a token',
              'bytes a token',
              'bits a byte',
              'entries used',
              'unknown',
              'MB/s',
            ],
        results.map((r) => [
          `${r.name}${r.tokens === least && results.length > 1 ? ' ◀' : ''}`,
          r.kind,
          n(r.vocabSize),
          n(r.tokens),
          r.charactersPerToken.toFixed(3),
          r.bytesPerToken.toFixed(3),
          r.bitsPerByte.toFixed(3),
          `${n(r.used)} (${Math.round((100 * r.used) / r.vocabSize)} %)`,
          n(r.unknown),
          r.megabytesPerSecond.toFixed(1),
        ]),
        [2, 3, 4, 5, 6, 7, 8, 9],
      ),
    );
    if (results.length > 1)
      out.say(
        out.t({
          en: '◀ fewest tokens: more text in the same context. Bits a byte: the text coded by how often each token occurs in it, without context. Losses of different tokenizers compare only as bits a byte',
          zh: '◀ 词元最少：同样的上下文容纳更多文本。比特/字节：只按各词元在本文中的频率编码（不看上下文）。不同词表的损失只能按每字节比特比较',
        }),
      );
    out.event({ type: 'result', ok: true, path, ...totals, tokenizers: results });
    return 0;
  },
};

/** Bits that a text takes when each token costs −log₂ of its share. */
function bitsOf(times: Iterable<number>, tokens: number): number {
  let bits = 0;
  for (const n of times) bits -= n * Math.log2(n / tokens);
  return bits;
}
