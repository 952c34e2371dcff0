import { expect, test } from 'vitest';
import { QkvError } from '../../errors.ts';
import { CheckpointError } from '../../io/checkpoint-error.ts';
import { type Place, resolve, settingsOfArguments } from '../../settings/config.ts';
import { type Code, cmd, messages, opt, type Values } from './index.ts';
import { explain, Output, plainText } from '../output.ts';
import { parse } from '../parse.ts';
import { verbs } from '../verbs/index.ts';

const file: Place = { file: 'qkv.json', line: 7 };
const words: Place = { argument: 'dModel=130' };

/** One set of values for each code, some with a second one for the other branch of its text. */
const cases: { [C in Code]: Values[C][] } = {
  E100: [{ verb: 'trian', nearest: 'train' }, { verb: 'xyz' }],
  E101: [
    {
      key: 'nHeads',
      at: file,
      nearest: 'nHead',
      keys: ['nLayer', 'nHead', 'dModel', 'dFF', 'lr', 'steps', 'batch', 'seed', 'keep'],
    },
    { key: 'a', at: { argument: 'a=b' }, keys: ['seed'], text: true },
  ],
  E102: [
    { rule: 'dModel', dModel: 130, nHead: 4, tries: [128, 132], at: words },
    { rule: 'even', dModel: 132, nHead: 4, tries: [128, 136], at: file },
    { rule: 'nKvHead', nHead: 6, nKvHead: 4, tries: [1, 2, 3, 6] },
  ],
  E103: [{ key: 'dropout', value: 1.5, at: file, allowed: 'a number ≥ 0, < 1', allowedZh: '数 ≥ 0, < 1' }],
  E104: [
    { file: 'qkv.json', line: 3, problem: 'expected', what: ':' },
    { file: 'qkv.json', line: 4, problem: 'duplicate', what: 'lr' },
    { file: 'qkv.json', line: 5, problem: 'value', what: 'yes' },
  ],
  E105: [{ key: 'data' }],
  E106: [{ at: { argument: 'depth=6' } }],
  E107: [
    { flag: 'resum', verb: 'train', problem: 'unknown', nearest: 'resume' },
    { flag: 'lang', verb: 'train', problem: 'bad-value', allowed: 'zh | en' },
    { flag: 'top', verb: 'trace', problem: 'needs-value', allowed: '0, 1, 2 …' },
    { flag: 'json', verb: 'runs ls', problem: 'no-value' },
  ],
  E108: [{ verb: 'eval', word: 'RUN', usage: 'qkv eval RUN [key=value …]' }],
  E109: [{ what: 'removing demo-1' }],
  E110: [{ word: 'me', usage: 'qkv eval RUN [key=value …]' }],
  E111: [
    { key: 'qkNorm', model: 'gpt2', value: false, families: ['llama'], at: file },
    { key: 'cell', model: 'llama', value: undefined, families: ['rnn'] },
  ],
  E112: [
    {
      objective: 'masked',
      model: 'llama',
      possible: ['causal', 'pairs'],
      families: ['bert'],
      at: { argument: 'objective=masked' },
    },
  ],
  E113: [
    { verb: 'trace', name: 'bert-1', model: 'bert', kind: 'encoder' },
    { verb: 'trace', name: 'en-de-1', model: 'transformer', kind: 'encoder-decoder' },
  ],
  E114: [
    { path: 'models/x', reason: 'none' },
    { path: 'models/x', reason: 'tokenizer' },
  ],
  E116: [{ key: 'nLayer', asked: 6, value: 12, from: 'models/gpt2', at: { argument: 'nLayer=6' } }],
  E120: [
    {
      needed: 5.9e9,
      available: 3.1e9,
      largest: 'activations',
      largestBytes: 5.2e9,
      ways: [
        { setting: 'batch=4', bytes: 1.5e9 },
        { setting: 'contextLength=256', bytes: 1.6e9 },
      ],
    },
    { needed: 5.9e9, available: 3.1e9, largest: 'weights', largestBytes: 5.2e9, ways: [] },
  ],
  E121: [{ bytes: 4.2e9, availableBytes: 1.1e9, liveBytes: 2e9, limitBytes: 3.1e9 }],
  E122: [{ needed: 14.2e9, free: 9.1e9, checkpoints: 3, folder: 'runs/big-1' }],
  E130: [{ path: 'bok.txt' }],
  E131: [
    { path: 'data/train.jsonl', line: 1, field: 'text', fields: ['content', 'id'] },
    { path: 'my data.jsonl', line: 1, field: 'text', fields: [] },
    { path: 'headless.tsv', line: 1, field: 'text', fields: [`we study models of ${'attention and '.repeat(8)}more`, 'title'] },
  ],
  E132: [
    { path: 'data/novel.txt', line: 3421, byte: 7, guess: 'gbk' },
    { path: 'data/novel.txt', line: 3421, byte: 7, guess: 'unknown' },
  ],
  E133: [{ path: 'book.pdf', looksLike: 'a PDF' }],
  E134: [
    { path: 'data', files: 0, rows: 0, rejected: {} },
    { path: 'data/empty.txt', files: 1, rows: 12, rejected: { empty: 12, bad_json: 0 } },
  ],
  E135: [
    { split: 'validation', tokens: 40, contextLength: 64, largest: 39 },
    { split: 'training', tokens: 0, contextLength: 64, largest: 0 },
  ],
  E136: [
    {
      rejected: 120,
      rows: 4000,
      limit: 0.01,
      kinds: { bad_json: 100, too_long: 20, empty: 0 },
      first: { source: 'rows.jsonl', line: 17, kind: 'bad_json', reason: 'expected "{"' },
      rejectsFile: 'runs/.data/x/rejects.jsonl',
    },
  ],
  E137: [{ path: 'data/book.txt' }],
  E138: [{ path: 'runs/.data/x', reason: 'manifest.json is missing' }],
  E139: [
    { path: 'runs/.data/x', operation: 'write', reason: 'full' },
    { path: 'book.txt', operation: 'read', reason: 'permission' },
  ],
  E140: [
    {
      step: 812,
      what: 'loss',
      value: 'NaN',
      where: 'gradient of blocks.2.attn.qkvProj.weight',
      previousStep: 811,
      previousLoss: 2.913,
      run: 'big-1',
      lastGood: 'runs/big-1/step-000800',
      lr: 9e-4,
    },
    { step: 0, what: 'gradNorm', value: 'Infinity', run: 'big-1' },
  ],
  E141: [
    { path: 'pairs.csv', line: 2, wanted: ['source'], columns: ['zh', 'en'], setting: 'source=zh' },
    { path: 'chat.jsonl', line: 1, wanted: ['messages', 'conversations'], columns: [] },
  ],
  E142: [{ path: 'rules.json', problem: 'rule 1 is "unicod"', rules: ['unicode', 'controls'] }],
  E143: [{ path: 'train.zh', other: 'train.en', lines: 100, otherLines: 99 }],
  E117: [{ path: 'shards' }],
  E144: [{ path: 'book.txt', model: 'transformer' }, { path: 'pairs.txt' }],
  E145: [{ pairs: 20, fit: 1, contextLength: 16, longest: 41 }],
  E147: [{ tokens: ['<|im_start|>', '<|im_end|>'] }, { tokens: [], run: 'demo-1' }],
  E146: [{ path: 'news', splits: ['train', 'test'] }],
  E150: [
    { name: 'dmeo-1', runs: ['demo-1', 'demo-2'], nearest: 'demo-1', folder: 'runs' },
    { name: 'demo-1', runs: [], folder: 'runs' },
  ],
  E151: [{ name: 'demo-1', step: 2000, free: 'demo-2' }],
  E152: [{ name: 'demo-1' }],
  E153: [{ path: 'demo' }],
  E154: [{ template: 'tiny-cn', templates: ['tiny-en', 'tiny-zh'], nearest: 'tiny-zh' }],
  E155: [
    { name: 'demo-1', step: 700, steps: [1000, 500] },
    { name: 'demo-1', step: 'best', steps: [] },
  ],
  E156: [{ name: 'demo-1', pid: 812, host: 'mill' }],
  E157: [{ name: '../x' }],
  E158: [
    { path: 'tokenizer.json' },
    { path: 'clean.jsonl', setting: 'out' },
    { path: 'shards', setting: 'out', reason: 'the tokenizer is another one' },
  ],
  E159: [{ key: 'dModel', before: 128, after: 256, name: 'demo-1' }],
  E160: [{ tokens: 143, contextLength: 64 }],
  E161: [{ verb: 'generate' }],
  E162: [{ char: '解', position: 5, vocabSize: 65 }],
  E163: [{ layer: 9, head: 0, nLayer: 4, nHead: 4 }],
  E164: [
    { name: 'demo-1', step: 2000, steps: 2000 },
    { name: 'demo-1', step: 2000, steps: 100 },
  ],
  E170: [
    { repo: 'org/tiny', what: 'repo', endpoint: 'https://hub.example', hasToken: false },
    { repo: 'org/tiny', what: 'repo', endpoint: 'https://hub.example', hasToken: true },
    { repo: 'org/tiny', what: 'revision', name: 'v9' },
    { repo: 'org/tiny', what: 'file', name: 'config.json' },
  ],
  E171: [
    { repo: 'org/tiny', endpoint: 'https://hub.example', status: 401, hasToken: false },
    { repo: 'org/tiny', endpoint: 'https://hub.example', status: 403, hasToken: true },
  ],
  E172: [{ repo: 'org/tiny', endpoint: 'https://hub.example', reason: 'ENOTFOUND' }],
  E173: [{ repo: 'org/tiny', file: 'model.safetensors', expected: 'aa', found: 'bb' }],
  E174: [{ needed: 5.1e8, free: 4e6, folder: 'cache' }],
  E175: [{ repo: 'org/tiny', files: ['a.Q4.gguf', 'a.Q8.gguf'] }],
  E176: [{ endpoint: 'https://hub.example', detail: 'HTTP 418' }],
  E177: [{ name: 'tiny' }],
  E178: [{ repo: 'org/tiny', pid: 12, host: 'box' }, { repo: 'org/tiny' }],
  E165: [{ tokens: ['[MASK]', '<mask>'] }],
  E166: [{ name: 'bert-1', model: 'bert', mask: '[MASK]' }],
  E180: [{ expected: 2048, found: 4096, path: 'runs/x/tokenizer.json', sha: '9f3a12', right: 'runs/demo-1/tokenizer.json' }],
  E181: [
    { path: 'runs', reason: 'EROFS' },
    { path: '', reason: 'full' },
  ],
  E182: [{ path: 'qkv.jsn' }, { path: 'texts', folder: true }],
  E183: [{ path: 'qkv.json', reason: 'EACCES' }],
  E184: [{ file: 'model.safetensors', code: 'OVERLAP', detail: '"b" starts at 8, expected 16', hint: 'Download it again' }],
  E185: [{ detail: 'the model has no vocabulary' }],
  E190: [{ detail: 'x is not a function' }],
  E191: [{ reason: 'the addon is not built' }],
  W201: [{ reason: 'the addon is not built' }],
  W202: [{ needed: 2.7e9, available: 3.1e9 }],
  W203: [{ loss: 9.31, expected: 7.62 }],
  W210: [{ times: 5, from: 2.41, to: 2.63, bestStep: 450 }],
  W220: [{ detail: 'the checkpoint of step 8 could not be saved (ENOSPC: no space left on device, write)' }],
  W221: [{ message: 'the folder could not be synced' }],
  W222: [
    {
      folder: 'runs/demo-1/step-000450',
      why: '"model.safetensors" has 500 bytes, the manifest says 9000. step-000400 will be used instead',
    },
  ],
  W231: [{ duplicates: 1200, documents: 5000 }],
  W232: [{ documents: 3 }],
  W233: [{ documents: 3 }],
  W234: [{ documents: 3 }],
  W235: [{ p90: 12, contextLength: 64 }],
  W236: [{ units: 900 }],
};
const codes = (Object.keys(messages) as Code[]).sort();
const all = codes.flatMap((code) => cases[code].map((values) => ({ code, values })));
const textsOf = (lang: 'en' | 'zh') => all.map(({ code, values }) => ({ code, text: messages[code][lang](values as never) }));

test('every code, in both languages, reads as the golden page says', async () => {
  expect(Object.keys(cases).sort()).toEqual([...codes].sort());
  const out = new Output({ stdout: { write: () => 0 }, stderr: { write: () => 0 } });
  const page = all.flatMap(({ code, values }) =>
    (['zh', 'en'] as const).map((lang) => out.layout(code, messages[code][lang](values as never))),
  );
  await expect(`${page.join('\n\n')}\n`).toMatchFileSnapshot('./messages.golden.txt');
});

test('no text of a message is left empty, undefined or in the wrong language', () => {
  for (const { code, text } of textsOf('en')) {
    const plain = plainText(text).replace(/从前|解|“|”/g, '');
    expect(plain, code).not.toMatch(code === 'E140' ? /undefined/ : /undefined|NaN|\[object|[\u4e00-\u9fff，。：（]/u);
  }
  for (const { code, text } of textsOf('zh')) {
    if (code === 'E184' || code === 'W221') continue; // carries the reader's English detail
    expect(plainText(text), code).toMatch(/[\u4e00-\u9fff]/u);
    expect(plainText(text), code).not.toMatch(/undefined|\[object/);
  }
});

/** Words of a command as a shell would give them: quotes and `\'` are all that our messages use. */
function shellWords(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|"[^"]*"|\\.|[^\s])+/g)].map(([w]) => w.replace(/'([^']*)'|"([^"]*)"|\\(.)/g, '$1$2$3'));
}

test('every command and setting that a message or an example quotes is understood by the real parser', () => {
  let commands = 0;
  let settings = 0;
  const check = (line: string, code: string) => {
    const [name, ...argv] = shellWords(line);
    expect(name, `${code}: ${line}`).toBe('qkv');
    const { verb, args } = parse(argv, verbs);
    expect(verb, `${code}: ${line}`).toBeDefined();
    if (verb!.name === 'train' || verb!.name === 'estimate') resolve([], settingsOfArguments(args.settings), { needData: false });
    else for (const { key } of args.settings) expect(Object.keys(verb!.settings!), `${code}: ${line}`).toContain(key);
    commands++;
  };
  const texts = (['en', 'zh'] as const).flatMap(textsOf);
  for (const { code, text } of texts) {
    for (const part of [text.what, ...text.more]) {
      for (const [, line] of part.matchAll(/\x01([^\x02]*)\x02/g)) check(line, code);
      for (const [, word] of part.matchAll(/\x03([^\x02]*)\x02/g)) {
        const ok = verbs.some((v) => {
          try {
            const { args } = parse([...v.name.split(' '), '--help', ...word.split(' ')], [v]);
            for (const s of args.settings) if (s.key !== 'data') resolve([], settingsOfArguments([s]), { needData: false });
            return args.words.length === 0;
          } catch {
            return false;
          }
        });
        expect(ok, `${code}: ${word}`).toBe(true);
        settings++;
      }
    }
  }
  for (const verb of verbs) for (const line of verb.examples) check(line, verb.name);
  expect(commands).toBeGreaterThan(60);
  expect(settings).toBeGreaterThan(30);
});

test('exit codes are those of the table in cli.md', () => {
  const exits: Partial<Record<Code, number>> = {
    E101: 2,
    E102: 2,
    E160: 2,
    E120: 4,
    E122: 4,
    E131: 65,
    E132: 65,
    E180: 65,
    E140: 70,
    E150: 3,
    E155: 3,
    E184: 65,
    E191: 69,
  };
  for (const [code, exit] of Object.entries(exits)) expect(messages[code as Code].exit, code).toBe(exit);
  for (const code of codes) expect(messages[code].exit === undefined, code).toBe(code.startsWith('W'));
});

test('errors from elsewhere find their entry: refused files keep their own code and exit code, faults of ours are E190', () => {
  expect(explain(new CheckpointError('OVERLAP', 'm.safetensors', 'x', 'y'), 'en')).toMatchObject({ label: 'OVERLAP', exit: 65 });
  expect(explain(new CheckpointError('ALL_DAMAGED', 'runs/x', 'x', '', 66), 'zh')).toMatchObject({
    label: 'ALL_DAMAGED',
    exit: 66,
  });
  expect(explain(new QkvError('TOKENIZER', 'no vocabulary'), 'en')).toMatchObject({ label: 'E185', exit: 65 });
  expect(explain(new QkvError('E150', 'm', { name: 'x', runs: [], folder: 'runs' }), 'en')).toMatchObject({
    label: 'E150',
    exit: 3,
  });
  expect(explain(new TypeError('oops'), 'en')).toMatchObject({ label: 'E190', exit: 1 });
  expect(explain(Object.assign(new Error('x'), { code: 'ENOSPC', syscall: 'write', path: '/x' }), 'en')).toMatchObject({
    label: 'E181',
    exit: 4,
  });
  expect(explain(Object.assign(new Error('x'), { code: 'EACCES', syscall: 'scandir', path: '/x' }), 'en')).toMatchObject({
    label: 'E183',
    exit: 3,
  });
  // Values that the table did not expect must not hide what happened.
  expect(explain(new QkvError('E150', 'no such run'), 'en').text.what).toBe('no such run');
});

test('control characters in values cannot steer the terminal', () => {
  const out = new Output({ stdout: { write: () => 0 }, stderr: { write: () => 0 } });
  const shown = out.layout('E150', messages.E150.en({ name: '\x1b[2Jx\x07', runs: [], folder: 'runs' }));
  expect(shown).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
  expect(cmd('x') + opt('y')).toMatch(/^\x01x\x02\x03y\x02$/);
});
