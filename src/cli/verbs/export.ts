/** `qkv export RUN --to hf|pytorch|gguf|onnx|tfjs`: a run in a form that others read. */
import { existsSync } from 'node:fs';
import { type ExportForm, exportModel, type ExportType, exportTypes, openForExport } from '../../applications/export-model.ts';
import { QkvError } from '../../errors.ts';
import { bytes, count } from '../format.ts';
import { here, shellWord } from '../messages/index.ts';
import { type Output, printable } from '../output.ts';
import { required } from '../verb-settings.ts';
import type { Verb } from '../verb.ts';
import { rootFlag } from './runs.ts';

export const exportVerb: Verb = {
  name: 'export',
  about: {
    en: 'a run for others: a Hugging Face folder (safetensors or PyTorch), GGUF for llama.cpp, ONNX for onnxruntime and transformers.js, weights for TensorFlow.js',
    zh: '把运行交给别的程序：Hugging Face 文件夹（safetensors 或 PyTorch）、llama.cpp 的 GGUF、onnxruntime 与 transformers.js 的 ONNX、TensorFlow.js 的权重',
  },
  words: [{ name: 'RUN-or-FOLDER' }],
  flags: [
    { name: 'to', takes: Object.keys(exportTypes), about: { en: 'the form', zh: '形式' } },
    {
      name: 'dtype',
      takes: exportTypes.gguf,
      about: {
        en: 'type of the weights; hf, pytorch: f32, f16, bf16, as they are when left out; gguf: all, f32 when left out; onnx, tfjs: f32, f16',
        zh: '权重类型；hf、pytorch：f32、f16、bf16，省略则保持原样；gguf：全部，省略为 f32；onnx、tfjs：f32、f16',
      },
    },
    {
      name: 'out',
      takes: 'text',
      about: {
        en: 'folder or file to make (NAME-hf, NAME-pytorch, NAME.gguf, NAME-onnx, NAME-tfjs)',
        zh: '要生成的文件夹或文件（NAME-hf、NAME-pytorch、NAME.gguf、NAME-onnx、NAME-tfjs）',
      },
    },
    { name: 'force', about: { en: 'replace what is there', zh: '替换已有的' } },
    rootFlag,
  ],
  examples: [
    'qkv export demo-1 --to hf',
    'qkv export demo-1@best --to gguf --dtype q8_0',
    'qkv export demo-1 --to onnx --dtype f16 --out web/model',
    'qkv export models/SmolLM2-135M --to gguf --dtype q4_k',
  ],
  async run(args, out) {
    const [spec] = args.words;
    const { flags } = args;
    const form = required((flags['to'] as ExportForm | undefined) ?? null, '--to hf|pytorch|gguf|onnx|tfjs', exportVerb);
    const type = flags['dtype'] as ExportType | undefined;
    const allowed: readonly string[] = exportTypes[form];
    if (type !== undefined && !allowed.includes(type))
      throw new QkvError('E107', `--dtype ${type} is not possible with --to ${form}`, {
        ...{ flag: 'dtype', verb: 'export', problem: 'bad-value', allowed: allowed.join(' | ') },
      });
    out.live(out.t({ en: `reading ${spec} …`, zh: `正在读取 ${spec}…` }));
    const began = performance.now();
    const published = await openForExport(spec, { root: flags['root'] as string | undefined });
    try {
      const path = (flags['out'] as string | undefined) ?? defaultPath(published.name, form, type);
      if (existsSync(path) && !flags['force']) throw new QkvError('E158', `${path} exists`, { path });
      out.live(out.t({ en: `writing ${path} …`, zh: `正在写入 ${path}…` }));
      const made = await exportModel(published, { form, type, path });
      out.live('');
      const seconds = (performance.now() - began) / 1000;
      out.answer(
        `${out.style('green', '✔')} ${here(path)}   ${made.architecture} · ${made.dtype === 'kept' ? out.t({ en: 'weights as they are', zh: '权重保持原样' }) : made.dtype} · ${bytes(made.bytes)}${made.parameters === undefined ? '' : ` · ${count(made.parameters, out.lang)} ${out.t({ en: 'parameters', zh: '个参数' })}`}   ${out.style('dim', `${seconds.toFixed(1)} s`)}`,
      );
      if (made.files.length > 1) out.say(out.style('dim', `  ${made.files.join('  ')}`));
      for (const note of made.notes) out.say(out.style('yellow', printable(note)));
      sayNext(out, form, path, made.architecture.startsWith('bert'));
      out.event({ type: 'result', ok: true, ...made, seconds });
    } finally {
      published.close();
    }
    return 0;
  },
};

function defaultPath(name: string, form: ExportForm, type?: ExportType): string {
  const suffix = type === undefined || type === 'f32' ? '' : `-${type}`;
  return form === 'gguf' ? `${name}${suffix}.gguf` : `${name}${suffix}-${form}`;
}

/** `reads`: an encoder, which gives a vector and writes nothing. */
function sayNext(out: Output, form: ExportForm, path: string, reads: boolean): void {
  const word = shellWord(path);
  const next = {
    hf: `AutoModel….from_pretrained("${path}")`,
    pytorch: `AutoModel….from_pretrained("${path}")`,
    gguf: `${reads ? 'llama-embedding' : 'llama-cli'} -m ${word} -p "…"`,
    tfjs: 'tf.io.loadWeights(manifest, folder)',
    onnx: out.t({ en: 'transformers.js and onnxruntime read this folder', zh: 'transformers.js 与 onnxruntime 可读此文件夹' }),
  };
  out.say(`${out.t({ en: 'Next', zh: '下一步' })}  ${next[form]}`);
}
