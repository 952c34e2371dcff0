"""What transformers' apply_chat_template makes of chat-cases.ts: `python make_chat_templates.py FOLDER` (chat-golden.ts calls it; made with transformers 4.57)."""
import json
import os
import sys

from transformers import PreTrainedTokenizerFast

folder = sys.argv[1]
cases = json.load(open(os.path.join(folder, "cases.json"), encoding="utf8"))
tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"), **cases["specialTokens"])
out = {}
for name, template in cases["templates"].items():
    rows = []
    for dialogue in cases["dialogues"]:
        arguments = dict(conversation=dialogue["messages"], chat_template=template, **dialogue.get("variables", {}))
        try:
            row = {
                "text": tokenizer.apply_chat_template(**arguments, tokenize=False),
                "prompt": tokenizer.apply_chat_template(**arguments, tokenize=False, add_generation_prompt=True),
                "ids": tokenizer.apply_chat_template(**arguments),
            }
            if "generation" in template.replace("add_generation_prompt", ""):
                row["mask"] = tokenizer.apply_chat_template(**arguments, return_dict=True, return_assistant_tokens_mask=True)["assistant_masks"]
        except Exception as error:
            row = {"refused": str(error)}
        rows.append(row)
    out[name] = rows
json.dump(out, open(os.path.join(folder, "golden.json"), "w", encoding="utf8"), ensure_ascii=False)
