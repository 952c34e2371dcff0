import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildSpread, decoders, endOfText, tokenizerJson } from '../../test/engines/models.ts';
import { publishedConfig, storedAs } from '../io/hugging-face.ts';
import { savePretrained } from '../io/index.ts';
import { dispose } from '../nn/index.ts';
import { main } from './main.ts';

const home = mkdtempSync(join(tmpdir(), 'qkv-verbs-'));
const [root, source] = [join(home, 'runs'), join(home, 'tiny')];
beforeAll(() => {
  const settings = decoders['llama'];
  const model = buildSpread(settings);
  savePretrained(source, model, {
    config: publishedConfig('llama', settings, endOfText),
    stored: (ours) => storedAs('llama', ours),
  });
  writeFileSync(join(source, 'tokenizer.json'), tokenizerJson);
  dispose(model);
});
afterAll(() => rmSync(home, { recursive: true }));

async function qkv(...argv: string[]) {
  const [out, err]: string[][] = [[], []];
  const sink = (to: string[]) => ({ write: (text: string) => to.push(text) > 0, isTTY: false });
  const code = await main(argv, { stdout: sink(out), stderr: sink(err), env: {} } as never);
  const text = out.join('');
  const events = text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>); // biome-ignore format: one thing
  return { code, text, err: err.join(''), result: events.at(-1) };
}

test('import says what it found; the run writes the same in every form that it went through', async () => {
  const first = await qkv('import', source, '--root', root);
  expect(first.code).toBe(0);
  expect(first.text).toMatch(/llama \(llama\) · writes on/);
  expect(first.text).toMatch(/F32 × \d+/);
  expect(first.text).toMatch(/bpe · 384 entries/);
  const write = async (run: string) => {
    const { result } = await qkv('generate', run, 'the decoder', 'temperature=0', 'maxTokens=20', '--root', root, '--json');
    return (result!['texts'] as { text: string }[])[0].text;
  };
  const text = await write('tiny');
  expect(text.length).toBeGreaterThan(20);
  const gguf = join(home, 'tiny.gguf');
  const made = await qkv('export', 'tiny', '--to', 'gguf', '--out', gguf, '--root', root, '--json');
  expect(made.result).toMatchObject({ type: 'result', ok: true, form: 'gguf', dtype: 'f32', architecture: 'llama', path: gguf });
  expect((await qkv('import', gguf, 'name=back', '--root', root, '--json')).result).toMatchObject({
    ok: true,
    run: 'back',
    container: 'GGUF F32',
  });
  expect(await write('back')).toBe(text);
  const tfjs = join(home, 'tiny-tfjs');
  expect((await qkv('export', 'tiny', '--to', 'tfjs', '--out', tfjs, '--root', root)).code).toBe(0);
  expect((await qkv('import', tfjs, 'name=from-tfjs', '--root', root, '--json')).result).toMatchObject({
    ok: true,
    container: 'TensorFlow.js',
  });
  expect(await write('from-tfjs')).toBe(text);
  const pytorch = join(home, 'tiny-pytorch');
  expect((await qkv('export', 'tiny', '--to', 'pytorch', '--out', pytorch, '--root', root)).code).toBe(0);
  expect((await qkv('import', pytorch, 'name=from-pytorch', '--root', root, '--json')).result).toMatchObject({
    ok: true,
    container: 'PyTorch',
  });
  expect(await write('from-pytorch')).toBe(text);
});

test('nothing is overwritten but by --force; wrong words say what is right', async () => {
  const out = join(home, 'once');
  const again = () => qkv('export', source, '--to', 'hf', '--out', out);
  expect((await again()).code).toBe(0);
  const before = readFileSync(join(out, 'model.safetensors'));
  expect(await again()).toMatchObject({ code: 2, err: expect.stringContaining('E158') });
  expect((await qkv('export', source, '--to', 'hf', '--out', out, '--force')).code).toBe(0);
  expect(Buffer.compare(readFileSync(join(out, 'model.safetensors')), before)).toBe(0);
  expect(await qkv('export', source)).toMatchObject({
    code: 2,
    err: expect.stringContaining('--to hf|pytorch|gguf|onnx|tfjs is missing'),
  });
  expect(await qkv('export', source, '--to', 'onnx', '--dtype', 'q4_0')).toMatchObject({
    code: 2,
    err: expect.stringContaining('f32 | f16'),
  });
  expect((await qkv('import', join(home, 'nowhere', 'x.gguf'), '--root', root)).code).toBe(3);
  expect(existsSync(join(root, 'x'))).toBe(false);
});
