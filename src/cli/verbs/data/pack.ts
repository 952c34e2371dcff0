/** `qkv data pack`: text into token shards with a manifest. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { inThreads } from '../../../applications/encode-threads.ts';
import { chatTemplateOf, dialogueEncoder } from '../../../applications/dialogues.ts';
import { holdsDialogues, isShardName, prepareData } from '../../../data/index.ts';
import { QkvError } from '../../../errors.ts';
import { settings } from '../../../settings/config.ts';
import { byteTokenizer, chatmlTokens } from '../../../tokenizers/index.ts';
import { bytes, count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import { printable, table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { loadTokenizer } from '../tok/index.ts';
import {
  about,
  forceFlag,
  freeFolder,
  frugalHeap,
  outFolder,
  passOptions,
  reading,
  sayLost,
  sayRows,
  tokenizerWord,
} from './common.ts';

const packSettings = {
  tokenizer: tokenizerWord,
  out: outFolder,
  valFraction: settings.valFraction,
  'data.split': settings['data.split'],
  threads: z
    .int()
    .min(1)
    .max(256)
    .nullable()
    .default(null)
    .meta(
      about(
        'threads that encode (one a core for large input); the shards are the same whatever the number',
        '编码用的线程数（输入大时每核一个）；分片与线程数无关',
      ),
    ),
  ...reading,
};
export const dataPack: Verb = {
  name: 'data pack',
  about: {
    en: 'text, or dialogues with their answers marked, into token shards with a manifest, ready to train on',
    zh: '把文本，或标出回答的对话，变成带清单的词元分片，可直接训练',
  },
  words: [{ name: 'PATH' }],
  settings: packSettings,
  flags: [forceFlag],
  examples: [
    'qkv data pack parts/train.jsonl tokenizer=tokenizer.json out=shards',
    'qkv data pack book.txt tokenizer=byte out=shards valFraction=0.05',
    'qkv data pack hub:org/name tokenizer=tokenizer.json out=shards',
    'qkv data pack chats.jsonl tokenizer=models/some-chat-model out=shards',
    'qkv data pack - tokenizer=tokenizer.json out=shards',
  ],
  async run(args, out) {
    const given = verbSettings(packSettings, args);
    const folder = required(given.out, 'out=FOLDER', dataPack);
    const word = required(given.tokenizer, 'tokenizer=FILE', dataPack);
    const { onProgress, ...options } = passOptions(given, out);
    const talks = await holdsDialogues(args.words[0], options);
    const { tokenizer, path } = talks && word === 'byte' ? byteTokenizerOfChats : await loadTokenizer(word);
    if (!existsSync(join(folder, 'manifest.json')) && !looksUnfinished(folder)) freeFolder(folder);
    frugalHeap();
    const began = performance.now();
    const prepared = await prepareData({
      ...options,
      path: args.words[0],
      tokenizer,
      dialogues: talks ? dialogueEncoder(tokenizer, await chatTemplateOf(tokenizer, path)) : undefined,
      inThreads: inThreads(tokenizer),
      threads: given.threads ?? undefined,
      outDir: folder,
      valFraction: given.valFraction,
      split: given['data.split'],
      onProgress(p) {
        if (p.kind === 'reading') onProgress?.(p);
        if (p.kind === 'lost') sayLost(out, { why: p.why, names: p.names });
        if (p.kind === 'resumed') {
          out.event({ type: 'resumed', shards: p.shards, tokens: p.tokens });
          out.say(
            out.t({
              en: `going on behind ${count(p.shards, out.lang)} finished shard(s) of a run that was cut off`,
              zh: `上次中断的运行已完成 ${count(p.shards, out.lang)} 个分片，从其后继续`,
            }),
          );
        }
        // Other tokens are here: they stay, unless the command says otherwise.
        if (p.kind === 'rebuild' && !args.flags['force'])
          throw new QkvError('E158', `${folder}: ${p.reason}`, { path: folder, setting: 'out', reason: p.reason });
      },
    });
    out.live('');
    prepared.close();
    const { manifest, reused } = prepared;
    const seconds = (performance.now() - began) / 1000;
    const n = (x: number) => count(x, out.lang);
    out.answer(
      table(
        out.lang === 'zh'
          ? ['部分', talks ? '对话' : '文档', '词元', ...(talks ? ['回答的词元'] : []), '字节', '字节/词元']
          : ['part', talks ? 'dialogues' : 'documents', 'tokens', ...(talks ? ['of answers'] : []), 'bytes', 'bytes a token'],
        (['train', 'val'] as const).map((set) => [
          set,
          n(manifest[set].documents),
          n(manifest[set].tokens),
          ...(talks ? [n(manifest[set].answerTokens ?? 0)] : []),
          bytes(manifest[set].bytes),
          (manifest[set].bytes / Math.max(1, manifest[set].tokens)).toFixed(2),
        ]),
        [1, 2, 3, 4, 5],
      ),
    );
    const kinds = new Map<string, number>();
    for (const { kind } of manifest.sources) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    const licence = manifest.licence ? ` · ${out.t({ en: 'licence', zh: '许可' })} ${printable(manifest.licence.name)}` : '';
    out.answer(`${[...kinds].map(([kind, files]) => `${kind} ${n(files)}`).join(' · ')}${licence}`);
    sayRows(out, manifest.rows);
    const shards = manifest.shards.reduce((sum, s) => sum + s.files.length, 0);
    out.answer(
      `${out.style('green', '✔')} ${here(folder)}  ${out.t({
        en: `${n(shards)} shard(s) of ${manifest.dtype} · key ${manifest.key.slice(0, 8)} · ${reused ? 'already there, nothing to do' : `${seconds.toFixed(1)} s`}`,
        zh: `${n(shards)} 个 ${manifest.dtype} 分片 · 键 ${manifest.key.slice(0, 8)} · ${reused ? '已经就绪，无需处理' : `${seconds.toFixed(1)} 秒`}`,
      })}`,
    );
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv train data=${shellWord(here(folder))} tokenizer=${shellWord(given.tokenizer!)}`,
    );
    out.event({ type: 'result', ok: true, out: folder, reused, seconds, ...manifest });
    return 0;
  },
};

/** Bytes, and the tokens of our own chat template: what `qkv train tokenizer=byte` makes for dialogues. */
const byteTokenizerOfChats = { tokenizer: byteTokenizer({ specialTokens: ['<|endoftext|>', ...chatmlTokens] }), path: null };

/** A folder in which a run was killed before its manifest: only our own names. */
const looksUnfinished = (folder: string) =>
  existsSync(folder) &&
  statSync(folder).isDirectory() &&
  readdirSync(folder).every((f) => /^(\.tmp-prepare-|manifest\.json\.tmp-|rejects\.jsonl$)/.test(f) || isShardName(f));
