/** Writes chat-templates.golden.json: QKV_PYTHON=python npx tsx test/parity/tokenizers/chat-golden.ts. The Python needs `transformers` and `jinja2`. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tokenizerToJson } from '../../../src/tokenizers/index.ts';
import { chatTokenizer, dialogues, specialTokens, templates } from './chat-cases.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'qkv-chat-'));
try {
  writeFileSync(join(folder, 'tokenizer.json'), tokenizerToJson(chatTokenizer()));
  writeFileSync(join(folder, 'cases.json'), JSON.stringify({ templates, dialogues, specialTokens }));
  const { status, stderr } = spawnSync(process.env['QKV_PYTHON'] ?? 'python3', [here('make_chat_templates.py'), folder], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr.slice(-3000));
  const golden = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8'));
  writeFileSync(here('chat-templates.golden.json'), `${JSON.stringify(golden, null, 1)}\n`);
} finally {
  rmSync(folder, { recursive: true });
}
