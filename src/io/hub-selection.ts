// Which files of a repository a model is made of. Pure: paths in, paths out.

const settingsFiles = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'spiece.model',
  'sentencepiece.bpe.model',
  'modules.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
  '1_Pooling/config.json',
  'bert_config.json',
];

/** Kinds of weights, the best first; one kind is taken. */
const weightKinds: readonly (readonly RegExp[])[] = [
  [/^model\.safetensors$/],
  [/^model\.safetensors\.index\.json$/, /^model-\d{5}-of-\d{5}\.safetensors$/],
  [/^pytorch_model\.bin$/],
  [/^pytorch_model\.bin\.index\.json$/, /^pytorch_model-\d{5}-of-\d{5}\.bin$/],
  [/^tf_model\.h5$/],
  [/^[\w-]+\.ckpt\.index$/, /^[\w-]+\.ckpt\.data-\d{5}-of-\d{5}$/],
];

/**
 * The files that a model needs: settings, tokenizer, and its weights in one kind (safetensors before PyTorch before TensorFlow). A repository
 * with nothing but one GGUF file gives that file; with several, nothing: somebody must choose.
 */
export function filesOfModel(paths: readonly string[]): string[] {
  for (const patterns of weightKinds) {
    if (!paths.some((path) => patterns[0].test(path))) continue;
    return paths.filter((path) => settingsFiles.includes(path) || patterns.some((pattern) => pattern.test(path)));
  }
  const ggufs = paths.filter((path) => path.endsWith('.gguf'));
  return ggufs.length === 1 ? ggufs : [];
}
