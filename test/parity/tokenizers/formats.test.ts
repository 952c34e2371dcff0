import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { QkvError } from '../../../src/errors.ts';
import { loadChatTemplate, loadTokenizer } from '../../../src/io/load-tokenizer.ts';
import {
  mergesFiles,
  tiktokenFile,
  tokenizerFromTiktoken,
  tokenizerToJson,
  trainBpe,
  trainWordPiece,
  vocabTxt,
} from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';
import type { OfficialTokenizer } from './official.ts';

const official = createRequire(import.meta.url)('tokenizers') as typeof import('tokenizers');
const folder = mkdtempSync(join(tmpdir(), 'qkv-formats-'));
afterAll(() => rmSync(folder, { recursive: true }));
const corpus = mixedLines(1_500, 31);
const lines = mixedLines(2_000, 32);
const inFolder = (name: string, files: Record<string, string | Uint8Array>): string => {
  const path = join(folder, name);
  mkdirSync(path);
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
  return path;
};
async function idsOf(theirs: unknown): Promise<number[][]> {
  const encodings = await (theirs as OfficialTokenizer).encodeBatch(lines, { addSpecialTokens: false });
  return encodings.map((e) => e.getIds());
}

test('tiktoken files: ids are tiktoken’s, for three patterns', () => {
  const expected = JSON.parse(readFileSync(new URL('./tiktoken.golden.json', import.meta.url), 'utf8')) as Record<
    string,
    number[][]
  >;
  const cases = mixedLines(150, 21);
  for (const pattern of ['gpt2', 'llama3', 'gpt4o'] as const) {
    // The vocabulary that compare-tiktoken.ts gave to tiktoken: training is a function of the text.
    const { text } = tiktokenFile(trainBpe(mixedLines(2_000, 23), { vocabSize: 1_500, pattern }));
    const tokenizer = tokenizerFromTiktoken(text, { pattern });
    expect(cases.map((line) => Array.from(tokenizer.encode(line)))).toEqual(expected[pattern]);
    expect(tokenizer.decode(tokenizer.encode(cases[0]))).toBe(cases[0]);
  }
});

test('a tiktoken file does not say how it cuts: by the number of ranks, or it must be said', () => {
  const { text } = tiktokenFile(trainBpe(corpus, { vocabSize: 400 }));
  expect(() => tokenizerFromTiktoken(text)).toThrow(/give the pattern/);
  expect(tokenizerFromTiktoken(text, { pattern: 'gpt2', specialTokens: { '<|end|>': 400 } }).specialTokens.get('<|end|>')).toBe(
    400,
  );
  for (const bad of ['', 'IQ== x\n', 'IQ== 0\nIQ== 1\n', 'IQ== 0\nIg== 0\n', '*** 0\n', 'IQ== 9999999\n'])
    expect(() => tokenizerFromTiktoken(bad, { pattern: 'gpt2' }), bad).toThrow(QkvError);
});

test('vocab.txt: ids equal the official package reading the same file', async () => {
  for (const lowercase of [true, false]) {
    const trained = trainWordPiece(corpus, { vocabSize: 2_500, lowercase, limitAlphabet: 900 });
    const path = inFolder(`bert-${lowercase}`, {
      'vocab.txt': vocabTxt(trained),
      'tokenizer_config.json': JSON.stringify({ do_lower_case: lowercase }),
    });
    const { tokenizer, format } = await loadTokenizer(path);
    expect(format).toBe('vocab.txt');
    const theirs = new official.Tokenizer(await official.WordPiece.fromFile(join(path, 'vocab.txt'), { unkToken: '[UNK]' }));
    theirs.setNormalizer(official.bertNormalizer({ lowercase, stripAccents: lowercase }));
    theirs.setPreTokenizer(official.bertPreTokenizer());
    expect(lines.map((line) => Array.from(tokenizer.encode(line)))).toEqual(await idsOf(theirs));
    const framed = Array.from(tokenizer.encode('the', { addSpecialTokens: true }), (id) => tokenizer.idToToken(id));
    expect([framed[0], framed.at(-1)]).toEqual(['[CLS]', '[SEP]']);
  }
});

test('vocab.json and merges.txt: ids equal the official package reading the same files', async () => {
  const trained = trainBpe(corpus, { vocabSize: 2_000, specialTokens: ['<|endoftext|>'] });
  const { vocabJson, mergesTxt, pattern } = mergesFiles(trained);
  expect(pattern).toBe('gpt2');
  const path = inFolder('gpt2', { 'vocab.json': vocabJson, 'merges.txt': mergesTxt });
  const { tokenizer } = await loadTokenizer(path);
  expect((await loadTokenizer(join(path, 'merges.txt'))).path).toBe(join(path, 'vocab.json'));
  const theirs = new official.Tokenizer(await official.BPE.fromFile(join(path, 'vocab.json'), join(path, 'merges.txt')));
  theirs.setPreTokenizer(official.byteLevelPreTokenizer(false));
  const ids = lines.map((line) => Array.from(tokenizer.encode(line)));
  expect(ids).toEqual(await idsOf(theirs));
  expect(ids).toEqual(lines.map((line) => Array.from(trained.encode(line))));
  expect([...tokenizer.specialTokens]).toEqual([['<|endoftext|>', 0]]);
});

test('one loader for all: by folder and by file, special tokens from tokenizer_config.json', async () => {
  const trained = trainBpe(corpus, { vocabSize: 400 });
  const json = inFolder('json', { 'tokenizer.json': tokenizerToJson(trained) });
  expect((await loadTokenizer(json)).format).toBe('tokenizer.json');
  const golden = JSON.parse(gunzipSync(readFileSync(new URL('./sentencepiece.golden.json.gz', import.meta.url))).toString());
  const model = inFolder('spm', {
    'tokenizer.model': Buffer.from(golden.models.bpe.model, 'base64'),
    'tokenizer_config.json': '{"add_bos_token":true}',
  });
  const loaded = await loadTokenizer(model);
  expect(loaded.format).toBe('sentencepiece');
  expect(Array.from(loaded.tokenizer.encode(golden.lines[0], { addSpecialTokens: true }))).toEqual([
    1,
    ...golden.models.bpe.ids[0],
  ]);
  const { vocabJson, mergesTxt } = mergesFiles(trained);
  const config = { bos_token: { content: '<s>' }, additional_special_tokens: ['<|im_end|>'] };
  const gpt2 = inFolder('config', {
    'vocab.json': vocabJson,
    'merges.txt': mergesTxt,
    'tokenizer_config.json': JSON.stringify(config),
  });
  expect([...(await loadTokenizer(gpt2)).tokenizer.specialTokens.keys()]).toEqual(['<s>', '<|im_end|>']);
  // Llama 3 publishes tiktoken ranks under the name tokenizer.model.
  const ranks = inFolder('ranks', { 'tokenizer.model': tiktokenFile(trained).text });
  const { tokenizer, format } = await loadTokenizer(ranks, { pattern: 'gpt2' });
  expect(format).toBe('tiktoken');
  expect(tokenizer.encode('the cat')).toEqual(trained.encode('the cat'));
});

test('the chat template of a folder: the file, or the configuration, with the special tokens that it names', async () => {
  const config = {
    bos_token: { content: '<s>' },
    eos_token: '</s>',
    chat_template: '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}',
  };
  const messages = [{ role: 'user', content: 'hi' }];
  const inConfig = inFolder('chat-config', { 'tokenizer_config.json': JSON.stringify(config) });
  expect((await loadChatTemplate(inConfig))?.render(messages)).toBe('<s>hi</s>');
  const several = {
    ...config,
    chat_template: [
      { name: 'tool_use', template: 'x' },
      { name: 'default', template: 'y{{ bos_token }}' },
    ],
  };
  expect(
    (await loadChatTemplate(inFolder('chat-several', { 'tokenizer_config.json': JSON.stringify(several) })))?.render(messages),
  ).toBe('y<s>');
  const inFile = inFolder('chat-file', {
    'tokenizer_config.json': JSON.stringify(config),
    'chat_template.jinja': '[{{ messages[0].role }}]',
  });
  expect((await loadChatTemplate(inFile))?.render(messages)).toBe('[user]');
  expect(await loadChatTemplate(folder)).toBeUndefined();
});

test('what is no tokenizer is a typed error that names the file', async () => {
  const bad = inFolder('bad', {
    'a.json': '{"model":',
    'b.model': Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f),
    'c.bin': Uint8Array.of(1, 2, 3),
    'vocab.json': '{"a":0}',
    'd.txt': 'no special tokens\n',
  });
  const config = inFolder('config-bad', { 'vocab.txt': '[UNK]\n[CLS]\n[SEP]\n', 'tokenizer_config.json': 'not json' });
  const good = inFolder('half', { 'vocab.json': '{"a":0}' });
  for (const path of [join(bad, 'a.json'), join(bad, 'b.model'), join(bad, 'c.bin'), join(bad, 'd.txt'), good, config])
    await expect(loadTokenizer(path), path).rejects.toThrow(expect.objectContaining({ code: 'TOKENIZER' }));
  await expect(loadTokenizer(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'E182' });
  await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: 'E182' });
});
