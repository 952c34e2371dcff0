"""The kernels of ../workloads.ts in PyTorch: a line of words in (see ./kernels.ts), a line of JSON out."""

import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
torch.set_flush_denormal(True)
torch.manual_seed(1)
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def gradient(y, inputs, dy=None):
    """A call that differentiates an already computed graph again and again."""
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)


def program(kernel, dtype, layout, s):
    """One call of the kernel on new data, or None where PyTorch has no such thing."""
    normal = lambda *shape: torch.randn(*shape, dtype=dtype)
    if kernel == "matmul":
        a = normal(s["M"], s["K"]) if layout[0] == "n" else normal(s["K"], s["M"]).T
        b = normal(s["K"], s["N"]) if layout[1] == "n" else normal(s["N"], s["K"]).T
        y = torch.empty(s["M"], s["N"], dtype=dtype)
        return lambda: torch.mm(a, b, out=y)
    if kernel in ("attention", "attentionBackward"):
        heads = lambda: normal(s["B"], s["T"], s["H"], s["D"]).transpose(1, 2)
        q, k, v, dy = (heads() for _ in range(4))
        if kernel == "attention":
            return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
        q, k, v = (t.requires_grad_() for t in (q, k, v))
        return gradient(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), dy)
    if kernel in ("crossEntropy", "crossEntropyBackward"):
        logits, targets = normal(s["R"], s["C"]), torch.randint(s["C"], (s["R"],))
        if kernel == "crossEntropy":
            return lambda: F.cross_entropy(logits, targets)
        logits.requires_grad_()
        return gradient(F.cross_entropy(logits, targets), (logits,))
    if kernel == "linearCrossEntropy":
        x, w = normal(s["M"], s["K"]).requires_grad_(), normal(s["N"], s["K"]).requires_grad_()
        targets = torch.randint(s["N"], (s["M"],))

        def step():
            with torch.enable_grad():
                return torch.autograd.grad(F.cross_entropy(F.linear(x, w), targets), (x, w))

        return step
    if kernel == "adamW":
        n = s["n"] // s["tensors"]
        params = [torch.nn.Parameter(normal(n)) for _ in range(s["tensors"])]
        for p in params:
            p.grad = normal(n)
        return torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True).step
    if "R" not in s:
        return None
    R, C = s["R"], s["C"]
    x, other, y = normal(R, C), normal(R, C), torch.empty(R, C)
    w, b = normal(C), normal(C)
    if kernel == "copy":
        return lambda: y.copy_(x)
    if kernel == "add":
        return lambda: torch.add(x, other, out=y)
    if kernel == "geluTanh":
        return lambda: F.gelu(x, approximate="tanh")
    if kernel == "geluTanhBackward":
        return lambda: torch.ops.aten.gelu_backward(other, x, approximate="tanh")
    if kernel == "softmax":
        return lambda: torch.softmax(x, -1)
    if kernel == "swiglu":
        return lambda: F.silu(x) * other
    if kernel == "layerNorm":
        return lambda: F.layer_norm(x, (C,), w, b)
    if kernel == "rmsNorm":
        return lambda: F.rms_norm(x, (C,), w)
    if kernel in ("layerNormBackward", "rmsNormBackward"):
        leaves = tuple(t.requires_grad_() for t in (x, w, b))
        if kernel == "layerNormBackward":
            return gradient(F.layer_norm(x, (C,), w, b), leaves, other)
        return gradient(F.rms_norm(x, (C,), w), leaves[:2], other)
    return None


def timed(call, n):
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n


print(json.dumps({"version": torch.__version__}), flush=True)
ready = (None, None)  # the last workload and its program: each round asks again for the same one
for line in sys.stdin:
    kernel, dtype, layout, repeats, at_least, *rest = line.split()
    key = (kernel, dtype, layout, *rest)
    sizes = {k: int(v) for k, v in (word.split("=") for word in rest)}
    try:
        if ready[0] != key:
            ready = (None, None)
            made = program(kernel, TYPES[dtype], layout, sizes)
            ready = (key, made)
        call = ready[1]
        if call is None:
            print(json.dumps({"skip": "no such kernel"}), flush=True)
            continue
        backward = kernel.endswith("Backward") or kernel == "linearCrossEntropy"
        with torch.set_grad_enabled(backward):
            timed(call, 1)
            once = timed(call, 1)
            n = max(1, math.ceil(float(at_least) / once))
            # A call of half a second is its own repeat: the other rounds bring more.
            seconds = [once] if once > 0.5 else [timed(call, n) for _ in range(int(repeats))]
        print(json.dumps({"seconds": seconds}), flush=True)
    except Exception as e:  # a kernel that this version or machine lacks is a gap in the table, not the end
        ready = (None, None)
        print(json.dumps({"skip": str(e)[:200]}), flush=True)
