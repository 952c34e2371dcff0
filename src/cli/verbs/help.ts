/** `qkv`, `qkv help`, `qkv help VERB`: what there is, from the verbs themselves. */
import { QkvError } from '../../errors.ts';
import { displayWidth, padEnd } from '../../figures/width.ts';
import { cliPage } from '../cli-docs.ts';
import { allowedValues } from '../../settings/config.ts';
import { nearest } from '../../settings/nearest.ts';
import type { Output } from '../output.ts';
import { commonFlags, usage, type Verb } from '../verb.ts';

/** The verb `help` for these verbs. */
export const helpOn = (verbs: readonly Verb[]): Verb => ({
  name: 'help',
  about: { en: 'all verbs, or how one of them works', zh: '全部动词，或其中一个的用法' },
  words: [{ name: 'VERB', optional: true, rest: true }],
  flags: [{ name: 'markdown', about: { en: 'the page docs/cli.md', zh: '输出 docs/cli.md 的内容' } }],
  examples: ['qkv help', 'qkv help train', 'qkv help data inspect', 'qkv help --markdown --lang zh'],
  run({ words, flags }, out) {
    const name = words.join(' ');
    const all = [...verbs, helpOn(verbs)];
    if (flags['markdown']) {
      out.stream(cliPage(all, out.lang));
      out.event({ type: 'result', ok: true });
      return 0;
    }
    if (name === '') out.answer(overview(all, out));
    else {
      const found = all.filter((v) => v.name === name || v.name.startsWith(`${name} `));
      if (found.length === 0) {
        const best = nearest(
          name,
          verbs.map((v) => v.name),
        );
        throw new QkvError('E100', `there is no verb "${name}"`, { verb: name, nearest: best && `help ${best}` });
      }
      out.answer(found.map((v) => helpOf(v, out)).join('\n\n'));
    }
    out.event({ type: 'result', ok: true, verbs: verbs.map((v) => ({ name: v.name, usage: usage(v), about: v.about })) });
    return 0;
  },
});

/** The commands of the first five minutes: what `qkv` alone prints. */
export function firstMinutes(out: Output): string {
  const rows: [string, { en: string; zh: string }][] = [
    ['qkv new demo', { en: 'a folder you own: settings, text, README', zh: '一个属于你的文件夹：配置、语料、README' }],
    ['cd demo && qkv train', { en: 'watch a decoder learn to write', zh: '看一个解码器学会写字' }],
    [`qkv generate demo-1 ${out.t({ en: '"Call me"', zh: '"傍晚，"' })}`, { en: 'let it write', zh: '让它写下去' }],
  ];
  const wide = Math.max(...rows.map(([c]) => displayWidth(c)));
  return [
    out.t({ en: 'The first five minutes:', zh: '头五分钟：' }),
    '',
    ...rows.map(([c, about]) => `  ${out.style('bold', padEnd(c, wide))}   ${out.t(about)}`),
    '',
    out.t({
      en: 'Your own text: qkv train data=book.txt      Everything: qkv help',
      zh: '自己的文本：qkv train data=book.txt      全部命令：qkv help',
    }),
  ].join('\n');
}

/** All verbs, a line each. */
export function overview(all: readonly Verb[], out: Output): string {
  const wide = Math.max(...all.map((v) => signature(v).length));
  return [
    out.t({ en: 'qkv VERB RUN-or-FILE [key=value …] [--flag]', zh: 'qkv 动词 运行或文件 [key=value …] [--选项]' }),
    '',
    ...all.map((v) => `  ${out.style('bold', signature(v).padEnd(wide))}  ${out.t(v.about)}`),
    '',
    flagLines(out),
    '',
    out.t({
      en: 'RUN is a name under runs/, a path, or name@step. One verb in full: qkv help train. All settings: qkv config keys',
      zh: 'RUN 是 runs/ 下的名字、路径，或 name@step。某个动词的详情：qkv help train。全部配置项：qkv config keys',
    }),
  ].join('\n');
}

const signature = (v: Verb) => ['qkv', v.name, ...v.words.map((w) => (w.optional ? `[${w.name}]` : w.name))].join(' ');

function flagLines(out: Output, flags = commonFlags): string {
  const named = flags.map((f) => ({
    name: `--${f.name}${f.takes === undefined ? '' : ` ${Array.isArray(f.takes) ? f.takes.join('|') : f.takes === 'number' ? 'N' : 'TEXT'}`}`,
    about: out.t(f.about),
  }));
  const wide = Math.max(...named.map((f) => f.name.length));
  return named.map((f) => `  ${f.name.padEnd(wide)}  ${f.about}`).join('\n');
}

/** One verb in full: grammar, settings, flags, examples. */
export function helpOf(verb: Verb, out: Output): string {
  const parts = [`${out.style('bold', usage(verb))}\n${out.t(verb.about)}`];
  if (verb.settings) {
    const keys = Object.keys(verb.settings);
    // A short table is shown whole; the training settings have a verb of their own.
    parts.push(
      keys.length > 20
        ? out.t({ en: `Settings (qkv config keys): ${keys.join(' ')}`, zh: `配置项（qkv config keys）：${keys.join(' ')}` })
        : settingLines(verb, out),
    );
  }
  if (verb.flags?.length) parts.push(flagLines(out, verb.flags));
  parts.push(`${out.t({ en: 'Examples', zh: '例子' })}\n${verb.examples.map((e) => `  ${e}`).join('\n')}`);
  return parts.join('\n\n');
}

function settingLines(verb: Verb, out: Output): string {
  const rows = Object.entries(verb.settings!).map(([name, type]) => {
    const meta = type.meta() as { en: string; zh: string } | undefined;
    const initial = type.safeParse(undefined).data;
    const shown =
      initial === null || initial === undefined
        ? ''
        : Array.isArray(initial)
          ? initial.length
            ? JSON.stringify(initial)
            : ''
          : String(initial);
    return {
      left: shown === '' ? name : `${name}=${shown}`,
      right: `${meta ? out.t(meta) : ''}  (${out.t(allowedValues(type))})`,
    };
  });
  const wide = Math.max(...rows.map((r) => r.left.length));
  return rows.map((r) => `  ${r.left.padEnd(wide)}  ${r.right}`).join('\n');
}
