// The transcripts in the READMEs are what the program prints: this runs the command of each and writes its output, or with --check compares.
//   node scripts/transcript.mjs [--check] [README.md …]
// Times, speeds, losses and sampled text differ between machines, so a comparison looks at everything but numbers and quoted text.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');
const named = process.argv.slice(2).filter((a) => a.endsWith('.md'));
const block = /<!-- transcript: (.*) -->\n```text\n([\s\S]*?)```\n<!-- \/transcript -->/g;

function output(command) {
  const { stdout, status } = spawnSync(`${command} 2>&1`, {
    cwd: root,
    shell: true,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', LANG: 'en_US.UTF-8', LC_ALL: '', QKV_LANG: '', COLUMNS: '100' },
  });
  if (status !== 0) throw new Error(`${command} ended with ${status}:\n${stdout}`);
  return stdout
    .replaceAll(/moby-dick-\d+/g, 'moby-dick')
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** What must be equal on every machine: the words, in their places. */
function skeleton(text) {
  return text
    .replaceAll(/«[^»]*».*/g, '«…»') // samples
    .replace(/(\$ npx qkv generate [^\n]*\n)[\s\S]*?(\n\n[^\n]*(?:Next|下一步))/g, '$1…$2') // what it wrote
    .replaceAll(/\s*│\n│\s*/g, '') // the lines of a box are broken where their numbers end
    .replaceAll(/native \w+/g, 'native …')
    .replaceAll(/threads?\b/g, 'threads')
    .replaceAll(/(about|约)\s?\d[^│╰]*?(?=start|起点)/g, '$1 …') // a duration: seconds here, minutes there
    .replaceAll(/^.*% ·.*\n/gm, '') // lines of progress, where there are some
    .replaceAll(/[▼▲◇★ ─]+/g, '')
    .replaceAll(/\d[\d,.:e-]*/g, '#');
}

let stale = 0;
for (const file of named.length ? named : ['README.md', 'README.zh.md']) {
  const text = readFileSync(`${root}/${file}`, 'utf8');
  const fresh = text.replaceAll(block, (_, command, shown) => {
    const now = `${output(command).trimEnd()}\n`;
    if (check && skeleton(now) !== skeleton(shown)) {
      stale++;
      console.error(
        `${file}: the transcript of \`${command}\` is not what it prints now. Write it anew: node scripts/transcript.mjs ${file}`,
      );
      console.error(`--- shown\n${skeleton(shown)}\n--- printed\n${skeleton(now)}`);
    }
    return `<!-- transcript: ${command} -->\n\`\`\`text\n${now}\`\`\`\n<!-- /transcript -->`;
  });
  if (!check) writeFileSync(`${root}/${file}`, fresh);
}
process.exit(stale ? 1 : 0);
