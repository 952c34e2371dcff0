"""Ids of tiktoken (pip install tiktoken; made with 0.14) for ranks that qkv trained: `python make_tiktoken.py FOLDER` (compare-tiktoken.ts calls it)."""
import base64
import json
import os
import sys

import tiktoken
import tiktoken_ext.openai_public as public

folder = sys.argv[1]
lines = json.load(open(os.path.join(folder, "lines.json"), encoding="utf8"))
# The patterns of the published encodings, out of the installed package: their files cannot be fetched here, so the loader is told not to.
public.load_tiktoken_bpe = lambda *args, **kwargs: {}
public.data_gym_to_mergeable_bpe_ranks = lambda *args, **kwargs: {}
patterns = {"gpt2": public.gpt2()["pat_str"], "llama3": public.cl100k_base()["pat_str"], "gpt4o": public.o200k_base()["pat_str"]}
for name, pattern in patterns.items():
    ranks = {}
    for line in open(os.path.join(folder, name + ".tiktoken"), "rb"):
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    json.dump([encoding.encode(line, disallowed_special=()) for line in lines], open(os.path.join(folder, name + ".json"), "w"))
