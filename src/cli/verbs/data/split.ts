/** `qkv data split`: train, val and test by the hash of each document. */
import { join } from 'node:path';
import { splitFiles } from '../../../data/index.ts';
import { QkvError } from '../../../errors.ts';
import { bytes, count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import { table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { fieldArgument, freeFolder, outFolder, reading, sayRows, share, writeOptions } from './common.ts';

const splitSettings = {
  out: outFolder,
  val: share(0.1, 'share for validation', '验证集比例'),
  test: share(0, 'share for testing', '测试集比例'),
  ...reading,
};
export const dataSplit: Verb = {
  name: 'data split',
  about: { en: 'train, val and test by the hash of each document', zh: '按文档哈希分成训练、验证、测试' },
  words: [{ name: 'PATH' }],
  settings: splitSettings,
  examples: ['qkv data split unique.jsonl out=parts', 'qkv data split data/ out=parts val=0.05 test=0.05'],
  async run(args, out) {
    const given = verbSettings(splitSettings, args);
    const { val, test } = given;
    if (val + test >= 1)
      throw new QkvError('E103', `val=${val} and test=${test} leave nothing to train on`, {
        key: 'val + test',
        value: val + test,
        allowed: 'a sum below 1',
        allowedZh: '两者之和小于 1',
      });
    const folder = required(given.out, 'out=FOLDER', dataSplit);
    const report = await splitFiles(args.words[0], {
      ...writeOptions(given, out, () => freeFolder(folder)),
      out: folder,
      val,
      test,
    });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    out.answer(
      table(
        out.lang === 'zh' ? ['文件', '文档', '占比', '字符', '字节'] : ['file', 'documents', 'share', 'characters', 'bytes'],
        report.parts.map((p) => [
          here(join(folder, p.file)),
          n(p.documents),
          `${((100 * p.documents) / report.documents).toFixed(1)} %`,
          n(p.characters),
          bytes(p.bytes),
        ]),
        [1, 2, 3, 4],
      ),
    );
    for (const p of report.parts)
      if (p.documents === 0)
        out.answer(
          `${out.style('yellow', '!')} ${p.file}: ${out.t({ en: 'no document fell there; more documents, or a larger share', zh: '没有文档落在这里；需要更多文档或更大比例' })}`,
        );
    sayRows(out, report.rows);
    const other = report.parts.at(-1)!;
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv data leak ${shellWord(here(join(folder, 'train.jsonl')))} ${shellWord(here(join(folder, other.file)))}${fieldArgument(given)}`,
    );
    out.event({ type: 'result', ok: true, ...report });
    return 0;
  },
};
