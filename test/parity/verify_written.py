"""Loads the folders of write-models.ts with from_pretrained and compares: every tensor found, logits within 1e-4, the same 20 greedy tokens.

    pip install torch transformers
    npx tsx test/parity/write-models.ts FOLDER && python test/parity/verify_written.py FOLDER
"""

import json
import os
import sys

import torch
import transformers as hf

classes = {"decoder": hf.AutoModelForCausalLM, "pair": hf.AutoModelForSeq2SeqLM, "encoder": hf.AutoModelForMaskedLM, "hidden": hf.AutoModel, "pretraining": hf.BertForPreTraining, "replaced": hf.ElectraForPreTraining, "vectors": hf.BertModel}
failed = False
for name in sorted(os.listdir(sys.argv[1])):
    folder = os.path.join(sys.argv[1], name)
    with open(os.path.join(folder, "ours.json")) as f:
        ours = json.load(f)
    more = {"add_pooling_layer": False} if ours["kind"] == "vectors" else {}  # a mean needs none
    model, info = classes[ours["kind"]].from_pretrained(folder, output_loading_info=True, attn_implementation="eager", **more)
    ids = torch.tensor([ours["ids"]])
    greedy = None
    with torch.no_grad():
        if ours["kind"] == "pair":
            y = model(input_ids=ids, decoder_input_ids=ids).logits
            greedy = model.generate(ids, max_new_tokens=20, do_sample=False, eos_token_id=None)[0, 1:].tolist()
        elif ours["kind"] == "pretraining":
            y = model(ids)
            y = torch.cat([y.prediction_logits.flatten(), y.seq_relationship_logits.flatten()])
        elif ours["kind"] in ("hidden", "vectors"):
            y = model(ids).last_hidden_state
        else:
            y = model(ids).logits
            if ours["kind"] == "decoder":
                greedy = model.generate(ids, max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)[0, ids.shape[1] :].tolist()
    far = (y.flatten() - torch.tensor(ours["logits"])).abs().max().item()
    lists = {k: v for k, v in info.items() if v and k != "error_msgs"}
    good = far <= 1e-4 and not lists and greedy == ours.get("greedy")
    failed |= not good
    print(f"{'ok  ' if good else 'FAIL'} {name:14} {type(model).__name__:28} largest difference {far:.1e}", lists or "")
print("torch", torch.__version__, "transformers", hf.__version__)
sys.exit(failed)
