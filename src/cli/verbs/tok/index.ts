/** `qkv tok …`: a tokenizer from text, a text in its tokens, a vocabulary to look at. */
export { encodeText, loadTokenizer } from './common.ts';
export { tokCompare } from './compare.ts';
export { tokConvert } from './convert.ts';
export { tokEncode } from './encode.ts';
export { tokShow } from './show.ts';
export { tokTrain } from './train.ts';
