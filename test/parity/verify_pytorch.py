"""Our pytorch_model.bin in torch, for test/engines/pytorch.sh.

    pairs FOLDER    every NAME-pytorch against NAME-hf beside it: the same names, types, shapes and bits
    tie FROM TO     saves a GPT-2 as transformers does, its two ends tied
    tied A B        the same tensors in both, tied in both
"""

import glob
import os
import sys

import torch
import transformers as hf
from safetensors.torch import load_file


def load(folder):
    return torch.load(os.path.join(folder, "pytorch_model.bin"), weights_only=True)


def bits(t):
    return t.dtype, t.shape, t.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def compare(what, a, b):
    same = list(sorted(a)) == list(sorted(b)) and all(bits(a[name]) == bits(b[name]) for name in a)
    print(f"{'ok  ' if same else 'FAIL'} {what:22} {len(b)} tensors, {', '.join(sorted({str(t.dtype) for t in b.values()}))}")
    return same


def tied(state):
    return state["transformer.wte.weight"].data_ptr() == state["lm_head.weight"].data_ptr()


command, *words = sys.argv[1:]
good = True
if command == "pairs":
    found = sorted(glob.glob(os.path.join(words[0], "*-pytorch")))
    good = len(found) > 0
    for folder in found:
        expected = load_file(folder.removesuffix("pytorch") + "hf/model.safetensors")
        good &= compare(os.path.basename(folder), expected, load(folder))
elif command == "tie":
    model = hf.AutoModelForCausalLM.from_pretrained(words[0])
    os.makedirs(words[1])
    model.config.save_pretrained(words[1])
    torch.save(model.state_dict(), os.path.join(words[1], "pytorch_model.bin"))
else:
    a, b = load(words[0]), load(words[1])
    good = compare("tied", a, b) and tied(a) and tied(b)
    sizes = [os.path.getsize(os.path.join(folder, "pytorch_model.bin")) for folder in words]
    print(f"{'ok  ' if good else 'FAIL'} tied: torch wrote {sizes[0]} bytes, we {sizes[1]}")
sys.exit(not good)
