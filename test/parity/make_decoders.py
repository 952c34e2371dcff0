"""Golden files of decoders: tiny random models in the published layouts, with what PyTorch computes from them.

    pip install torch transformers          # versions are recorded in each oracle.json
    python test/parity/make_decoders.py test/parity/decoders

One folder a model: config.json and model.safetensors as save_pretrained writes them, golden.safetensors with the hidden states of every
layer, logits, loss, the gradient of every parameter, and 12 greedy tokens.
"""

import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file

B, T, NEW = 2, 11, 12
common = dict(vocab_size=37, bos_token_id=None, eos_token_id=None, attn_implementation="eager")
MODELS = {
    "gpt2": transformers.GPT2Config(
        n_positions=32, n_embd=12, n_layer=2, n_head=3, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **common
    ),
    "llama": transformers.LlamaConfig(
        hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3,
        max_position_embeddings=32, rms_norm_eps=1e-6, tie_word_embeddings=False, **common
    ),
    "llama-gqa-tied": transformers.LlamaConfig(
        hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
        max_position_embeddings=32, rms_norm_eps=1e-5, rope_theta=500000.0, tie_word_embeddings=True, **common
    ),
    "qwen3": transformers.Qwen3Config(
        hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=4,
        max_position_embeddings=32, rms_norm_eps=1e-6, tie_word_embeddings=True, **common
    ),
}


def main(out):
    for name, config in MODELS.items():
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
        with torch.no_grad():  # larger than at the start of training, so that every part of the model matters
            for key, p in model.named_parameters():
                p.copy_(torch.randn_like(p) * (0.3 if p.dim() > 1 else 0.1) + (1.0 if "norm" in key or "ln_" in key and key.endswith("weight") else 0.0))
        folder = os.path.join(out, name)
        model.save_pretrained(folder)
        ids = torch.randint(0, config.vocab_size, (B, T), generator=torch.Generator().manual_seed(3))
        result = model(ids, labels=ids, output_hidden_states=True)
        result.loss.backward()
        golden = {"ids": ids.int(), "logits": result.logits, "loss": result.loss.reshape(1)}
        for i, h in enumerate(result.hidden_states):
            golden[f"hidden.{i}"] = h
        for key, p in model.named_parameters():
            golden[f"grad.{key}"] = p.grad
        greedy = model.generate(ids[:1, :3], max_new_tokens=NEW, do_sample=False, pad_token_id=0)
        golden["greedy"] = greedy.int()
        save_file({k: v.detach().contiguous() for k, v in golden.items()}, os.path.join(folder, "golden.safetensors"))
        with open(os.path.join(folder, "oracle.json"), "w") as f:
            json.dump({"torch": torch.__version__, "transformers": transformers.__version__}, f)


main(sys.argv[1])
