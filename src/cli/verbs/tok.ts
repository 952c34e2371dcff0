/** `qkv tok train|encode|show|compare`: a tokenizer from text, a text in its tokens, a vocabulary to look at. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { documents, listSources } from '../../data/index.ts';
import { QkvError } from '../../errors.ts';
import { bars } from '../../figures/terminal.ts';
import { padStart } from '../../figures/width.ts';
import { hasTokenizer, loadTokenizer as loadFile } from '../../io/load-tokenizer.ts';
import { resolveRun } from '../../io/run-folder.ts';
import {
  byteTokenizer,
  charTokenizer,
  describeToken,
  type EncodeOptions,
  type Tokenizer,
  tokenizerToJson,
  trainBpe,
} from '../../tokenizers/index.ts';
import { resolve, settings, settingsOfArguments } from '../../settings/config.ts';
import { bytes, count } from '../format.ts';
import { here, shellWord } from '../messages.ts';
import { printable, table } from '../output.ts';
import type { Verb } from '../verb.ts';
import { required, verbSettings } from '../verb-settings.ts';

const trainKeys = [
  'tokenizer',
  'vocabSize',
  'pattern',
  'data.field',
  'data.documents',
  'data.encoding',
  'data.encodingErrors',
  'data.maxRejected',
] as const;
/** A vocabulary settles long before this much text; more only costs memory. */
const MOST_CHARACTERS = 100e6;
const END_OF_TEXT = '<|endoftext|>';

/** The tokenizer that FILE-or-RUN means: a file of any known format, a folder that holds one, a run, or `byte`, which needs no file. */
export async function loadTokenizer(word: string): Promise<{ tokenizer: Tokenizer; path: string }> {
  if (word === 'byte' && !existsSync(word)) return { tokenizer: byteTokenizer({ specialTokens: [END_OF_TEXT] }), path: 'byte' };
  return loadFile(hasTokenizer(word) ? word : join(resolveRun(word).folder, 'tokenizer.json'));
}

/** Encodes, and names the first character that the vocabulary lacks (E162). */
export function encodeText(tokenizer: Tokenizer, text: string, options: EncodeOptions = {}): Int32Array {
  try {
    return tokenizer.encode(text, options);
  } catch (error) {
    // Which character? The error of a whole text does not say where.
    let position = 0;
    for (const char of text) {
      try {
        tokenizer.encode(char);
      } catch {
        throw new QkvError('E162', `the tokenizer does not know "${char}"`, { char, position, vocabSize: tokenizer.vocabSize });
      }
      position++;
    }
    throw error;
  }
}

export const tokTrain: Verb = {
  name: 'tok train',
  about: { en: 'a tokenizer.json from text', zh: '从文本训练 tokenizer.json' },
  words: [{ name: 'PATH' }],
  settings: Object.fromEntries(trainKeys.map((k) => [k, settings[k]])),
  flags: [
    { name: 'out', takes: 'text', about: { en: 'file to write (tokenizer.json)', zh: '写到哪个文件（tokenizer.json）' } },
    { name: 'force', about: { en: 'write over a file that exists', zh: '覆盖已有文件' } },
  ],
  examples: [
    'qkv tok train book.txt vocabSize=4096',
    'qkv tok train data/ pattern=cjk --out zh.json',
    'qkv tok train book.txt tokenizer=char',
  ],
  async run({ words: [path], settings: given, flags }, out) {
    const { config } = resolve([], settingsOfArguments(given), { needData: false });
    const file = (flags['out'] as string | undefined) ?? 'tokenizer.json';
    if (existsSync(file) && !flags['force']) throw new QkvError('E158', `${file} exists`, { path: file });
    const files = await listSources(path);
    const began = performance.now();
    const texts: string[] = [];
    let characters = 0;
    let cut = false;
    for await (const piece of documents(files, {
      field: config['data.field'],
      documents: config['data.documents'],
      encoding: config['data.encoding'],
      encodingErrors: config['data.encodingErrors'] ?? undefined,
    })) {
      texts.push(piece.text);
      characters += piece.text.length;
      if (characters > MOST_CHARACTERS) {
        cut = true;
        break;
      }
    }
    let said = 0;
    const tokenizer: Tokenizer =
      config.tokenizer === 'char'
        ? charTokenizer(texts, { specialTokens: [END_OF_TEXT] })
        : config.tokenizer === 'byte'
          ? byteTokenizer({ specialTokens: [END_OF_TEXT] })
          : trainBpe(texts, {
              vocabSize: config.vocabSize,
              pattern: config.pattern,
              specialTokens: [END_OF_TEXT],
              onProgress(p) {
                if (performance.now() - said < 100) return;
                said = performance.now();
                out.live(
                  p.stage === 'count'
                    ? `${count(p.characters, out.lang)} / ${count(characters, out.lang)}`
                    : `${count(p.vocabulary, out.lang)} / ${count(config.vocabSize, out.lang)}`,
                );
              },
            });
    out.live('');
    const seconds = (performance.now() - began) / 1000;
    writeFileSync(file, tokenizerToJson(tokenizer));
    // How much a token holds, on text that it may have seen: the start of each document.
    const probe = texts.slice(0, 200).map((t) => t.slice(0, 5000));
    const probeBytes = probe.reduce((n, t) => n + Buffer.byteLength(t), 0);
    const probeTokens = probe.reduce((n, t) => n + tokenizer.encode(t).length, 0);
    const bytesPerToken = probeBytes / Math.max(1, probeTokens);
    const n = (x: number) => count(x, out.lang);
    out.answer(
      `${out.style('green', '✔')} ${here(file)}  ${out.t({
        en: `${tokenizer.kind === 'bpe' ? config.tokenizer : tokenizer.kind} · ${n(tokenizer.vocabSize)} entries · ${bytesPerToken.toFixed(2)} bytes a token · from ${n(characters)} characters in ${seconds.toFixed(1)} s${cut ? ' (the rest of the text was not needed)' : ''}`,
        zh: `${tokenizer.kind === 'bpe' ? config.tokenizer : tokenizer.kind} · ${n(tokenizer.vocabSize)} 项 · 每词元 ${bytesPerToken.toFixed(2)} 字节 · 来自 ${n(characters)} 个字符，用时 ${seconds.toFixed(1)} 秒${cut ? '（其余文本不需要）' : ''}`,
      })}`,
    );
    if (config.tokenizer === 'bpe' && tokenizer.vocabSize < config.vocabSize) {
      out.say(
        out.t({
          en: `The text has no more pairs to merge; ${n(config.vocabSize)} were wanted`,
          zh: `文本里没有更多可合并的对；原想要 ${n(config.vocabSize)} 项`,
        }),
      );
    }
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv tok show ${shellWord(here(file))}   ·   qkv train data=${shellWord(here(path))} tokenizer=${shellWord(here(file))}`,
    );
    out.event({
      type: 'result',
      ok: true,
      file,
      kind: config.tokenizer,
      vocabSize: tokenizer.vocabSize,
      bytesPerToken,
      characters,
      seconds,
    });
    return 0;
  },
};

export const tokEncode: Verb = {
  name: 'tok encode',
  about: { en: 'a text cut into tokens', zh: '把文本切成词元' },
  words: [{ name: 'FILE-or-RUN' }, { name: 'TEXT', optional: true, rest: true }],
  examples: [
    'qkv tok encode tokenizer.json "Call me Ishmael."',
    'qkv tok encode demo-1 "解码器的核心是注意力"',
    'qkv tok encode demo-1 --json "a=b"',
  ],
  async run({ words: [word, ...texts] }, out) {
    const { tokenizer } = await loadTokenizer(word);
    const text = texts.length > 0 ? texts.join(' ') : process.stdin.isTTY ? '' : readFileSync(0, 'utf8');
    if (text === '') throw new QkvError('E161', 'the text is empty', { verb: 'tok encode' });
    const ids = encodeText(tokenizer, text);
    const tokens = Array.from(ids, (id) => describeToken(tokenizer, id));
    // Token edges in the text, with every second token marked, so that neighbours can be told apart without colour.
    out.answer(
      tokens.map((t, i) => (i % 2 ? out.style('cyan', printable(t.text)) : printable(t.text))).join(out.style('dim', '|')),
    );
    out.answer(Array.from(ids).join(' '));
    const characters = [...text].length;
    out.say(
      out.t({
        en: `${count(ids.length, 'en')} tokens · ${count(characters, 'en')} characters · ${bytes(Buffer.byteLength(text))} · ${(characters / ids.length).toFixed(2)} characters a token`,
        zh: `${count(ids.length, 'zh')} 个词元 · ${count(characters, 'zh')} 个字符 · ${bytes(Buffer.byteLength(text))} · 每词元 ${(characters / ids.length).toFixed(2)} 个字符`,
      }),
    );
    out.event({
      type: 'result',
      ok: true,
      ids,
      tokens: tokens.map((t) => ({ id: t.id, text: t.text, bytes: t.hex })),
      characters,
    });
    return 0;
  },
};

export const tokShow: Verb = {
  name: 'tok show',
  about: { en: 'what a vocabulary holds', zh: '词表里有什么' },
  words: [{ name: 'FILE-or-RUN' }],
  flags: [
    { name: 'find', takes: 'text', about: { en: 'entries that hold this text', zh: '含有这段文字的条目' } },
    { name: 'from', takes: 'number', about: { en: 'first id to list', zh: '从哪个 id 开始列' } },
    { name: 'top', takes: 'number', about: { en: 'entries to list (40)', zh: '列出几项（40）' } },
  ],
  examples: ['qkv tok show demo-1', 'qkv tok show tokenizer.json --from 300 --top 20', 'qkv tok show demo-1 --find the'],
  async run({ words: [word], flags }, out) {
    const { tokenizer, path } = await loadTokenizer(word);
    const most = (flags['top'] as number | undefined) ?? 40;
    const find = flags['find'] as string | undefined;
    const lengths = new Map<number, number>();
    let broken = 0;
    const found: ReturnType<typeof describeToken>[] = [];
    const special = new Set(tokenizer.specialTokens.values());
    const first = (flags['from'] as number | undefined) ?? (find === undefined ? Math.max(0, tokenizer.vocabSize - most) : 0);
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const raw = tokenizer.tokenBytes(id);
      if (!special.has(id)) {
        lengths.set(raw.length, (lengths.get(raw.length) ?? 0) + 1);
        if (Buffer.from(raw).toString('utf8').includes('\ufffd')) broken++;
      }
      if (found.length < most && id >= first) {
        const token = describeToken(tokenizer, id);
        if (find === undefined || Buffer.from(raw).toString('utf8').includes(find) || token.token.includes(find))
          found.push(token);
      }
    }
    out.answer(
      out.style(
        'bold',
        `${here(path)}   ${tokenizer.kind} · ${count(tokenizer.vocabSize, out.lang)} ${out.t({ en: 'entries', zh: '项' })}`,
      ),
    );
    if (special.size)
      out.answer(
        `${out.t({ en: 'special', zh: '特殊' })}: ${[...tokenizer.specialTokens].map(([t, id]) => `${printable(t)} = ${id}`).join('  ')}`,
      );
    if (broken)
      out.answer(
        out.t({ en: `${count(broken, 'en')} entries are parts of a character`, zh: `${count(broken, 'zh')} 项是字符的一部分` }),
      );
    out.answer();
    out.answer(out.t({ en: 'bytes an entry', zh: '每项字节数' }));
    const longest = [...lengths.keys()].sort((a, b) => a - b).filter((k) => k <= 16);
    out.answer(
      bars(
        longest.map((k) => ({ label: String(k), value: lengths.get(k)!, note: count(lengths.get(k)!, out.lang) })),
        { length: 32 },
      ),
    );
    out.answer();
    out.answer(
      table(
        out.lang === 'zh' ? ['id', '文字', '字节'] : ['id', 'text', 'bytes'],
        found.map((t) => [padStart(String(t.id), 5), printable(t.text), t.hex]),
      ),
    );
    if (found.length === 0) out.answer(out.t({ en: 'nothing found', zh: '没有找到' }));
    out.event({
      type: 'result',
      ok: true,
      path,
      kind: tokenizer.kind,
      vocabSize: tokenizer.vocabSize,
      special: [...tokenizer.specialTokens],
      brokenEntries: broken,
      entries: found,
    });
    return 0;
  },
};

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
      const used = new Set<number>();
      let tokens = 0;
      let unknowns = 0;
      const began = performance.now();
      const encoded: Int32Array[] = [];
      for (const text of texts) encoded.push(encodeText(tokenizer, text));
      const seconds = (performance.now() - began) / 1000;
      for (const ids of encoded) {
        tokens += ids.length;
        for (const id of ids) {
          used.add(id);
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
        used: used.size,
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
          ? ['词表', '种类', '项数', '词元', '字符/词元', '字节/词元', '用到的项', '未知', 'MB/秒']
          : ['tokenizer', 'kind', 'entries', 'tokens', 'characters a token', 'bytes a token', 'entries used', 'unknown', 'MB/s'],
        results.map((r) => [
          `${r.name}${r.tokens === least && results.length > 1 ? ' ◀' : ''}`,
          r.kind,
          n(r.vocabSize),
          n(r.tokens),
          r.charactersPerToken.toFixed(3),
          r.bytesPerToken.toFixed(3),
          `${n(r.used)} (${Math.round((100 * r.used) / r.vocabSize)} %)`,
          n(r.unknown),
          r.megabytesPerSecond.toFixed(1),
        ]),
        [2, 3, 4, 5, 6, 7, 8],
      ),
    );
    if (results.length > 1)
      out.say(
        out.t({
          en: '◀ fewest tokens: more text in the same context. Losses of different tokenizers compare only as bits a byte',
          zh: '◀ 词元最少：同样的上下文容纳更多文本。不同词表的损失只能按每字节比特比较',
        }),
      );
    out.event({ type: 'result', ok: true, path, ...totals, tokenizers: results });
    return 0;
  },
};

const UNKNOWN = ['<unk>', '[UNK]', '<|unk|>'];
