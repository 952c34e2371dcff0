/** The settings as text, from the schema: `qkv config keys`, docs/config.md and docs/config.zh.md. */
import {
  about,
  allowedValues,
  defaultOf,
  type Group,
  type SettingKey,
  settingKeys,
  settings,
  sizes,
} from '../settings/config.ts';
import type { Lang } from './format.ts';

export const groups: Record<Group, { en: string; zh: string }> = {
  model: { en: 'Model', zh: '模型' },
  tokenizer: { en: 'Tokenizer', zh: '词表' },
  data: { en: 'Data', zh: '数据' },
  training: { en: 'Training', zh: '训练' },
  run: { en: 'Run', zh: '运行' },
};

const units: Record<string, string> = {
  tokens: '词元',
  steps: '步',
  rows: '行',
  layers: '层',
  channels: '通道',
  heads: '头',
  entries: '项',
  fraction: '比例',
  threads: '线程',
  checkpoints: '个检查点',
  batches: '个微批',
};

/** The default as it is written: `128`, `cosine`, `auto (nHead)`, `–` where there is none. */
export function defaultText(key: SettingKey, lang: Lang): string {
  const value = defaultOf(key);
  if (value !== null) return String(value);
  const { auto } = about(key);
  return auto ? `auto (${auto[lang]})` : '–';
}

export const unitText = (key: SettingKey, lang: Lang): string => {
  const { unit } = about(key);
  return unit === undefined ? '' : lang === 'zh' ? units[unit] : unit;
};

/** The page docs/config.md (or .zh.md). */
export function configPage(lang: Lang): string {
  const t = (en: string, zh: string) => (lang === 'zh' ? zh : en);
  const cell = (s: string) => s.replaceAll('|', '\\|');
  const lines = [
    t('# Settings', '# 配置项'),
    '',
    t(
      'Made from the schema by `qkv config keys --markdown`; do not edit. 中文：[config.zh.md](config.zh.md)',
      '由 `qkv config keys --markdown --lang zh` 从模式生成，请勿手改。English: [config.md](config.md)',
    ),
    '',
    t(
      'A setting stands in a file (`qkv.json`: one flat object, comments welcome) or on the command line (`key=value`). Default < preset (`size`, `depth`) < file < command line. An unknown key is an error, never ignored. The resolved settings are written to the run as `config.json`; `qkv train runs/NAME/config.json` repeats it.',
      '配置写在文件里（`qkv.json`：一个平的对象，可写注释）或命令行上（`key=value`）。默认值 < 预设（`size`、`depth`）< 文件 < 命令行。未知的键是错误，绝不忽略。最终配置写入运行的 `config.json`；`qkv train runs/NAME/config.json` 可重复它。',
    ),
    '',
    t('`auto` is filled in when the run begins, as said beside it.', '`auto` 在运行开始时填好，方法写在旁边。'),
  ];
  for (const group of Object.keys(groups) as Group[]) {
    lines.push(
      '',
      `## ${groups[group][lang]}`,
      '',
      t('| key | default | values | meaning |', '| 键 | 默认 | 取值 | 含义 |'),
      '|---|---|---|---|',
    );
    for (const key of settingKeys.filter((k) => about(k).group === group)) {
      const unit = unitText(key, lang);
      const meaning = about(key)[lang] + (unit ? t(` (${unit})`, `（${unit}）`) : '');
      lines.push(
        `| \`${key}\` | ${cell(defaultText(key, lang))} | ${cell(allowedValues(settings[key])[lang])} | ${cell(meaning)} |`,
      );
    }
  }
  lines.push(
    '',
    t('## Presets of `size`', '## `size` 的预设'),
    '',
    '| size | nLayer | nHead | dModel | contextLength |',
    '|---|---|---|---|---|',
  );
  for (const [name, s] of Object.entries(sizes))
    lines.push(`| \`${name}\` | ${s.nLayer} | ${s.nHead} | ${s.dModel} | ${s.contextLength} |`);
  lines.push('');
  return lines.join('\n');
}
