/** `qkv import SOURCE`: a model that somebody else made becomes a run. */
import { z } from 'zod';
import { type Imported, importModel } from '../../applications/import-model.ts';
import { bytes, compact, count } from '../format.ts';
import { fetchSource, hubSettings } from '../hub-source.ts';
import { here, shellWord } from '../messages/index.ts';
import { type Output, printable } from '../output.ts';
import type { Verb } from '../verb.ts';
import { verbSettings } from '../verb-settings.ts';
import { version } from '../version.ts';
import { rootFlag } from './runs.ts';

const own = {
  name: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .meta({ en: 'name of the run; auto: that of the folder or file', zh: '运行的名字；auto：文件夹或文件的名字' }),
  ...hubSettings,
};

export const importVerb: Verb = {
  name: 'import',
  about: {
    en: 'a model that others made as a run: a folder, .safetensors, .bin, .pt, .gguf, files of TensorFlow, or ORG/NAME of a hub',
    zh: '把他人的模型变成一次运行：文件夹、.safetensors、.bin、.pt、.gguf、TensorFlow 格式，或 hub 上的 组织/名字',
  },
  words: [{ name: 'SOURCE' }],
  settings: own,
  flags: [rootFlag],
  examples: [
    'qkv import HuggingFaceTB/SmolLM2-135M',
    'qkv import models/SmolLM2-135M',
    'qkv import model.gguf name=smol',
    'qkv import models/bert-base-chinese --json',
  ],
  async run(args, out) {
    const { name, ...hub } = verbSettings(own, args);
    const { path: source, repo } = await fetchSource(args.words[0], hub, out);
    out.live(out.t({ en: `reading ${source} …`, zh: `正在读取 ${source}…` }));
    const began = performance.now();
    const found = await importModel(source, {
      root: args.flags['root'] as string | undefined,
      name: name ?? undefined,
      called: repo,
      env: { qkv: version(), node: process.version },
    });
    out.live('');
    say(out, found, (performance.now() - began) / 1000);
    out.event({ type: 'result', ok: true, ...found, seconds: (performance.now() - began) / 1000 });
    return 0;
  },
};

function say(out: Output, m: Imported, seconds: number): void {
  const { lang } = out;
  const n = (x: number) => count(x, lang);
  const types = Object.entries(m.dtypes)
    .map(([dtype, tensors]) => `${dtype} × ${n(tensors)}`)
    .join(' · ');
  const kinds = {
    decoder: { en: 'writes on', zh: '续写' },
    encoder: { en: 'fills masks', zh: '填空' },
    'encoder-decoder': { en: 'reads a source, writes a target', zh: '读源写目标' },
  };
  const tokenizer = m.tokenizer
    ? `${m.tokenizer.kind} · ${n(m.tokenizer.vocabSize)} ${out.t({ en: 'entries', zh: '项' })}`
    : out.t({ en: 'none', zh: '无' });
  const rows: [en: string, zh: string, value: string][] = [
    ['family', '家族', `${m.family} (${m.modelType}) · ${out.t(kinds[m.kind])}${m.task ? ` · ${m.task}` : ''}`],
    [
      'parameters',
      '参数',
      `${n(m.parameters)} (${compact(m.parameters, lang)}) · ${out.t({ en: 'context', zh: '上下文' })} ${n(m.contextLength)}`,
    ],
    ['weights', '权重', `${m.container} · ${types} · ${bytes(m.bytes)}`],
    ['tokenizer', '词表', tokenizer],
  ];
  out.answer(`${out.style('green', '✔')} ${here(m.folder)}   ${out.style('dim', `${seconds.toFixed(1)} s`)}`);
  for (const [en, zh, value] of rows)
    out.answer(`  ${out.style('dim', out.t({ en: en.padEnd(10), zh: zh }))}  ${printable(value)}`);
  const some = (names: string[]) => names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '');
  if (m.fresh.length)
    out.say(
      out.style(
        'yellow',
        out.t({
          en: `begin at random, for the file lacks them: ${some(m.fresh)}`,
          zh: `文件里没有、随机初始化：${some(m.fresh)}`,
        }),
      ),
    );
  if (m.passedOver.length)
    out.say(
      out.style(
        'dim',
        out.t({
          en: `passed over ${n(m.passedOver.length)} tensors that are no weights of this model: ${some(m.passedOver)}`,
          zh: `略过 ${n(m.passedOver.length)} 个不属于此模型权重的张量：${some(m.passedOver)}`,
        }),
      ),
    );
  for (const note of m.notes) out.say(out.style('yellow', printable(note)));
  const run = shellWord(m.run);
  const next = {
    decoder: `qkv generate ${run} "${out.t({ en: 'Once', zh: '从前' })}"`,
    encoder: `qkv describe ${run}`,
    'encoder-decoder': `qkv generate ${run} "${out.t({ en: 'a text', zh: '一段文字' })}"`,
  };
  out.say(
    `${out.t({ en: 'Next', zh: '下一步' })}  ${next[m.kind]}   ·   qkv train from=${shellWord(here(m.folder))} data=book.txt`,
  );
}
