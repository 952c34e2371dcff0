import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('../examples', import.meta.url));
const examples = readdirSync(folder).filter((f) => /^\d\d-.*\.ts$/.test(f));

/** What each example must have shown when it ends. */
const shows: Record<string, RegExp | ((stdout: string) => void)> = {
  '01': /∂loss\/∂x = \[ 16\.5, 3, 30 \][\s\S]*≈ 16\.5/,
  '02': /by hand \[5\.7198,4\.2802\] {3}attention\(\) \[5\.7198,4\.2802\]/,
  '03': / 256 +2\d\d\.\d +0\.\d\d +3\.\d\d/,
  '04': /\d(\.\d)?e-[78]$/m,
  '05': /distance 5: at places 0, 10, 100, 500 → (-?\d\.\d{4})\d {2}\1\d {2}\1\d {2}\1/,
  '06': /■ ■ ■ · · · · ·/,
  '07': /attention is all you need\. attention is all/,
  '08': /a uniform guess costs ln V = 4\.\d+[\s\S]*step 29 {2}loss 3\.\d/,
  '09': /temperature 0: 春眠不觉晓，处处闻啼鸟/,
  '10': /head 1: mean entropy/,
  '11': /streaming 🙂: "" "" "" "🙂"[\s\S]*same ids: true/,
  '12': /largest difference of the logits \d\.\de-0?[67]/,
  '13': /largest difference \d\.\de-0?[78][\s\S]*100000 tokens +3200000 +272[\s\S]*softmax: mean entropy 0\.\d+[\s\S]*linear: mean entropy 1\.\d+/,
  '14': (stdout) => {
    /** Perplexity at 64, 128, 256, 512 tokens. */
    const row = (name: string): number[] =>
      stdout
        .split('\n')
        .find((line) => line.startsWith(`${name}  `))!
        .slice(name.length)
        .trim()
        .split(/ +/)
        .map(Number);
    const [learned, rotary, alibi, yarn] = ['learned', 'rotary', 'ALiBi', 'rotary, yarn ×8'].map(row);
    expect(alibi[2]).toBeLessThan(Math.min(learned[2], rotary[2])); // 3.3.3a; after 600 steps YaRN is below both at 256, too
    expect(yarn[3]).toBeLessThan(Math.min(learned[3], rotary[3]));
    expect(alibi[3]).toBeLessThan(1.05 * alibi[0]);
    expect(rotary[3]).toBeGreaterThan(1.05 * rotary[0]);
  },
  '15': /16 of 16 repeated tokens said right[\s\S]*layer 1, a head that looks at what followed/,
  '16': /= 3\)[^\n]*sees {2}3[\s\S]*= 7\)[^\n]*sees {2}7[\s\S]*= 31\)[^\n]*sees 31[\s\S]*1 layer +│[^ ]*│ sees 48 of 48/,
  '17': /table = lookup: true\nrows that learn from it: the whale white\n[\s\S]*most like three: two 0\.\d+[\s\S]*places 5 apart: (\d+\.\d{3}) = \1 = \1/,
};

test.each(examples)('examples/%s runs and shows what it says', (file) => {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', 'tsx', `${folder}/${file}`], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  const show = shows[file.slice(0, 2)];
  if (show instanceof RegExp) expect(stdout).toMatch(show);
  else show(stdout);
});

test.each(examples)('examples/%s fits on a screen', (file) => {
  expect(readFileSync(`${folder}/${file}`, 'utf8').split('\n').length).toBeLessThanOrEqual(61);
});
