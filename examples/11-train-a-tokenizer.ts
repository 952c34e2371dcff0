// Outline 5.1.3: byte-level BPE learned from text. Common words become one token; anything at all can still be written, byte by byte.
import { decodeStream, describeToken, tokenizerFromJson, tokenizerToJson, trainBpe } from 'qkv/tokenizers';

const corpus = ['low lower lowest', 'new newer newest', 'wide wider widest', '注意力模型，注意力机制，自注意力'].flatMap((line) =>
  Array(20).fill(line),
);
const tokenizer = trainBpe(corpus, { vocabSize: 300 });

for (const text of ['newest lowest', '自注意力机制', '🙂']) {
  const ids = [...tokenizer.encode(text)];
  console.log(`${text} → ${ids.length} tokens: ${ids.map((id) => describeToken(tokenizer, id).text ?? '…').join(' · ')}`);
  if (tokenizer.decode(ids) !== text) throw new Error('decoding must give the text back');
}

// A character that is split over tokens is never shown half.
const stream = decodeStream(tokenizer);
console.log('streaming 🙂:', [...tokenizer.encode('🙂')].map((id) => JSON.stringify(stream.push(id))).join(' '));

// The file is Hugging Face's tokenizer.json: it loads there, and theirs load here.
const again = tokenizerFromJson(tokenizerToJson(tokenizer));
console.log(
  'read back from tokenizer.json, same ids:',
  `${again.encode('wider 注意力')}` === `${tokenizer.encode('wider 注意力')}`,
);
