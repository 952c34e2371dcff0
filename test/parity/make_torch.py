"""Golden files from single modules: the encoder-decoder of 2017 out of torch.nn's encoder and decoder layers, torch.nn's RNN, GRU, LSTM, and
Mixtral's mixture of experts from transformers.

    pip install torch safetensors transformers          # versions are recorded in each oracle.json
    python test/parity/make_torch.py test/parity/torch

The weights are stored under our names (weights.safetensors), since these modules have no published format; golden.safetensors holds hidden
states, logits, loss, gradients and greedy tokens; oracle.json what the beam search of transformers finds.
"""

import math
import os
import sys

import torch
from golden import beams, draw, spread, write
from safetensors.torch import save_file
from torch import nn
from transformers import GenerationMixin, MixtralConfig, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func

B, S, T, V, C, H, F, N, NEW = 2, 11, 7, 37, 12, 3, 20, 2, 12
LENGTHS = [11, 8]


def positions(length):
    angle = torch.arange(length)[:, None].double() / 10_000 ** (torch.arange(0, C, 2).double() / C)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).float()


class Seq2Seq(nn.Module):
    def __init__(self, pre):
        super().__init__()
        self.embedding = nn.Embedding(V, C)
        layer = dict(d_model=C, nhead=H, dim_feedforward=F, dropout=0, batch_first=True, norm_first=pre)
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(**layer) for _ in range(N))
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(**layer) for _ in range(N))
        if pre:
            self.encoder_norm, self.decoder_norm = nn.LayerNorm(C), nn.LayerNorm(C)
        self.pre = pre

    def embed(self, ids):
        return self.embedding(ids) * math.sqrt(C) + positions(ids.shape[1])

    def forward(self, source, inputs, padding):
        hidden = {}
        x = hidden["encoder.0"] = self.embed(source)
        for i, layer in enumerate(self.encoder):
            x = hidden[f"encoder.{i + 1}"] = layer(x, src_key_padding_mask=padding)
        memory = self.encoder_norm(x) if self.pre else x
        y = hidden["decoder.0"] = self.embed(inputs)
        causal = torch.ones(inputs.shape[1], inputs.shape[1]).triu(1).bool()
        for i, layer in enumerate(self.decoder):
            y = layer(y, memory, tgt_mask=causal, memory_key_padding_mask=padding)
            hidden[f"decoder.{i + 1}"] = y
        y = self.decoder_norm(y) if self.pre else y
        return nn.functional.linear(y, self.embedding.weight), hidden


class Writes(PreTrainedModel, GenerationMixin):
    """A Seq2Seq behind one source, as transformers' beam search wants a model that writes on."""

    config_class = PretrainedConfig

    def __init__(self, model, source):
        super().__init__(PretrainedConfig(vocab_size=V, num_hidden_layers=N))
        self.model, self.source = model, source

    def prepare_inputs_for_generation(self, input_ids, **_):
        return {"input_ids": input_ids}

    def forward(self, input_ids, **_):
        source = self.source.expand(len(input_ids), -1)
        return CausalLMOutput(logits=self.model(source, input_ids, torch.zeros_like(source).bool())[0])


def ours(state):
    """Names and layout of torch.nn.Transformer*Layer → ours."""
    out = {}
    sites = {"self_attn": "attn", "multihead_attn": "cross"}
    for key, t in state.items():
        if key == "embedding.weight":
            out["tokenEmbedding.weight"] = t
            continue
        stack, _, rest = key.partition(".")
        if stack.endswith("_norm"):
            out[f"{stack[:-5]}.norm.{rest}"] = t
            continue
        i, part, *tail = rest.split(".")
        at = f"{stack}.blocks.{i}"
        norms = {"norm1": "attnNorm", "norm2": "crossNorm" if stack == "decoder" else "mlpNorm", "norm3": "mlpNorm"}
        if part in norms:
            out[f"{at}.{norms[part]}.{tail[0]}"] = t
        elif part in ("linear1", "linear2"):
            out[f"{at}.mlp.{'up' if part == 'linear1' else 'down'}Proj.{tail[0]}"] = t
        elif tail[0] == "out_proj":
            out[f"{at}.{sites[part]}.outProj.{tail[1]}"] = t
        else:
            for letter, rows in zip("qkv", t.chunk(3)):
                out[f"{at}.{sites[part]}.{letter}Proj.{tail[0].removeprefix('in_proj_')}"] = rows
    return out


def save(folder, state, golden, parameters, **facts):
    os.makedirs(folder, exist_ok=True)
    save_file({k: t.detach().clone().contiguous() for k, t in state.items()}, os.path.join(folder, "weights.safetensors"))
    write(folder, golden, parameters=parameters, **facts)


def transformer(folder, pre):
    source, labels = draw(0, V, (B, S)), draw(0, V, (B, T), seed=4)
    inputs = torch.cat([torch.zeros(B, 1).long(), labels[:, :-1]], 1)
    padding = torch.tensor([[False] * n + [True] * (S - n) for n in LENGTHS])
    for seed in range(7, 200):
        model = Seq2Seq(pre).eval()
        spread(model, seed)
        with torch.no_grad():  # the sum of a pre-norm stream is led by its branches, not by the last token again
            for key, p in model.named_parameters():
                p.mul_(2 if pre and p.dim() > 1 and key != "embedding.weight" else 1)
        text = torch.zeros(1, 1).long()
        with torch.no_grad():
            for _ in range(NEW):
                logits, _ = model(source[1:, : LENGTHS[1]], text, padding[1:, : LENGTHS[1]])
                text = torch.cat([text, logits[:, -1:].argmax(-1)], 1)
        if len(set(text[0].tolist())) >= 5:
            break
    model.train()  # no fast path; dropout is 0
    logits, hidden = model(source, inputs, padding)
    labels[1, 5:] = -100
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    golden = {"source": source, "lengths": torch.tensor(LENGTHS), "inputs": inputs, "labels": labels, "logits": logits, "greedy": text}
    grads = ours({key: p.grad for key, p in model.named_parameters()})
    golden |= {"loss": loss.reshape(1), **hidden, **{f"grad.{k}": g for k, g in grads.items()}}
    found = beams(Writes(model, source[1:, : LENGTHS[1]]), torch.zeros(1, 1).long(), NEW, use_cache=False)
    save(folder, ours(model.state_dict()), golden, sum(p.numel() for p in model.parameters()), beams=found)


def recurrent(folder, kind, bidirectional, layers):
    x = torch.randn(B, T, 5, generator=torch.Generator().manual_seed(3)).requires_grad_()
    model = getattr(nn, kind)(5, 7, num_layers=layers, bidirectional=bidirectional, batch_first=True)
    spread(model)
    y, state = model(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(4))
    loss = (y * weight).sum() / 10
    loss.backward()
    last = state[0] if kind == "LSTM" else state
    names = {}
    for key, p in model.named_parameters():  # weight_ih_l0, weight_hh_l0_reverse …
        what, way, layer, *back = key.split("_")
        name = f"layers.{layer[1:]}.{'backward' if back else 'forward'}.{'input' if way == 'ih' else 'state'}Proj.{what}"
        names[name] = p
    golden = {"x": x, "y": y, "last": last, "direction": weight, "loss": loss.reshape(1), "grad.x": x.grad}
    golden |= {f"grad.{k}": p.grad for k, p in names.items()}
    save(folder, names, golden, sum(p.numel() for p in model.parameters()))


def mixture(folder):
    config = MixtralConfig(hidden_size=5, intermediate_size=7, num_local_experts=4, num_experts_per_tok=2, router_jitter_noise=0)
    model = MixtralSparseMoeBlock(config)
    spread(model)
    x = torch.randn(B, T, 5, generator=torch.Generator().manual_seed(3)).requires_grad_()
    y, router = model(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(4))
    balance = load_balancing_loss_func((router,), 4, 2)
    loss = (y * weight).sum() / 10 + balance
    loss.backward()
    parts = {"w1": "gateProj", "w3": "upProj", "w2": "downProj"}
    names = {}
    for key, p in model.named_parameters():
        _, *rest = key.split(".")
        names[f"experts.{rest[0]}.{parts[rest[1]]}.weight" if key.startswith("experts") else "router.weight"] = p
    golden = {"x": x, "y": y, "balance": balance.reshape(1), "direction": weight, "loss": loss.reshape(1), "grad.x": x.grad}
    golden |= {f"grad.{k}": p.grad for k, p in names.items()}
    save(folder, names, golden, sum(p.numel() for p in model.parameters()))


def main(out):
    transformer(os.path.join(out, "transformer-post-norm"), False)
    transformer(os.path.join(out, "transformer-pre-norm"), True)
    mixture(os.path.join(out, "mixture-mixtral"))
    for kind in ("RNN", "GRU", "LSTM"):
        recurrent(os.path.join(out, f"{kind.lower()}"), kind, False, 2)
        recurrent(os.path.join(out, f"{kind.lower()}-bidirectional"), kind, True, 2)


main(sys.argv[1])
