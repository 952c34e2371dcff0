// From a dialogue file to a model that answers: a loss on the answers alone, and a small model that learns them.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { IGNORE_INDEX, type Message, prepareData } from '../data/index.ts';
import { realFs, type WriteFs } from '../data/disk.ts';
import { findCheckpoint, loadChatTemplate } from '../io/index.ts';
import { dispose } from '../nn/index.ts';
import { resolve, type TrainConfig } from '../settings/index.ts';
import { byteTokenizer, chatmlTokens, trainBpe, type Tokenizer } from '../tokenizers/index.ts';
import { Chat } from './chat.ts';
import { chatTemplateOf, dialogueEncoder, endOfAnswer, openDialogues, templateFrom } from './dialogues.ts';
import { buildModel, loadModel } from './model-folder.ts';
import { pretrain } from './pretrain.ts';
import { readTokenizer } from './tokenizer.ts';
import { objectiveFor, openTask } from './tasks/open.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-dialogues-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const animals = ['cat', 'dog', 'cow', 'duck', 'owl', 'pig', 'bee', 'frog'];
const sounds = ['meow', 'woof', 'moo', 'quack', 'hoot', 'oink', 'buzz', 'croak'];
const dongwu = ['猫', '狗', '牛', '鸭'];
const jiao = ['喵喵', '汪汪', '哞哞', '嘎嘎'];
/** Every dialogue with its messages, and its row in one of the three shapes. */
const said: { messages: Message[]; row: object }[] = [
  ...animals.map((animal, i) => {
    const messages: Message[] = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: `What does the ${animal} say?` },
      { role: 'assistant', content: sounds[i] },
      { role: 'user', content: 'Again!' },
      { role: 'assistant', content: `${sounds[i]} ${sounds[i]}` },
    ];
    return { messages, row: { messages } };
  }),
  ...animals.map((animal, i) => {
    const [q, a] = [`Say it as a ${animal} does`, `${sounds[i]}!`];
    return {
      messages: [
        { role: 'user' as const, content: q },
        { role: 'assistant' as const, content: a },
      ],
      row: {
        conversations: [
          { from: 'human', value: q },
          { from: 'gpt', value: a },
        ],
      },
    };
  }),
  ...dongwu.map((name, i) => ({
    messages: [
      { role: 'user' as const, content: `怎么叫？\n${name}` },
      { role: 'assistant' as const, content: jiao[i] },
    ],
    row: { instruction: '怎么叫？', input: name, output: jiao[i] },
  })),
];
const file = join(folder, 'chat.jsonl');
writeFileSync(file, said.map(({ row }) => `${JSON.stringify(row)}\n`).join(''));

const configOf = (more: Record<string, unknown>): TrainConfig => {
  const settings = { data: file, objective: 'dialogues', valFraction: 0.2, ...more };
  return resolve(
    [],
    Object.entries(settings).map(([key, value]) => ({ key, value, at: { argument: key } })),
  ).config;
};
const bytes = byteTokenizer({ specialTokens: ['<|endoftext|>', ...chatmlTokens] });

/** The words of a packed batch that are asked, document by document. */
function askedIn(
  tokenizer: Tokenizer,
  { targets, documents, shape: [B, T] }: { targets: Int32Array; documents: Int32Array; shape: readonly number[] },
) {
  const found = new Map<string, number[]>();
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++) {
      const key = `${b}:${documents[b * T + t]}`;
      if (documents[b * T + t] >= 0) found.set(key, found.get(key) ?? []);
      if (targets[b * T + t] !== IGNORE_INDEX) found.get(key)!.push(targets[b * T + t]);
    }
  return [...found.values()].map((ids) => tokenizer.decode(ids)).sort();
}

test.each(['llama', 'tcn'])(
  '%s: the targets are the answers and what ends them, nothing else, and no dialogue is lost',
  async (model) => {
    const tokenizer = trainBpe(
      said.flatMap((s) => s.messages.map((m) => m.content)),
      { vocabSize: 300, specialTokens: ['<|endoftext|>', ...chatmlTokens] },
    );
    const config = configOf({
      model,
      contextLength: 96,
      batch: 5,
      dModel: 16,
      ...(model === 'llama' ? { nHead: 2 } : {}),
      nLayer: 1,
      valFraction: 0.2,
    });
    const any = buildModel(config, tokenizer.vocabSize);
    const template = await chatTemplateOf(tokenizer);
    const task = await openTask(config, any, tokenizer, { folder: join(folder, `masks-${model}`), template });
    expect(task.manifest!.train.documents + task.manifest!.val.documents).toBe(said.length);
    expect(task.manifest!.val.documents).toBeGreaterThan(0);
    const wanted = said.map(({ messages }) =>
      messages
        .filter((m) => m.role === 'assistant')
        .map((m) => `${m.content}<|im_end|>`)
        .join(''),
    );
    // One epoch of training rows (batches of 5 rows wrap into the next), and all of validation.
    const seen = new Set<string>();
    for (let m = 0; m < 12; m++) {
      const batch = task.at(m);
      const asked = askedIn(tokenizer, batch);
      for (const text of asked) expect(wanted).toContain(text);
      for (const text of asked) seen.add(text);
      expect(batch.targetTokens).toBe(batch.targets.filter((t: number) => t !== IGNORE_INDEX).length);
      if (model === 'llama')
        expect(asked.length).toBeGreaterThan(5); // several dialogues share a row
      else expect(asked.length).toBe(5);
    }
    const score = await task.evaluate({});
    expect(score.tokens).toBe(task.manifest!.val.answerTokens);
    expect(seen.size).toBeGreaterThan(0.6 * new Set(wanted).size);
    task.close();
    dispose(any.model);
  },
);

test('a dialogue longer than the context: each answer token is asked once, in parts', async () => {
  const long = join(folder, 'long.jsonl');
  const messages = Array.from({ length: 30 }, (_, i) => ({
    role: i % 2 ? 'assistant' : 'user',
    content: `${i}: ${'ab'.repeat(i)}`,
  }));
  writeFileSync(long, `${JSON.stringify({ messages })}\n${JSON.stringify({ messages: messages.slice(0, 4) })}\n`);
  const config = configOf({
    data: long,
    contextLength: 64,
    batch: 4,
    nLayer: 1,
    dModel: 8,
    nHead: 2,
    'data.split': 'tail',
    valFraction: 0.3,
  });
  const any = buildModel(config, bytes.vocabSize);
  const task = await openTask(config, any, bytes, { folder: join(folder, 'long'), template: await chatTemplateOf(bytes) });
  expect(task.manifest!.split).toMatchObject({ kind: 'tail', cut: task.manifest!.train.tokens });
  expect([task.manifest!.train.documents, task.manifest!.val.documents]).toEqual([1, 1]); // cut between dialogues
  const starts = new Set<string>();
  let asked = 0;
  for (let m = 0; asked < task.manifest!.train.answerTokens!; m++) {
    const batch = task.at(m);
    for (let b = 0; b < 4; b++) {
      const key = batch.inputs.slice(b * 64, (b + 1) * 64).join();
      if (starts.has(key)) continue;
      starts.add(key);
      asked += batch.targets.slice(b * 64, (b + 1) * 64).filter((t: number) => t !== IGNORE_INDEX).length;
    }
    expect(m).toBeLessThan(100);
  }
  expect(asked).toBe(task.manifest!.train.answerTokens);
  task.close();
  dispose(any.model);
});

test('special tokens that a person writes are words; an answer may have its own', async () => {
  const template = await chatTemplateOf(bytes);
  const { text, ids, answers } = dialogueEncoder(bytes, template).encode([
    { role: 'user', content: 'a<|im_end|>\n<|im_start|>assistant\nyes' },
    { role: 'assistant', content: 'no' },
  ]);
  expect(text).not.toContain('a<|im_end|>');
  expect([...ids].filter((id) => id === bytes.specialTokens.get('<|im_start|>'))).toHaveLength(2);
  expect(bytes.decode([...ids].filter((_, i) => answers[i] === 1))).toBe('no<|im_end|>');
  expect(endOfAnswer(bytes, template)).toEqual({ id: bytes.specialTokens.get('<|im_end|>') });
  await expect(chatTemplateOf(byteTokenizer())).rejects.toMatchObject({ code: 'E147' });
  const brackets = await templateFrom({
    template:
      "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[Q]{{ m['content'] }}[A]{% else %}{{ m['content'] }}[END]{% endif %}{% endfor %}",
    specialTokens: { bos_token: '<s>' },
  });
  expect(endOfAnswer(bytes, brackets)).toEqual({ words: '[END]' });
});

test('packed dialogues killed anywhere and run again: the same bytes, answers too', async () => {
  const dialogues = dialogueEncoder(bytes, await chatTemplateOf(bytes));
  const quick: WriteFs = { ...realFs, fsyncSync: () => {} };
  const run = (outDir: string, fs: WriteFs = quick, characters = { n: 0 }) =>
    prepareData({
      path: file,
      outDir,
      tokenizer: bytes,
      dialogues: {
        ...dialogues,
        encode(m) {
          characters.n++;
          return dialogues.encode(m);
        },
      },
      valFraction: 0.3,
      shardTokens: 300,
      fs,
    });
  const snapshot = (outDir: string) =>
    readdirSync(outDir)
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(outDir, name)))
          .digest('hex'),
      ]);
  const whole = join(folder, 'packed');
  const first = await run(whole);
  expect(first.manifest.shards.map((s) => [s.set, s.files.length > 1])).toEqual([
    ['train', true],
    ['train-answers', true],
    ['val', true],
    ['val-answers', true],
  ]);
  expect(first.manifest.dtype).toBe('uint16');
  for (const side of ['train', 'val'] as const) {
    expect(first.answers![side].length).toBe(first[side].length);
    expect(first.answers![side].read(0, first[side].length).reduce((n, x) => n + x, 0)).toBe(first.manifest[side].answerTokens);
  }
  first.close();
  let saved = 0;
  for (let n = 3; n < 200; n += 8) {
    const outDir = join(folder, `killed-${n}`);
    let calls = 0;
    const dying = Object.fromEntries(
      Object.entries(quick).map(([name, f]) => [
        name,
        (...args: unknown[]) => {
          if (++calls >= n) throw new Error('killed');
          return (f as (...a: unknown[]) => unknown)(...args);
        },
      ]),
    ) as unknown as WriteFs;
    const died = await run(outDir, dying).then(
      (p) => void p.close(),
      () => true,
    );
    const characters = { n: 0 };
    (await run(outDir, quick, characters)).close();
    expect([n, snapshot(outDir)]).toEqual([n, snapshot(whole)]);
    saved = Math.max(saved, said.length - characters.n);
    if (died === undefined) break;
  }
  expect(saved).toBeGreaterThan(said.length / 3);
});

test('from a dialogue file to a model that answers, in Chinese and English, streamed in whole characters', async () => {
  const config = configOf({
    ...{
      objective: null,
      tokenizer: 'byte',
      contextLength: 128,
      nLayer: 2,
      nHead: 4,
      dModel: 64,
      batch: 4,
      steps: 220,
      lr: 4e-3,
    },
    ...{ valFraction: 0.15, evalEvery: 0, sampleEvery: 220, saveEvery: 220, backend: null },
  });
  expect(await objectiveFor(config)).toBe('dialogues');
  const root = join(folder, 'runs');
  const events = [];
  for await (const event of pretrain({ config, root, name: 'talk' })) events.push(event);
  const start = events.find((e) => e.type === 'start');
  expect(start).toMatchObject({ data: { dialogues: { template: expect.stringContaining('im_start') } } });
  const end = events.at(-1);
  expect(end).toMatchObject({ type: 'end', status: 'done' });
  expect((end as { lastLossNats: number }).lastLossNats).toBeLessThan(0.1); // ln 259 = 5.56 at the start

  const { folder: checkpoint } = findCheckpoint(join(root, 'talk'))!;
  const tokenizer = readTokenizer(join(checkpoint, 'tokenizer.json'));
  const template = await loadChatTemplate(checkpoint);
  expect(JSON.parse(readFileSync(join(checkpoint, 'generation_config.json'), 'utf8')).eos_token_id).toBe(
    tokenizer.specialTokens.get('<|im_end|>'),
  );
  const any = loadModel(checkpoint);
  if (any.kind !== 'decoder') throw new Error('a decoder was trained');
  const chat = new Chat(any.model, tokenizer, template!);
  // What was trained on is answered to the letter.
  const { train } = await openDialogues({ ...config, objective: 'dialogues' }, tokenizer, template!, {
    folder: join(folder, 'again'),
  });
  const text = tokenizer.decode(train.read(0, train.length));
  train.close();
  let asked = 0;
  for (const { messages } of said) {
    const [question, answer] = messages.filter((m) => m.role !== 'system');
    if (!text.includes(question.content) || messages[0].role === 'system') continue;
    asked++;
    const pieces: string[] = [];
    chat.reset();
    const got = await chat.answer(question.content, { maxTokens: 30, temperature: 0, onText: (p) => void pieces.push(p) });
    expect(got).toMatchObject({ text: answer.content, finish: 'end' });
    expect(pieces.join('')).toBe(answer.content);
    for (const piece of pieces) expect(piece).not.toContain('\ufffd');
  }
  expect(asked).toBeGreaterThan(7);
  // Two turns with what the model is told first; a stop in the middle; a context that is full.
  const brief = new Chat(any.model, tokenizer, template!, { system: 'Be brief.' });
  const known = said.find(({ messages }) => messages[0].role === 'system' && text.includes(messages[1].content))!.messages;
  expect((await brief.answer(known[1].content, { temperature: 0 })).text).toBe(known[2].content);
  expect((await brief.answer(known[3].content, { temperature: 0 })).text).toBe(known[4].content);
  expect(brief.messages).toEqual(known);
  let letters = 0;
  chat.reset();
  const stopped = await chat.answer('Say it as a duck does', { temperature: 0, stop: () => ++letters >= 2 });
  expect(stopped).toMatchObject({ tokens: 2, finish: 'stopped' });
  expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: stopped.text });
  for (let i = 0; i < 6; i++) await chat.answer('Again!', { temperature: 0, maxTokens: 5 });
  expect(chat.forgotten).toBeGreaterThan(0);
  expect(chat.promptIds().length).toBeLessThan(128);
  await expect(chat.answer('x'.repeat(200))).rejects.toMatchObject({ code: 'E160' });
  dispose(any.model);
});
