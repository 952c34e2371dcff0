"""Golden files of decoders: tiny random models in the published layouts, with what PyTorch computes from them.

    pip install torch transformers          # versions are recorded in each oracle.json
    python test/parity/make_decoders.py test/parity/decoders [NAME …]

One folder a model: config.json and model.safetensors as save_pretrained writes them, golden.safetensors with the hidden states of every
layer, logits, loss, the gradient of every parameter, and 12 greedy tokens; oracle.json also holds what beam search finds.
"""

import os
import sys

import torch
import transformers
from golden import beams, draw, gradients, write

B, T, NEW = 2, 11, 12
common = dict(vocab_size=37, bos_token_id=None, eos_token_id=None, attn_implementation="eager")
grouped = dict(
    hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
    max_position_embeddings=32, rms_norm_eps=1e-6, **common
)
experts = dict(
    grouped, hidden_size=12, intermediate_size=10, num_attention_heads=3, num_key_value_heads=1, head_dim=4, tie_word_embeddings=False,
    output_router_logits=True, router_aux_loss_coef=0.02, num_experts_per_tok=2,
)
rope = dict(grouped, num_attention_heads=3, num_key_value_heads=1)
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
    "llama-llama3-scaling": transformers.LlamaConfig(
        **rope, rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16
        ), rope_theta=100.0
    ),
    "llama-yarn-scaling": transformers.LlamaConfig(
        **rope, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16), rope_theta=100.0
    ),
    "mistral": transformers.MistralConfig(**grouped, head_dim=6, sliding_window=4),
    "qwen2": transformers.Qwen2Config(**dict(grouped, num_hidden_layers=2)),
    "smollm3": transformers.SmolLM3Config(
        **grouped, no_rope_layer_interval=2, use_sliding_window=False, pad_token_id=None
    ),
    "phi3": transformers.Phi3Config(**grouped, pad_token_id=None),
    "phi4-mini": transformers.Phi3Config(
        **dict(grouped, num_attention_heads=3, num_key_value_heads=1), partial_rotary_factor=0.75, sliding_window=5, pad_token_id=None
    ),
    "gemma2": transformers.Gemma2Config(
        **grouped, head_dim=6, query_pre_attn_scalar=7, sliding_window=4, attn_logit_softcapping=2.0, rope_theta=1000.0,
        final_logit_softcapping=3.0, pad_token_id=None, hidden_activation="gelu_pytorch_tanh",
    ),
    "gemma3": transformers.Gemma3TextConfig(
        **dict(grouped, num_hidden_layers=3), head_dim=6, query_pre_attn_scalar=7, sliding_window=4, pad_token_id=None,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"], sliding_window_pattern=3,
        rope_theta=1000.0, rope_local_base_freq=10.0,
    ),
    "mixtral": transformers.MixtralConfig(**experts, num_local_experts=4, sliding_window=5),
    "qwen2-moe": transformers.Qwen2MoeConfig(
        **experts, num_experts=4, moe_intermediate_size=10, shared_expert_intermediate_size=14, norm_topk_prob=False
    ),
    "qwen3-moe": transformers.Qwen3MoeConfig(**experts, num_experts=5, moe_intermediate_size=7, norm_topk_prob=True),
    "olmo2": transformers.Olmo2Config(**dict(grouped, pad_token_id=None)),
    "pythia": transformers.GPTNeoXConfig(
        hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=32,
        rotary_pct=0.25, attention_dropout=0, hidden_dropout=0, **common
    ),
    "neox-sequential": transformers.GPTNeoXConfig(
        hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=32,
        rotary_pct=0.5, use_parallel_residual=False, attention_dropout=0, hidden_dropout=0, **common
    ),
}


def main(out, *names):
    for name, config in MODELS.items():
        if names and name not in names:
            continue
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
        with torch.no_grad():  # larger than at the start of training, so that every part of the model matters
            for key, p in model.named_parameters():
                p.copy_(torch.randn_like(p) * (0.3 if p.dim() > 1 else 0.1) + (1.0 if "norm" in key and "gemma" not in name or "ln_" in key and key.endswith("weight") else 0.0))
        folder = os.path.join(out, name)
        model.save_pretrained(folder)
        ids = draw(0, config.vocab_size, (B, T))
        result = model(ids, labels=ids, output_hidden_states=True)
        result.loss.backward()
        golden = {"ids": ids, "logits": result.logits, "loss": result.loss.reshape(1)}
        for i, h in enumerate(result.hidden_states):
            golden[f"hidden.{i}"] = h
        config.output_router_logits = False
        golden["greedy"] = model.generate(ids[:1, :3], max_new_tokens=NEW, do_sample=False, pad_token_id=0)
        facts = dict(parameters=sum(p.numel() for p in model.parameters()), beams=beams(model, ids[:1, :3], NEW))
        write(folder, {**golden, **gradients(model)}, **facts)
        os.remove(os.path.join(folder, "generation_config.json"))  # nothing that differs


main(*sys.argv[1:])
