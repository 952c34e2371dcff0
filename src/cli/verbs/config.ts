/** `qkv config keys` and `qkv config show`: the settings there are, and those that a run would get. */
import { padEnd } from '../../figures/width.ts';
import { about, allowedValues, defaultOf, type Group, settingKeys, settings } from '../../settings/config.ts';
import { configPage, defaultText, groups, unitText } from '../config-docs.ts';
import { readSettings } from '../settings-of.ts';
import type { Verb } from '../verb.ts';

export const configKeys: Verb = {
  name: 'config keys',
  about: { en: 'every setting: default, values, meaning', zh: '每个配置项：默认值、取值、含义' },
  words: [{ name: 'PART', optional: true }],
  flags: [{ name: 'markdown', about: { en: 'the page docs/config.md', zh: '输出 docs/config.md 的内容' } }],
  examples: ['qkv config keys', 'qkv config keys data', 'qkv config keys --markdown --lang zh'],
  run({ words: [part], flags }, out) {
    if (flags['markdown']) {
      out.stream(configPage(out.lang));
      out.event({ type: 'result', ok: true });
      return 0;
    }
    const wanted = settingKeys.filter(
      (k) => part === undefined || k.toLowerCase().includes(part.toLowerCase()) || about(k).group === part,
    );
    const wide = Math.max(8, ...wanted.map((k) => k.length));
    for (const group of Object.keys(groups) as Group[]) {
      const keys = wanted.filter((k) => about(k).group === group);
      if (keys.length === 0) continue;
      out.answer(out.style('bold', groups[group][out.lang]));
      for (const key of keys) {
        const unit = unitText(key, out.lang);
        out.answer(`  ${padEnd(key, wide)}  ${about(key)[out.lang]}${unit ? ` [${unit}]` : ''}`);
        out.answer(
          `  ${' '.repeat(wide)}  ${out.style('dim', `${defaultText(key, out.lang)}   ·   ${allowedValues(settings[key])[out.lang]}`)}`,
        );
      }
    }
    if (wanted.length === 0)
      out.answer(out.t({ en: `no setting with "${part}" in its name`, zh: `没有名字含 “${part}” 的配置项` }));
    out.event({
      type: 'result',
      ok: true,
      keys: wanted.map((k) => ({ key: k, default: defaultOf(k), values: allowedValues(settings[k]).en, ...about(k) })),
    });
    return 0;
  },
};

export const configShow: Verb = {
  name: 'config show',
  about: { en: 'the settings a run would get, and where each comes from', zh: '一次运行将得到的配置，以及各自来自哪里' },
  words: [{ name: 'CONFIG', optional: true }],
  settings,
  examples: ['qkv config show', 'qkv config show qkv.json dModel=256'],
  run(args, out) {
    const { config, places } = readSettings(args, out, { needData: false });
    const wide = Math.max(...settingKeys.map((k) => k.length));
    for (const key of settingKeys) {
      const at = places.get(key);
      const from = !at ? '' : 'file' in at ? `${at.file}:${at.line}` : out.t({ en: 'command line', zh: '命令行' });
      out.answer(`${padEnd(key, wide)}  ${padEnd(String(config[key] ?? '–'), 16)}  ${out.style('dim', from)}`.trimEnd());
    }
    out.event({ type: 'result', ok: true, config });
    return 0;
  },
};
