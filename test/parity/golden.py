"""What every script of golden files needs: weights that matter, and one way to write what the oracle computed."""

import json
import os

import torch
import transformers
from safetensors.torch import save_file


def spread(model, seed=7):
    """Random weights larger than at the start of training, so that every part of the model matters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, p in model.named_parameters():
            norm = any(part in key.lower() for part in ("norm", "ln_")) and key.endswith("weight")
            p.copy_(torch.randn_like(p) * (0.3 if p.dim() > 1 else 0.1) + (1.0 if norm else 0.0))


def draw(low, high, shape, seed=3):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def gradients(model):
    return {f"grad.{key}": p.grad for key, p in model.named_parameters() if p.grad is not None}


def write(folder, tensors, **facts):
    tensors = {k: (v.int() if v.dtype == torch.int64 else v).detach().clone().contiguous() for k, v in tensors.items()}
    save_file(tensors, os.path.join(folder, "golden.safetensors"))
    with open(os.path.join(folder, "oracle.json"), "w") as f:
        json.dump({"torch": torch.__version__, "transformers": transformers.__version__, **facts}, f)
