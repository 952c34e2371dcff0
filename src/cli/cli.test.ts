/** The whole command: a small run made, looked at, resumed, and every wrong input that a person can type. */
process.env['QKV_BACKEND'] = 'reference'; // small enough for it, and there on every machine
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { main } from './main.ts';

const home = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'qkv-cli-'));
const SMALL = [
  'nLayer=1',
  'nHead=2',
  'dModel=8',
  'contextLength=8',
  'batch=2',
  'evalEvery=4',
  'evalBatches=1',
  'sampleEvery=0',
  'saveEvery=4',
  'tokenizer=char',
];

interface Result {
  code: number;
  stdout: string;
  stderr: string;
  /** Lines of stdout as JSON, with --json. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into JSON whose shape they check
  lines: Record<string, any>[];
  // biome-ignore lint/suspicious/noExplicitAny: as above
  last: Record<string, any>;
}
async function qkv(...argv: string[]): Promise<Result> {
  const written = { stdout: '', stderr: '' };
  const code = await main(argv, {
    stdout: { write: (t) => (written.stdout += t) },
    stderr: { write: (t) => (written.stderr += t) },
    env: { LANG: 'en_US.UTF-8' },
  });
  const lines = argv.includes('--json')
    ? written.stdout
        .trimEnd()
        .split('\n')
        .map((l) => JSON.parse(l))
    : [];
  return { code, ...written, lines, last: lines.at(-1) ?? {} };
}

beforeAll(async () => {
  process.chdir(folder);
  writeFileSync('book.txt', 'the cat sat on the mat. the dog sat on the log. '.repeat(40));
  const trained = await qkv('train', 'data=book.txt', 'name=cat', 'steps=8', ...SMALL);
  expect(trained.code, trained.stderr).toBe(0);
}, 60_000);
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
});

test('train: box, rows, ending with the next command; the run can be listed and looked at', async () => {
  const { code, stdout } = await qkv('train', 'data=book.txt', 'steps=5', ...SMALL);
  expect(code).toBe(0);
  expect(stdout).toContain('╭─ qkv train');
  expect(stdout).toMatch(/\n +4 +\d\.\d{3} +\d\.\d{3}/);
  expect(stdout).toMatch(
    /✔ 5 steps done · \d:\d\d · best validation \d\.\d{3} \(step \d, perplexity \d+\.\d, \d\.\d\d bits a byte\)|✔ 5 steps done · \d:\d\d · best validation \d\.\d{3} \(step \d, perplexity \d+\.\d\)/,
  );
  expect(stdout).toContain('qkv generate book-1 "');
  const listed = await qkv('runs', '--json');
  expect(listed.last.runs.map((r: { name: string }) => r.name)).toEqual(['book-1', 'cat']);
  expect(listed.last.runs[1]).toMatchObject({ status: 'done', step: 8, checkpoints: [8, 4] });
  const shown = await qkv('runs', 'show', 'cat', '--lang', 'zh');
  expect(shown.stdout).toContain('完成');
  const diff = await qkv('runs', 'diff', 'cat', 'book-1', '--json');
  expect(diff.last.differs).toEqual({ steps: [8, 5] });
  expect((await qkv('runs', 'rm', 'book-1')).stderr).toContain('E109');
  expect((await qkv('runs', 'rm', 'book-1', '--yes', '--json')).last).toMatchObject({ ok: true, removed: 'book-1' });
  expect(existsSync('runs/book-1')).toBe(false);
});

test('every verb ends --json with one object; the lines before it carry their schema', async () => {
  for (const argv of [
    ['train', 'data=book.txt', 'name=j', 'steps=2', ...SMALL],
    ['generate', 'cat', 'the ', 'maxTokens=4'],
    ['eval', 'cat'],
    ['trace', 'cat', 'the the'],
    ['estimate'],
    ['describe', 'cat'],
    ['runs'],
    ['runs', 'show', 'cat'],
    ['data', 'inspect', 'book.txt'],
    ['tok', 'train', 'book.txt', 'vocabSize=300', '--out', 'tok.json'],
    ['tok', 'encode', 'tok.json', 'the cat'],
    ['tok', 'show', 'tok.json'],
    ['config', 'keys'],
    ['config', 'show'],
    ['doctor'],
    ['help'],
    ['new', 'fresh', '--from', 'sort'],
    [],
  ]) {
    const { code, lines, last, stderr } = await qkv(...argv, '--json');
    expect(code, `${argv.join(' ')}\n${stderr}`).toBe(0);
    expect(
      lines.every((l) => l.schema === 1),
      argv.join(' '),
    ).toBe(true);
    expect(last, argv.join(' ')).toMatchObject({ type: 'result', ok: true });
  }
});

test('train --json: events of every kind, and the figures at the end', async () => {
  const { lines, last } = await qkv(
    'train',
    'data=book.txt',
    'name=events',
    'steps=4',
    ...SMALL,
    'sampleEvery=4',
    'sampleTokens=3',
    '--json',
  );
  for (const type of ['start', 'step', 'eval', 'sample', 'checkpoint']) expect(lines.map((l) => l.type)).toContain(type);
  expect(lines.filter((l) => l.type === 'step').map((l) => l.step)).toEqual([1, 2, 3, 4]);
  expect(last).toMatchObject({ status: 'done', run: 'events', step: 4 });
  expect(last.firstLossNats).toBeCloseTo(Math.log(last.parameters ? lines.find((l) => l.type === 'start')!.vocabSize : 0), 0);
});

test('a sample begins with whole characters, also where its tokens are bytes', async () => {
  writeFileSync('poem.txt', '春眠不觉晓，处处闻啼鸟。'.repeat(60));
  const bytes = [...SMALL.filter((w) => !w.startsWith('tokenizer')), 'tokenizer=byte', 'sampleEvery=1', 'sampleTokens=3'];
  const { lines } = await qkv('train', 'data=poem.txt', 'name=poem', 'steps=1', ...bytes, '--json');
  const { prompt } = lines.find((l) => l.type === 'sample')!;
  expect(prompt).toMatch(/^[\u3000-\u9fff\uff0c]{2}$/); // eight bytes: two characters and two thirds
});

test('eval: perplexity is e^loss; the whole validation part counts; another text can be scored', async () => {
  const { last } = await qkv('eval', 'cat', '--json');
  expect(last.perplexity).toBeCloseTo(Math.exp(last.lossNats), 6);
  // A character tokenizer on ASCII: one token a byte.
  expect(last.bitsPerByte).toBeCloseTo(last.lossNats / Math.LN2, 4);
  expect(last.complete).toBe(true);
  writeFileSync('other.txt', 'the dog sat on the cat. '.repeat(8));
  const other = await qkv('eval', 'cat', 'data=other.txt', '--json');
  expect(other.last.tokens).toBe('the dog sat on the cat. '.length * 8 - 1);
  writeFileSync('shorter.txt', 'a cat'); // than the context of 8: one window of what there is
  const shorter = await qkv('eval', 'cat', 'data=shorter.txt', '--json');
  expect(shorter.last.tokens).toBe(4);
  expect(shorter.last.bitsPerByte).toBeCloseTo(shorter.last.lossNats / Math.LN2, 4);
});

test('generate: the same seed writes the same, alone or in a batch; stop strings; a text that looks like a setting', async () => {
  const one = await qkv('generate', 'cat', 'the ', 'seed=3', 'maxTokens=12', '--json');
  const again = await qkv('generate', 'cat', 'the ', 'the dog', 'seed=3', 'maxTokens=12', '--json');
  expect(again.last.texts[0]).toEqual(one.last.texts[0]);
  expect(
    one.lines
      .filter((l) => l.type === 'text')
      .map((l) => l.text)
      .join(''),
  ).toBe(one.last.texts[0].text);
  const plain = await qkv('generate', 'cat', 'the ', 'seed=3', 'maxTokens=12', '--quiet');
  expect(plain.stdout).toBe(`the ${one.last.texts[0].text}\n`);
  const stopAt = one.last.texts[0].text[3];
  const stopped = await qkv('generate', 'cat', 'the ', 'seed=3', 'maxTokens=12', `stop=${stopAt}`, '--json');
  expect(one.last.texts[0].text.startsWith(stopped.last.texts[0].text)).toBe(true);
  expect(stopped.last.texts[0]).toMatchObject({ finish: 'stop' });
  expect(stopped.last.texts[0].text).not.toContain(stopAt);
  const greedy = await qkv('generate', 'cat', 'the ', 'temperature=0', 'maxTokens=3', '--json');
  expect((await qkv('generate', 'cat', 'the ', 'temperature=0', 'maxTokens=3', '--json', 'seed=9')).last.texts).toEqual(
    greedy.last.texts,
  );
  expect((await qkv('generate', 'cat@4', 'the ', 'maxTokens=1', '--json')).last.step).toBe(4);
});

test('trace: rows of attention sum to one and nothing looks ahead; the picture follows NO_COLOR', async () => {
  const { last } = await qkv('trace', 'cat', 'the cat', '--json', '--top', '2');
  expect(last.heads).toHaveLength(2);
  for (const { weights } of last.shown) {
    for (const [q, row] of (weights as number[][]).entries()) {
      expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
      expect(row.slice(q + 1).every((w) => w === 0)).toBe(true);
    }
  }
  const { stdout } = await qkv('trace', 'cat', 'the cat', '--layer', '0', '--head', '1', '--cells', 'digits');
  expect(stdout).toMatch(/L0H1/);
  expect(stdout).toMatch(/t 0 \|9 +\|/);
  expect((await qkv('trace', 'cat', 'the', '--layer', '4')).stderr).toContain('E163');
});

test('resume goes on from the checkpoint, with its own settings and the changes of the command line', async () => {
  await qkv('train', 'data=book.txt', 'name=part', 'steps=4', ...SMALL);
  const { code, stdout, stderr } = await qkv('train', 'part', '--resume', 'steps=6');
  expect(code, stderr).toBe(0);
  expect(stdout).toContain('steps: 4 → 6');
  expect(stdout).toContain('from step 4');
  expect((await qkv('runs', 'show', 'part', '--json')).last.checkpoints[0]).toBe(6);
  expect((await qkv('train', 'part', '--resume')).code).toBe(2); // complete at the step that its own settings ask for
  expect((await qkv('runs', 'show', 'part')).stdout).toContain('step 6/6');
  cpSync('runs/part', 'elsewhere/part', { recursive: true });
  const moved = await qkv('train', 'elsewhere/part', '--resume', 'steps=8', '--json');
  expect(moved.last, moved.stderr).toMatchObject({ ok: true, step: 8 });
  expect([existsSync('elsewhere/part/step-000008'), existsSync('runs/part/step-000008')]).toEqual([true, false]);
});

test('config.json of a run repeats it under another name', async () => {
  const first = await qkv('train', 'data=book.txt', 'name=a1', 'steps=3', ...SMALL, '--json');
  const second = await qkv('train', 'runs/a1/config.json', '--json');
  expect(second.code, second.stderr).toBe(0);
  expect(second.lines.filter((l) => l.type === 'step').map((l) => l.lossNats)).toEqual(
    first.lines.filter((l) => l.type === 'step').map((l) => l.lossNats),
  );
});

test('new: a folder whose settings are accepted and whose text trains', async () => {
  for (const from of ['tiny-en', 'tiny-zh', 'induction', 'sort']) {
    const made = await qkv('new', `n-${from}`, '--from', from, '--lang', 'zh', '--json');
    expect(made.last, from).toMatchObject({ ok: true, template: from });
    expect((await qkv('config', 'show', `n-${from}/qkv.json`, '--json')).last.ok, from).toBe(true);
    expect((await qkv('data', 'inspect', `n-${from}/data`, '--json')).last.characters, from).toBeGreaterThan(100_000);
  }
  const own = await qkv('new', 'own', 'data=book.txt', 'dModel=32', '--json');
  expect(own.code).toBe(0);
  expect(readFileSync('own/qkv.json', 'utf8')).toContain('"data": "data/book.txt"');
  const trained = await qkv('train', 'own/qkv.json', 'steps=1', ...SMALL, '--json');
  expect(trained.last, trained.stderr).toMatchObject({ run: 'own-1', status: 'done' });
});

test('wrong input: its code, its exit code, the way out, and nothing lost', async () => {
  writeFileSync('empty.txt', '');
  writeFileSync('rows.jsonl', '{"content":"x"}\n'.repeat(200));
  writeFileSync(
    'gbk.txt',
    Buffer.from(
      [0xb0, 0xa1, 0xb0, 0xa2, 0xb0, 0xa3, 0xa3, 0xac, 0xc4, 0xe3, 0xba, 0xc3, 0x0a].concat(
        ...Array(20).fill([0xc4, 0xe3, 0xba, 0xc3, 0xca, 0xc0, 0xbd, 0xe7, 0x0a]),
      ),
    ),
  );
  writeFileSync('short.txt', 'ab');
  writeFileSync('image.txt', Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), Buffer.alloc(100)]));
  writeFileSync('bad.json', '{ "nLayer": 2,\n  "lr" 3 }');
  writeFileSync('file', 'in the way');
  writeFileSync('other-signs.txt', 'the €at sat. '.repeat(9));
  mkdirSync('texts');
  const before = readdirSync('runs').sort();
  const cases: [argv: string[], code: string, exit: number, says: RegExp][] = [
    [['trian'], 'E100', 2, /qkv train/],
    [['train'], 'E105', 2, /data=book\.txt/],
    [['train', 'data=book.txt', 'nHeads=4'], 'E101', 2, /nHead\?/],
    [['train', 'data=book.txt', 'dModel=130'], 'E102', 2, /128/],
    [['train', 'data=book.txt', 'dropout=2'], 'E103', 2, /< 1/],
    [['train', 'bad.json'], 'E104', 2, /bad\.json:2/],
    [['train', 'nothing.json'], 'E182', 3, /nothing\.json/],
    [['train', 'data=book.txt', 'size=tiny', 'depth=3'], 'E106', 2, /one of them/],
    [['train', '--resum'], 'E107', 2, /--resume/],
    [['eval'], 'E108', 2, /RUN/],
    [['train', 'data=book.txt', 'model=gpt2', 'dFF=7'], 'E111', 2, /gpt2/],
    [['estimate', 'size=xl', 'batch=65536'], 'E120', 4, /--anyway/],
    [['train', 'data=nowhere', ...SMALL], 'E130', 3, /nowhere/],
    [['train', 'data=rows.jsonl', ...SMALL], 'E131', 65, /data\.field=content/],
    [['train', 'data=gbk.txt', ...SMALL], 'E132', 65, /data\.encoding=gbk/],
    [['train', 'data=image.txt', ...SMALL], 'E133', 65, /PNG/],
    [['train', 'data=empty.txt', ...SMALL], 'E134', 65, /no text/],
    [['train', 'data=short.txt', ...SMALL], 'E135', 2, /context of 8 needs 9/],
    [['eval', 'cta'], 'E150', 3, /did you mean cat\?/],
    [['train', 'data=book.txt', 'name=cat', ...SMALL], 'E151', 2, /name=cat-\d/],
    [['generate', 'cat@5', 'x'], 'E155', 3, /8, 4/],
    [['new', 'runs'], 'E153', 2, /not empty/],
    [['new', 'x', '--from', 'tiny-cn'], 'E154', 2, /tiny-zh/],
    [['train', 'data=book.txt', 'name=../x', ...SMALL], 'E103', 2, /letters/],
    [['train', 'cat', '--resume', 'dModel=16', 'steps=20'], 'E159', 2, /dModel=16/],
    [['train', 'cat', '--resume'], 'E164', 2, /steps=16/],
    [['generate', 'cat', 'the cat sat on the mat'], 'E160', 2, /--truncate left/],
    [['generate', 'cat', ''], 'E161', 2, /empty/],
    [['generate', 'cat', 'the €'], 'E162', 2, /"€"/],
    [['generate', 'cat', 'temperature=-1', 'x'], 'E103', 2, /≥ 0/],
    [['generate', 'cat', 'x=1'], 'E101', 2, /After --/],
    [['train', 'data=book.txt', '--root', 'file', ...SMALL], 'E139', 4, /in the way/],
    [['train', 'book.txt'], 'E104', 2, /data=book\.txt/],
    [['train', 'texts'], 'E182', 3, /data=texts/],
    [['train', 'data=book.txt', 'tokenizer=bep'], 'E103', 2, /mean bpe\?/],
    [['compare', 'families', 'families=["transfomer"]'], 'E103', 2, /rnn-none.*transformer/],
    [['eval', 'cat', 'data=other-signs.txt'], 'E185', 65, /"€"/],
    [['chat', 'cat', 'hello'], 'E147', 65, /qkv generate cat/],
  ];
  for (const [argv, code, exit, says] of cases) {
    const result = await qkv(...argv, '--json');
    expect(result.last, `${argv.join(' ')}\n${result.stderr}`).toMatchObject({ type: 'error', ok: false, code, exit });
    expect(result.code, argv.join(' ')).toBe(exit);
    expect(result.stderr, argv.join(' ')).toMatch(says);
    expect(result.stderr, argv.join(' ')).not.toMatch(/\n\s+at /);
    const chinese = await qkv(...argv, '--lang', 'zh');
    expect(chinese.stderr, argv.join(' ')).toMatch(new RegExp(`^${code} .*[\\u4e00-\\u9fff]`, 'mu'));
  }
  expect(readdirSync('runs').sort()).toEqual(before);
});

test('a checkpoint that is cut short is passed over for the one before; a tokenizer of another size and a run without checkpoints are refused', async () => {
  await qkv('train', 'data=book.txt', 'name=cut', 'steps=8', ...SMALL);
  truncateSync('runs/cut/step-000008/model.safetensors', 500);
  const { last, code, stderr } = await qkv('generate', 'cut', 'the', 'maxTokens=2', '--json');
  expect(code, stderr).toBe(0);
  expect(last.step).toBe(4);
  expect(stderr).toMatch(/^W222 .*step-000004 will be used instead/);
  expect((await qkv('generate', 'cut', 'the', 'maxTokens=2', '--lang', 'zh')).stderr).toMatch(/^W222 .*改用 step-000004/);
  truncateSync('runs/cut/step-000004/model.safetensors', 500);
  expect((await qkv('generate', 'cut', 'the')).code).toBe(66);
  rmSync('runs/cut/step-000008', { recursive: true });
  rmSync('runs/cut/step-000004', { recursive: true });
  expect((await qkv('generate', 'cut', 'the', '--json')).last).toMatchObject({ code: 'E152', exit: 3 });
});

test('a loss that is no number ends the run before the update, with its last good checkpoint and what to try', async () => {
  await qkv('train', 'data=book.txt', 'name=wild', 'steps=4', ...SMALL);
  const { code, last, stderr } = await qkv(
    'train',
    'wild',
    '--resume',
    'steps=40',
    'lr=1e9',
    'minLr=1e9',
    'warmup=0',
    'clip=0',
    'schedule=constant',
    '--json',
  );
  expect(last, stderr).toMatchObject({ code: 'E140', exit: 70 });
  expect(code).toBe(70);
  expect(stderr).toMatch(/Last good: runs\/wild\/step-\d{6}. Try: qkv train wild --resume lr=\S+ clip=1/);
  expect((await qkv('runs', 'show', 'wild', '--json')).last.status).toBe('failed');
});

test('generate --truncate left keeps the end of a prompt that is too long', async () => {
  const { code, last } = await qkv('generate', 'cat', 'the cat sat on the mat', '--truncate', 'left', 'maxTokens=2', '--json');
  expect(code).toBe(0);
  expect(last.texts[0].tokens).toBe(2);
});

// ---- what only a process of its own shows: signals, pipes, exit codes ----

const entry = fileURLToPath(new URL('./main.ts', import.meta.url));
const children: ReturnType<typeof spawn>[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});
function start(...argv: string[]) {
  const tsx = import.meta.resolve('tsx');
  const child = spawn(process.execPath, ['--import', tsx, entry, ...argv], {
    cwd: folder,
    env: { ...process.env, LANG: 'C', QKV_BACKEND: 'reference' },
  });
  children.push(child);
  const written = { stdout: '', stderr: '' };
  child.stdout.on('data', (d) => (written.stdout += d));
  child.stderr.on('data', (d) => (written.stderr += d));
  const ended = new Promise<{ code: number | null; signal: string | null }>((done) =>
    child.on('close', (code, signal) => done({ code, signal })),
  );
  const says = async (text: string) => {
    while (!written.stdout.includes(text)) {
      if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode} before it said ${text}: ${written.stderr}`);
      await new Promise((r) => setTimeout(r, 20));
    }
  };
  return { child, written, ended, says };
}

test('the first Ctrl-C saves and ends with 0; the run goes on from there', async () => {
  const run = start('train', 'data=book.txt', 'name=stopped', 'steps=100000', ...SMALL, 'evalEvery=5', 'saveEvery=0');
  await run.says('  5 ');
  run.child.kill('SIGINT');
  expect(await run.ended, run.written.stderr).toEqual({ code: 0, signal: null });
  expect(run.written.stdout).toMatch(/■ stopped at step \d+, saved/);
  const shown = /stopped at step ([\d,]*\d)/.exec(run.written.stdout)![1]; // 1,234 on a machine that was busy elsewhere
  const step = Number(shown.replaceAll(',', ''));
  expect((await qkv('runs', 'show', 'stopped', '--json')).last).toMatchObject({ status: 'stopped', step });
  const { stdout } = await qkv('train', 'stopped', '--resume', `steps=${step + 2}`);
  expect(stdout).toContain(`from step ${shown}`);
}, 60_000);

test('SIGTERM does the same as the first Ctrl-C', async () => {
  const run = start('train', 'data=book.txt', 'name=term', 'steps=100000', ...SMALL, 'evalEvery=5', 'saveEvery=0');
  await run.says('  5 ');
  const second = await qkv('train', 'term', '--resume');
  expect([second.code, second.stderr.slice(0, 4)]).toEqual([2, 'E156']); // not "begin it again"
  run.child.kill('SIGTERM');
  expect((await run.ended).code).toBe(0);
}, 60_000);

test('a reader that goes away is no fault', async () => {
  const run = start('config', 'keys');
  run.child.stdout.destroy();
  expect(await run.ended).toEqual({ code: 0, signal: null });
  expect(run.written.stderr).toBe('');
}, 60_000);
