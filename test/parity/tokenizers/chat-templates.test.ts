import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { IGNORE_INDEX } from '../../../src/data/batches.ts';
import { chunksOf, packedBatch, packLengths } from '../../../src/data/packing.ts';
import { chatmlTemplate, compileChatTemplate, encodeDialogue, neutral } from '../../../src/tokenizers/chat-template.ts';
import { chatTokenizer, dialogues, specialTokens, templates } from './chat-cases.ts';

// Made by chat-golden.ts with transformers' apply_chat_template.
interface Golden {
  text: string;
  prompt: string;
  ids: number[];
  mask?: number[];
  refused?: string;
}
const golden = JSON.parse(readFileSync(new URL('./chat-templates.golden.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden[]
>;
const tokenizer = chatTokenizer();

test.each(Object.keys(templates))(
  '%s: text, prompt, ids and the mask of answers are those of apply_chat_template',
  async (name) => {
    const template = await compileChatTemplate(templates[name], { specialTokens });
    for (const [i, { messages, variables }] of dialogues.entries()) {
      const expected = golden[name][i];
      if (expected.refused !== undefined) {
        expect(() => template.render(messages, { variables })).toThrow(expect.objectContaining({ code: 'TOKENIZER' }));
        expect(() => template.render(messages, { variables })).toThrow(expected.refused);
        continue;
      }
      expect(template.render(messages, { variables })).toBe(expected.text);
      expect(template.render(messages, { variables, addGenerationPrompt: true })).toBe(expected.prompt);
      expect(Array.from(tokenizer.encode(expected.text, { special: true }))).toEqual(expected.ids);
      if (expected.mask) {
        const { ids, mask } = encodeDialogue(tokenizer, template, messages, { variables });
        expect(Array.from(ids)).toEqual(expected.ids);
        expect(Array.from(mask)).toEqual(expected.mask);
      }
    }
  },
);

test.each(['llama 3', 'gemma', 'inst brackets'])(
  '%s, which marks nothing: the answers are what the assistant adds, with the token that ends it',
  async (name) => {
    const template = await compileChatTemplate(templates[name], { specialTokens });
    expect(template.marksAnswers).toBe(false);
    const { messages } = dialogues[2];
    const { text, answers } = template.renderWithAnswers(messages);
    const end = { 'llama 3': '<|eot_id|>', gemma: '<end_of_turn>', 'inst brackets': '</s>' }[name]!;
    const said = messages.filter((m) => m.role === 'assistant').map((m) => m.content + end);
    expect(answers.map(([start, stop]) => text.slice(start, stop).trimStart())).toEqual(said);
  },
);

test('ChatML by marks and by prefixes has the same answers', async () => {
  const marked = await compileChatTemplate(chatmlTemplate);
  const plain = await compileChatTemplate(chatmlTemplate.replace(/\{% (end)?generation %\}/g, ''));
  for (const { messages } of dialogues) expect(plain.renderWithAnswers(messages)).toEqual(marked.renderWithAnswers(messages));
});

test('a template that changes earlier turns cannot be told apart by prefixes, and says how to mark', async () => {
  const forgetful = `{% for m in messages %}{{ m.role }}:{% if loop.last or m.role == 'user' %}{{ m.content }}{% else %}…{% endif %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}`;
  const template = await compileChatTemplate(forgetful);
  expect(() => template.renderWithAnswers(dialogues[2].messages)).toThrow(/\{% generation %\}/);
});

test('a dialogue becomes rows in which only answers are targets, each of their tokens once', async () => {
  const template = await compileChatTemplate(chatmlTemplate);
  const encoded = dialogues.map(({ messages }) => encodeDialogue(tokenizer, template, messages));
  const T = 48;
  const parts = encoded.flatMap(({ ids, mask }) => {
    const masks = chunksOf(mask, T);
    return chunksOf(ids, T).map((part, i) => ({ ids: part, mask: masks[i] }));
  });
  const rows = packLengths(
    parts.map((p) => p.ids.length - 1),
    T,
  );
  const { targets, inputs, targetTokens } = packedBatch(
    parts.map((p) => p.ids),
    rows,
    T,
    { masks: parts.map((p) => p.mask) },
  );
  const answerIds = encoded.flatMap(({ ids, mask }) => Array.from(ids).filter((_, i) => mask[i] === 1));
  expect(Array.from(targets.filter((id) => id !== IGNORE_INDEX)).sort()).toEqual(answerIds.sort());
  expect(targetTokens).toBe(answerIds.length);
  expect(inputs.length).toBe(rows.length * T);
  expect(() => packedBatch([Int32Array.of(1, 2, 3)], [[0]], 4, { masks: [Uint8Array.of(1)] })).toThrow(/mask/);
});

test('what people write cannot open a turn once it is neutral', async () => {
  const template = await compileChatTemplate(chatmlTemplate);
  const { messages } = dialogues[3];
  const turns = (ids: Int32Array) => ids.filter((id) => id === tokenizer.specialTokens.get('<|im_end|>')).length;
  expect(turns(encodeDialogue(tokenizer, template, messages).ids)).toBe(3);
  expect(turns(encodeDialogue(tokenizer, template, neutral(tokenizer, messages)).ids)).toBe(2);
});

test('hostile and broken templates end in a typed error', async () => {
  for (const source of [
    '{% if',
    '{{ raise_exception("no") }}',
    '{{ range(1e9) | length }}',
    '{% for i in range(90000) %}{% for j in range(90000) %}x{% endfor %}{% endfor %}',
    '{% frob %}',
    '{{ 1 | frob }}',
  ])
    await expect(
      compileChatTemplate(source).then((t) => t.render([])),
      source,
    ).rejects.toMatchObject({ code: 'TOKENIZER' });
});

test('strftime_now has the time that it is given', async () => {
  const now = () => new Date(2026, 6, 4, 9, 5);
  const template = await compileChatTemplate('{{ strftime_now("%d %b %Y %B %A %H:%M %-d %%") }}', { now });
  expect(template.render([])).toBe('04 Jul 2026 July Saturday 09:05 4 %');
});
