"""Reference values for the real weights, by PyTorch and transformers: oracle.py FOLDER CASES.json → one JSON object on stdout.

GGUF files are unpacked to float32 by transformers itself (package gguf), so that both sides compute with the same numbers.
"""
import json, os, sys
os.environ['TRANSFORMERS_VERBOSITY'] = 'error'
os.environ['TOKENIZERS_PARALLELISM'] = 'false'
import torch, transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

folder, cases = sys.argv[1], json.load(open(sys.argv[2]))
torch.manual_seed(0)
out = {'versions': {'torch': torch.__version__, 'transformers': transformers.__version__}}
with torch.no_grad():
    path = os.path.join(folder, 'minilm')
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    rows = []
    for text in cases['sentences'] if cases['minilm'] else []:
        batch = tokenizer([text], return_tensors='pt', truncation=True, max_length=256)
        hidden = model(**batch).last_hidden_state[0]
        rows.append({'ids': batch['input_ids'][0].tolist(), 'last': hidden[-1].tolist(), 'embedding': torch.nn.functional.normalize(hidden.mean(0), dim=0).tolist()})
    out['minilm'] = rows
    for name, file in cases['gguf'].items():
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
        rows = []
        for text in cases['prompts']:
            ids = tokenizer(text, return_tensors='pt')['input_ids']
            logits = model(ids).logits[0]
            best = torch.topk(logits[-1], 8)
            greedy = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=cases['greedy'], do_sample=False)[0][ids.shape[1]:]
            rows.append({'ids': ids[0].tolist(), 'best': best.indices.tolist(), 'logits': logits[-1].tolist(),
                         'all': [torch.logsumexp(logits, -1).tolist(), logits.mean(-1).tolist()], 'greedy': greedy.tolist(), 'text': tokenizer.decode(greedy)})
        texts = [{'ids': tokenizer(t)['input_ids'], 'text': t} for t in cases['texts']]
        out[name] = {'prompts': rows, 'texts': texts, 'parameters': sum(p.numel() for p in model.parameters())}
        del model
json.dump(out, sys.stdout)
