/**
 * npx tsx test/pages/data-walk.ts [--write]: runs the walk-through of docs/data.md and docs/data.zh.md as it is written, in an empty folder, and compares what is printed
 * with the page (times and speeds aside); `--write` puts it there. The sections on dialogues and Tang poems need a model to be trained, and are not run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const home = fileURLToPath(new URL('../..', import.meta.url));
const cli = join(home, 'src/cli/main.ts');
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const write = process.argv.includes('--write');

/** What no two runs share. */
const settled = (text: string): string =>
  text.replace(/\d+(\.\d+)? (s|秒)(?=$|\n| )/g, '… s').replace(/ +[\d.]+$/gm, (end) => (/\.\d$/.test(end) ? ' …' : end));

let different = 0;
for (const [page, lang] of [
  ['data.md', 'en'],
  ['data.zh.md', 'zh'],
]) {
  const path = join(home, 'docs', page);
  const text = readFileSync(path, 'utf8');
  const folder = mkdtempSync(join(tmpdir(), 'qkv-walk-'));
  try {
    symlinkSync(join(home, 'node_modules'), join(folder, 'node_modules'));
    const programs = [...text.matchAll(/```js\n([\s\S]*?)```/g)].map((m) => m[1]);
    writeFileSync(join(folder, 'make-corpus.mjs'), programs.at(-1)!);
    writeFileSync(join(folder, 'rules.json'), /```json\n([\s\S]*?)```/.exec(text)![1]);
    spawnSync(process.execPath, ['make-corpus.mjs'], { cwd: folder, stdio: 'inherit' });
    const end = text.search(/^## (Dialogues|对话)$/m);
    const walked = text
      .slice(0, end)
      .replace(/```text\n\$ qkv ([^\n]*)\n([\s\S]*?)\n```/g, (block, line: string, shown: string) => {
        // Both streams in the order of their writing.
        const run = spawnSync('sh', ['-c', `"$0" --import "$1" "$2" ${line} 2>&1`, process.execPath, tsx, cli], {
          cwd: folder,
          encoding: 'utf8',
          env: { ...process.env, QKV_LANG: lang, NO_COLOR: '', FORCE_COLOR: '0' },
        });
        const printed = run.stdout.trimEnd();
        const found = shown.startsWith('…\n')
          ? `…\n${printed
              .split('\n')
              .filter((l) => l.startsWith('✔'))
              .join('\n')}`
          : printed;
        const same = settled(found) === settled(shown);
        if (!same) different++;
        console.log(`${same ? '=' : '≠'} ${page}: qkv ${line}${same ? '' : `\n${found}`}`);
        return same ? block : `\`\`\`text\n$ qkv ${line}\n${found}\n\`\`\``;
      });
    if (write) writeFileSync(path, walked + text.slice(end));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
console.log(different === 0 ? 'both pages are what is printed' : `${different} blocks differ`);
process.exitCode = different > 0 && !write ? 1 : 0;
