"""GPT-2's training step in PyTorch, as fast as its users know to make it on a processor: SDPA, fused AdamW, and on wish bf16 autocast and torch.compile.

    torch-gpt2.py CONFIGURATION(JSON) fp32|bf16 eager|compile        then lines `steps N` in, JSON out (see ../train.ts)
"""

import contextlib
import json
import os
import re
import sys
import time

import torch
from torch import nn
import torch.nn.functional as F

config = json.loads(sys.argv[1])
V, CONTEXT, L, H, C, T, B = (config[k] for k in ("V", "contextLength", "L", "H", "C", "T", "B"))
bf16, compiled = sys.argv[2] == "bf16", sys.argv[3] == "compile"
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
torch.set_flush_denormal(True)
torch.manual_seed(1)


def peak_resident():
    """Most bytes that this process ever had in memory."""
    with open("/proc/self/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) * 1024


def causal_attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):  # from PyTorch 2.0 on
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    scores = q @ k.transpose(2, 3) * (q.shape[3] ** -0.5)
    return scores.masked_fill(later, float("-inf")).softmax(3) @ v


class Block(nn.Module):
    """Pre-norm: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self):
        super().__init__()
        self.attn_norm, self.mlp_norm = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        rows, tokens, _ = x.shape
        q, k, v = (y.view(rows, tokens, H, C // H).transpose(1, 2) for y in self.qkv(self.attn_norm(x)).split(C, dim=2))
        y = causal_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(rows, tokens, C))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(V, C), nn.Embedding(CONTEXT, C)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.norm = nn.LayerNorm(C)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, V).float(), targets.view(-1))


base = peak_resident()
later = torch.ones(T, T, dtype=torch.bool).triu(1)
model = GPT2()
matrices = [p for p in model.parameters() if p.dim() == 2]
vectors = [p for p in model.parameters() if p.dim() < 2]
fastest = {"fused": True} if torch.__version__ >= "2.4" else {"foreach": True}  # fused on a processor from 2.4 on
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=1e-4, betas=(0.9, 0.95), **fastest
)
loss_of = torch.compile(model, dynamic=False) if compiled else model
data = torch.randint(V, (100_000,))


def step():
    starts = torch.randint(len(data) - T - 1, (B,)).tolist()
    ids = torch.stack([data[s : s + T] for s in starts])
    targets = torch.stack([data[s + 1 : s + 1 + T] for s in starts])
    with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
        loss = loss_of(ids, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


print(json.dumps({"version": torch.__version__, "parameters": sum(p.numel() for p in model.parameters()), "baseBytes": base}), flush=True)
for line in sys.stdin:
    seconds, loss = [], float("nan")
    for _ in range(int(line.split()[1])):
        start = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "lossNats": loss, "peakBytes": peak_resident()}), flush=True)
