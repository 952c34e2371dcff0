"""Golden file of positions: rotary frequencies under every scaling, T5's buckets and ALiBi's slopes, as transformers computes them.

    pip install torch transformers          # versions are recorded in the file
    python test/parity/make_rope.py test/parity/attention/positions.json
"""

import json
import sys

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

HEAD = 32  # head channels: 16 pairs
SCALINGS = {
    "default": None,
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
    "yarn-betas": {
        "rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 256, "beta_fast": 16.0, "beta_slow": 2.0, "truncate": False,
    },
    "yarn-mscale": {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 512, "mscale": 0.707, "mscale_all_dim": 0.9},
    "yarn-attention-factor": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 512, "attention_factor": 1.25},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512,
    },
}


def main(path):
    rope = []
    for name, scaling in SCALINGS.items():
        for base in (10000.0, 500000.0):
            for length in (100, 512, 2048) if name == "dynamic" else (100,):
                config = transformers.LlamaConfig(
                    hidden_size=4 * HEAD, num_attention_heads=4, max_position_embeddings=512, rope_theta=base, rope_scaling=scaling
                )
                kind = scaling["rope_type"] if scaling else "default"
                frequencies, magnitude = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=length)
                rope.append(
                    dict(name=name, base=base, length=length, scaling=scaling, frequencies=frequencies.tolist(), magnitude=magnitude)
                )
    distances = torch.arange(-300, 301)
    buckets = {
        name: T5Attention._relative_position_bucket(distances, bidirectional=name == "bidirectional", num_buckets=32, max_distance=128).tolist()
        for name in ("bidirectional", "causal")
    }
    alibi = {}
    for heads in (1, 2, 3, 8, 12, 16, 20):
        bias = build_alibi_tensor(torch.ones(1, 5, dtype=torch.long), heads, torch.float32)  # slope · place of the key
        alibi[heads] = bias[:, 0, 1].tolist()
    with open(path, "w") as f:
        json.dump(
            {"torch": torch.__version__, "transformers": transformers.__version__, "rope": rope, "buckets": buckets, "alibi": alibi}, f
        )
        f.write("\n")


main(sys.argv[1])
