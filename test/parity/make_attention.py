"""Golden file of torch.nn.MultiheadAttention: outputs, averaged weights and gradients for every combination of bias and mask.

    pip install torch safetensors          # the version is recorded in the file's metadata
    python test/parity/make_attention.py test/parity/attention/multi-head.safetensors
"""

import sys

import torch
from safetensors.torch import save_file

B, T, S, C, H = 2, 5, 7, 12, 3


def main(path):
    torch.manual_seed(11)
    golden = {}
    for bias in (False, True):
        for mask in ("none", "padding", "attention", "both"):
            name = f"{'bias' if bias else 'plain'}.{mask}"
            layer = torch.nn.MultiheadAttention(C, H, bias=bias, batch_first=True)
            with torch.no_grad():
                for p in layer.parameters():
                    p.copy_(torch.randn_like(p) * 0.5)
            x, memory = torch.randn(B, T, C, requires_grad=True), torch.randn(B, S, C, requires_grad=True)
            dy = torch.randn(B, T, C)
            padding = torch.tensor([[False] * S, [False] * (S - 3) + [True] * 3]) if mask in ("padding", "both") else None
            # True forbids. Query t may not see keys beyond t + 2.
            attn = torch.triu(torch.ones(T, S, dtype=torch.bool), 3) if mask in ("attention", "both") else None
            y, weights = layer(x, memory, memory, key_padding_mask=padding, attn_mask=attn, average_attn_weights=False)
            (y * dy).sum().backward()
            entries = {"x": x, "memory": memory, "dy": dy, "y": y, "weights": weights, "dx": x.grad, "dmemory": memory.grad}
            for key, p in layer.named_parameters():
                entries[key] = p
                entries[f"grad.{key}"] = p.grad
            for key, value in entries.items():
                golden[f"{name}.{key}"] = value.detach().contiguous()
    save_file(golden, path, metadata={"torch": torch.__version__})


main(sys.argv[1])
