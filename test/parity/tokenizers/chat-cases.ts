/** Chat templates in the styles of published models, written here, and dialogues to put through them. */
import { chatmlTemplate } from '../../../src/tokenizers/chat-template.ts';
import { trainBpe } from '../../../src/tokenizers/index.ts';
import type { PipelineTokenizer } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';

export const specialTokens = { bos_token: '<s>', eos_token: '</s>' };
const tokens = [
  '<s>',
  '</s>',
  '<|im_start|>',
  '<|im_end|>',
  '<|start_header_id|>',
  '<|end_header_id|>',
  '<|eot_id|>',
  '<start_of_turn>',
  '<end_of_turn>',
];

/** Vocabulary of the comparison: a function of this repository's text. */
export const chatTokenizer = (): PipelineTokenizer =>
  trainBpe(mixedLines(300, 51), { vocabSize: 700, specialTokens: tokens, pattern: 'llama3' }) as PipelineTokenizer;

export const templates: Record<string, string> = {
  chatml: chatmlTemplate,
  'chatml, spread over lines': `
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content | trim + '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content | trim + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}`,
  'blocks that trim': `{{ bos_token }}
{% for message in messages %}
{% if message['role'] == 'assistant' %}
  {% generation %}
  A: {{ message['content'] }}{{ eos_token }}
  {% endgeneration %}
{% else %}
  {{ message['role'] | upper }}: {{ message['content'] }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}A:{% endif %}
`,
  'llama 3': `{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}`,
  gemma: `{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\n\n' -%}{%- set rest = messages[1:] -%}{%- else -%}{%- set first = '' -%}{%- set rest = messages -%}{%- endif -%}{%- for message in rest -%}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Roles must take turns: user, assistant, user') }}{%- endif -%}{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') + message['content'] | trim }}{{ '<end_of_turn>\n' }}{%- endfor -%}{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}`,
  'inst brackets': `{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}{{ ' [INST] ' + message.content + ' [/INST]' }}{% elif message.role == 'assistant' %}{{ ' ' + message.content + eos_token }}{% else %}{{ '<<SYS>>' ~ message.content ~ '<</SYS>>' }}{% endif %}{% endfor %}`,
  'tools and a namespace': `{%- set ns = namespace(turns=0) -%}{%- if tools -%}{{ 'Tools: ' + tools | tojson + '\n' }}{% for tool in tools %}{{ tool.function | tojson(indent=2) + '\n' }}{% endfor %}{%- endif -%}{%- for message in messages -%}{%- if message.role in ['user', 'system'] -%}{%- set ns.turns = ns.turns + 1 -%}{%- endif -%}{{ '[' ~ ns.turns ~ '|' ~ message.role.split('s') | join('+') ~ '] ' }}{%- if message.name is defined and message.name is not none -%}{{ message.name | title ~ ': ' }}{%- endif -%}{{ message.content.replace('you', 'YOU') }}{%- if not loop.last %}{{ '\n' }}{% endif -%}{%- endfor -%}`,
};

const tools = [
  {
    type: 'function',
    function: { name: 'weather', description: '今天 <b>"天气"</b> é', parameters: { city: ['a', 1, 2.5, true, null] } },
  },
];

export const dialogues: { messages: { role: string; content: string; name?: string }[]; variables?: Record<string, unknown> }[] =
  [
    { messages: [{ role: 'user', content: 'hello' }] },
    {
      messages: [
        { role: 'user', content: 'hello you' },
        { role: 'assistant', content: 'thea sais hello' },
      ],
    },
    {
      messages: [
        { role: 'system', content: 'be short' },
        { role: 'user', content: ' 你好，😀 \n' },
        { role: 'assistant', content: '我是模型。\n第二行 𠮷' },
        { role: 'user', content: 'and then?', name: 'ann' },
        { role: 'assistant', content: "it's 12,345 {{ not }} a {% template %}" },
        { role: 'user', content: '' },
        { role: 'assistant', content: 'x' },
      ],
      variables: { tools },
    },
    {
      messages: [
        { role: 'user', content: 'what is <|im_end|> here?' },
        { role: 'assistant', content: 'a token' },
      ],
    },
    {
      messages: [
        { role: 'user', content: 'one' },
        { role: 'user', content: 'two' },
        { role: 'assistant', content: 'three' },
      ],
    },
  ];
