/** docs/cli.md and docs/cli.zh.md, from the verbs and the message table: `qkv help --markdown`. */
import { allowedValues, settings } from '../settings/config.ts';
import type { Lang } from './format.ts';
import { type Code, messages } from './messages/index.ts';
import { commonFlags, type Flag, usage, type Verb } from './verb.ts';

/** What the exit codes mean. */
export const exitCodes: [code: string, meaning: { en: string; zh: string }][] = [
  ['0', { en: 'done, or stopped by a signal after a save', zh: '完成，或收到信号保存后停止' }],
  ['1', { en: 'runtime error', zh: '运行时错误' }],
  ['2', { en: 'usage: unknown key, bad value, prompt too long', zh: '用法：未知键、错误的值、提示过长' }],
  ['3', { en: 'run, file or checkpoint not found', zh: '找不到运行、文件或检查点' }],
  ['4', { en: 'does not fit in memory or on disk', zh: '内存或磁盘装不下' }],
  ['65', { en: 'data or checkpoint refused', zh: '数据或检查点被拒' }],
  ['66', { en: 'every checkpoint of the run is damaged', zh: '该运行的检查点全部损坏' }],
  ['69', { en: 'a needed part is missing', zh: '缺少所需部件' }],
  ['70', { en: 'loss or gradient not finite', zh: '损失或梯度不是有限数' }],
  [
    '130',
    { en: 'stopped at once by the second Ctrl-C; the last checkpoint is intact', zh: '第二次 Ctrl-C 立即停止；最后的检查点完好' },
  ],
];

const flagText = (f: Flag) =>
  `--${f.name}${f.takes === undefined ? '' : ` ${typeof f.takes === 'string' ? (f.takes === 'number' ? 'N' : 'TEXT') : f.takes.join('\\|')}`}`;

/** The page, made from what the parser itself reads. */
export function cliPage(verbs: readonly Verb[], lang: Lang): string {
  const t = (en: string, zh: string) => (lang === 'zh' ? zh : en);
  const cell = (s: string) => s.replaceAll(/(?<!\\)\|/g, '\\|');
  const flagTable = (flags: readonly Flag[]) => [
    t('| flag | meaning |', '| 选项 | 含义 |'),
    '|---|---|',
    ...flags.map((f) => `| \`${flagText(f)}\` | ${f.about[lang]} |`),
  ];
  const lines = [
    t('# The `qkv` command', '# `qkv` 命令'),
    '',
    t(
      'Made from the verbs by `qkv help --markdown`; do not edit. 中文：[cli.zh.md](cli.zh.md)',
      '由 `qkv help --markdown --lang zh` 从各动词生成，请勿手改。English: [cli.md](cli.md)',
    ),
    '',
    t(
      'One shape for everything: `qkv VERB RUN-or-FILE [key=value …] [--flag]`. `key=value` changes the settings ([config.md](config.md)), `--flag` how the command behaves; after `--` every word is text. `RUN` is a name under `runs/`, a path, `name@step` or `name@best`.',
      '所有命令都是同一种写法：`qkv 动词 运行或文件 [key=value …] [--选项]`。`key=value` 改配置（[config.zh.md](config.zh.md)），`--选项` 改命令的行为；`--` 之后的词都是文本。运行可写 `runs/` 下的名字、路径、`name@step` 或 `name@best`。',
    ),
    '',
    t(
      'With `--json` stdout carries JSON lines, each with `schema`; the last one is `{"type":"result","ok":true,…}` or `{"type":"error","code":…,"exit":…}`; human text goes to stderr. Where stdout is no terminal nothing is drawn over. `NO_COLOR` and `FORCE_COLOR` are obeyed. Language: `--lang`, else `QKV_LANG`, `LC_ALL`, `LANG`.',
      '用 `--json` 时标准输出是 JSON 行，每行有 `schema`；最后一行是 `{"type":"result","ok":true,…}` 或 `{"type":"error","code":…,"exit":…}`；给人看的文字写到标准错误。标准输出不是终端时不移动光标。遵守 `NO_COLOR` 与 `FORCE_COLOR`。语言：`--lang`，否则 `QKV_LANG`、`LC_ALL`、`LANG`。',
    ),
    '',
    t('## Verbs', '## 动词'),
  ];
  for (const verb of verbs) {
    lines.push(
      '',
      `### ${verb.name}`,
      '',
      `${verb.about[lang]}${t('.', '。')}`.replace(/([。.])[。.]$/, '$1'),
      '',
      '```',
      usage(verb),
      '```',
    );
    const all = Object.entries(verb.settings ?? {});
    const many = all.length > 20; // then those of training are not said again
    const keys = many ? all.filter(([key, type]) => settings[key as keyof typeof settings] !== type) : all;
    if (many && keys.length === 0)
      lines.push('', t('Settings: all of [config.md](config.md).', '配置项：[config.zh.md](config.zh.md) 的全部。'));
    if (keys.length > 0) {
      lines.push('', t('| setting | values | meaning |', '| 配置项 | 取值 | 含义 |'), '|---|---|---|');
      for (const [key, type] of keys) {
        const meta = type.meta() as { en: string; zh: string } | undefined;
        lines.push(`| \`${key}\` | ${cell(allowedValues(type)[lang])} | ${cell(meta?.[lang] ?? '')} |`);
      }
    }
    if (many && keys.length > 0) {
      const shared = all.filter((entry) => !keys.includes(entry)).map(([key]) => `\`${key}\``);
      lines.push(
        '',
        t(`And of [config.md](config.md): ${shared.join(' ')}.`, `以及 [config.zh.md](config.zh.md) 中的：${shared.join(' ')}。`),
      );
    }
    if (verb.flags?.length) lines.push('', ...flagTable(verb.flags));
    lines.push('', '```', ...verb.examples, '```');
  }
  lines.push('', t('## Flags of every verb', '## 每个动词都有的选项'), '', ...flagTable(commonFlags));
  lines.push(
    '',
    t('## Exit codes', '## 退出码'),
    '',
    t('| code | meaning | messages |', '| 码 | 含义 | 消息 |'),
    '|---|---|---|',
  );
  for (const [code, meaning] of exitCodes) {
    const coded = (Object.keys(messages) as Code[]).sort().filter((c) => messages[c].exit === Number(code));
    lines.push(`| ${code} | ${meaning[lang]} | ${coded.join(' ')} |`);
  }
  lines.push(
    '',
    t(
      'Files that are refused keep a code in words, such as `OVERLAP` or `CORRUPT`, and end with 65.',
      '被拒的文件保留文字代码，如 `OVERLAP`、`CORRUPT`，退出码 65。',
    ),
    '',
  );
  return lines.join('\n');
}
