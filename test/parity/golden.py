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


def beams(model, prompt, new, **given):
    """What beam search finds, for settings that stop early, late and by themselves: the whole list, best first, each with its score.

    Texts end at `end`, the first token with which some do and some do not.
    """
    for end in range(1, model.config.vocab_size):
        found = []
        for n, penalty, early in ((3, 1.0, False), (4, -0.5, True), (3, 2.0, "never"), (2, 0.0, "never")):
            out = model.generate(
                prompt, max_new_tokens=new, num_beams=n, num_return_sequences=n, length_penalty=penalty, early_stopping=early, do_sample=False,
                pad_token_id=0, eos_token_id=end, return_dict_in_generate=True, output_scores=True, **given,
            )
            start = out.sequences.shape[1] - out.beam_indices.shape[1]
            texts = [row[start:].tolist() for row in out.sequences]
            texts = [t[: t.index(end) + 1] if end in t else t for t in texts]
            found.append(dict(beams=n, lengthPenalty=penalty, earlyStopping=early, texts=texts, scores=out.sequences_scores.tolist()))
        ended = [len(t) > 1 and t[-1] == end for row in found for t in row["texts"]]
        if 2 <= sum(ended) <= len(ended) - 2:
            break
    return dict(end=end, maxTokens=new, found=found)


def write(folder, tensors, **facts):
    tensors = {k: (v.int() if v.dtype == torch.int64 else v).detach().clone().contiguous() for k, v in tensors.items()}
    save_file(tensors, os.path.join(folder, "golden.safetensors"))
    with open(os.path.join(folder, "oracle.json"), "w") as f:
        json.dump({"torch": torch.__version__, "transformers": transformers.__version__, **facts}, f)
