/** `qkv new NAME`: a folder that belongs to you: commented settings, a text, a README. */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve as resolvePath } from 'node:path';
import { listSources } from '../../data/index.ts';
import { QkvError } from '../../errors.ts';
import { resolve, settings, settingsOfArguments } from '../../settings/config.ts';
import { type FamilyName, familyOf } from '../../settings/families.ts';
import { bytes, count } from '../format.ts';
import { here, shellWord } from '../messages/index.ts';
import { nearest } from '../../settings/nearest.ts';
import type { Output } from '../output.ts';
import { type Template, templates } from '../templates.ts';
import type { Verb } from '../verb.ts';

export const newFolder: Verb = {
  name: 'new',
  about: { en: 'a folder you own: settings, text, README', zh: '一个属于你的文件夹：配置、语料、README' },
  words: [{ name: 'NAME' }],
  settings,
  flags: [
    {
      name: 'from',
      takes: 'text',
      about: {
        en: `what to begin with: ${Object.keys(templates).join(', ')}`,
        zh: `从什么开始：${Object.keys(templates).join('、')}`,
      },
    },
  ],
  examples: ['qkv new demo', 'qkv new demo --from tiny-zh', 'qkv new ind --from induction', 'qkv new mine data=book.txt'],
  async run({ words: [name], settings: given, flags }, out) {
    const folder = resolvePath(name);
    if (existsSync(folder) && (!statSync(folder).isDirectory() || readdirSync(folder).length > 0))
      throw new QkvError('E153', `${name} exists`, { path: folder });
    const wanted = (flags['from'] as string | undefined) ?? (out.lang === 'zh' ? 'tiny-zh' : 'tiny-en');
    if (!Object.hasOwn(templates, wanted)) {
      const names = Object.keys(templates);
      throw new QkvError('E154', `there is no template "${wanted}"`, {
        template: wanted,
        templates: names,
        nearest: nearest(wanted, names),
      });
    }
    const template = templates[wanted];
    const own = settingsOfArguments(given);
    // All of it is checked before the first file is made.
    const templateSettings = template.settings.filter((s) => !own.some((o) => o.key === s.key));
    resolve(
      templateSettings.map((s) => ({ key: s.key, value: s.value, at: { argument: `--from ${wanted}` } })),
      own,
      { needData: false },
    );
    const data = own.find((o) => o.key === 'data')?.value as string | undefined;
    if (data !== undefined) await listSources(data);

    const file = `data/${data === undefined ? template.file : basename(data)}`;
    const others = own.filter((o) => o.key !== 'data');
    const isNew = !existsSync(folder);
    try {
      mkdirSync(join(folder, 'data'), { recursive: true });
      if (data === undefined) writeFileSync(join(folder, file), template.text());
      else cpSync(data, join(folder, file), { recursive: true });
      writeFileSync(join(folder, 'qkv.json'), settingsText(file, templateSettings, others, out));
      writeFileSync(
        join(folder, 'README.md'),
        readme(basename(folder), wanted, file, data === undefined ? template : undefined, out),
      );
    } catch (error) {
      if (isNew) rmSync(folder, { recursive: true, force: true }); // no half of it
      throw error;
    }

    const made = await listSources(join(folder, file));
    const size = made.reduce((s, f) => s + f.size, 0);
    const shown = here(folder);
    out.say(
      `${out.style('green', '✔')} ${shown}/  ${out.t({
        en: `settings qkv.json · text ${file} (${bytes(size)}${made.length > 1 ? `, ${count(made.length, 'en')} files` : ''}) · README.md`,
        zh: `配置 qkv.json · 语料 ${file}（${bytes(size)}${made.length > 1 ? `，${count(made.length, 'zh')} 个文件` : ''}）· README.md`,
      })}`,
    );
    out.say(`${out.t({ en: 'Next', zh: '下一步' })}  cd ${shellWord(relative(process.cwd(), folder) || '.')} && qkv train`);
    out.event({ type: 'result', ok: true, folder, template: wanted, files: ['qkv.json', 'README.md', file], dataBytes: size });
    return 0;
  },
};

/** A commented qkv.json. */
function settingsText(
  file: string,
  fromTemplate: Template['settings'],
  own: { key: string; value: unknown }[],
  out: Output,
): string {
  const rows = [
    {
      key: 'data',
      value: file as unknown,
      why: out.t({ en: 'a file or folder, relative to this one', zh: '文件或文件夹，相对本文件' }),
    },
    ...fromTemplate.map((s) => ({ key: s.key, value: s.value, why: out.t(s.why) })),
    ...own.map((s) => ({ key: s.key, value: s.value, why: out.t({ en: 'yours', zh: '你给的' }) })),
  ];
  const left = rows.map((r, i) => `  ${JSON.stringify(r.key)}: ${JSON.stringify(r.value)}${i < rows.length - 1 ? ',' : ''}`);
  const wide = Math.max(...left.map((l) => l.length));
  return [
    `// ${out.t({ en: 'All settings: qkv config keys. What this run needs: qkv estimate', zh: '全部配置项：qkv config keys。这次训练要多少：qkv estimate' })}`,
    '{',
    ...rows.map((r, i) => `${left[i].padEnd(wide)}  // ${r.why}`),
    '}',
    '',
  ].join('\n');
}

function readme(name: string, from: string, file: string, template: Template | undefined, out: Output): string {
  const prompt = template?.prompt ?? out.t({ en: 'The', zh: '从前' });
  const family = template?.settings.find(({ key }) => key === 'model')?.value as FamilyName | undefined;
  const trace = family === undefined || familyOf(family).kind === 'decoder' ? `\nqkv trace RUN "${prompt}"` : '';
  return out.t({
    en: `# ${name}

Made by \`qkv new ${name} --from ${from}\`.

- \`qkv.json\`: the settings. Change them; nothing else reads this folder.
- \`${file}\`: the text.${template ? ` ${template.source.en}` : ''}

\`\`\`
qkv estimate                     # parameters, memory, time
qkv train                        # Ctrl-C once saves and stops
qkv runs                         # what there is
qkv generate RUN "${prompt}"${trace}
\`\`\`
`,
    zh: `# ${name}

由 \`qkv new ${name} --from ${from}\` 生成。

- \`qkv.json\`：配置。随意修改，没有别的东西读这个文件夹。
- \`${file}\`：语料。${template ? template.source.zh : ''}

\`\`\`
qkv estimate                     # 参数、内存、时间
qkv train                        # 按一次 Ctrl-C 保存并停止
qkv runs                         # 有哪些运行
qkv generate RUN "${prompt}"${trace}
\`\`\`
`,
  });
}
