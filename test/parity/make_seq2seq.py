"""Golden files of encoder-decoders: tiny random models in the published layouts, with what transformers computes from them.

    pip install torch transformers          # versions are recorded in each oracle.json
    python test/parity/make_seq2seq.py test/parity/seq2seq

One folder a model: config.json and model.safetensors as save_pretrained writes them; golden.safetensors with the hidden states of every layer
of both stacks, logits, loss, the gradient of every parameter, and 12 greedy tokens; oracle.json also holds what beam search finds. The second
source is padded. Also prints the size of T5 small, counted by the library.
"""

import os
import sys

import torch
import transformers as hf
from golden import beams, draw, gradients, spread, write

B, S, T, V, NEW = 2, 11, 7, 37, 12
LENGTHS = [11, 8]
t5 = dict(
    vocab_size=V, d_model=12, d_kv=5, d_ff=20, num_layers=2, num_decoder_layers=3, num_heads=3, dropout_rate=0,
    relative_attention_num_buckets=8, relative_attention_max_distance=9, decoder_start_token_id=0, attn_implementation="eager",
)
MODELS = {
    "t5": (hf.T5ForConditionalGeneration, hf.T5Config(**t5)),
    "flan-t5": (
        hf.T5ForConditionalGeneration,
        hf.T5Config(**t5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    ),
    "mt5": (hf.MT5ForConditionalGeneration, hf.MT5Config(**t5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
}


def main(out):
    mask = torch.tensor([[1] * n + [0] * (S - n) for n in LENGTHS])
    for name, (cls, config) in MODELS.items():
        model = cls(config).float().eval()
        source, labels = draw(2, V, (B, S)), draw(2, V, (B, T), seed=4)
        for seed in range(7, 200):  # the first draw whose text is more than one word again and again
            spread(model, seed)
            greedy = model.generate(
                source[1:, : LENGTHS[1]], max_new_tokens=NEW, do_sample=False, eos_token_id=None, use_cache=False
            )
            if len(set(greedy[0].tolist())) >= 5:
                break
        folder = os.path.join(out, name)
        model.save_pretrained(folder)
        labels[1, 5:] = -100
        result = model(input_ids=source, attention_mask=mask, labels=labels, output_hidden_states=True)
        result.loss.backward()
        golden = {"source": source, "lengths": torch.tensor(LENGTHS), "labels": labels, "logits": result.logits, "loss": result.loss.reshape(1)}
        for stack, states in (("encoder", result.encoder_hidden_states), ("decoder", result.decoder_hidden_states)):
            for i, h in enumerate(states):
                golden[f"{stack}.{i}"] = h
        golden["greedy"] = greedy
        found = beams(model, source[1:, : LENGTHS[1]], NEW, use_cache=False)
        write(folder, {**golden, **gradients(model)}, parameters=sum(p.numel() for p in model.parameters()), beams=found)
        os.remove(os.path.join(folder, "generation_config.json"))  # nothing that differs
    # mT5 is Flan-T5 under another model_type: its files are the same to the last bit, and are kept once.
    for file in ("model.safetensors", "golden.safetensors", "oracle.json"):
        mt5, flan = (os.path.join(out, name, file) for name in ("mt5", "flan-t5"))
        with open(mt5, "rb") as a, open(flan, "rb") as b:
            assert a.read() == b.read(), file
        os.remove(mt5)
    with torch.device("meta"):
        small = hf.T5Config(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8, vocab_size=32128)
        print("T5 small:", sum(p.numel() for p in hf.T5ForConditionalGeneration(small).parameters()))


main(sys.argv[1])
