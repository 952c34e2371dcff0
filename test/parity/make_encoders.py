"""Golden files of the BERT family: tiny random models in the published layouts, with what transformers computes from them.

    pip install torch transformers          # versions are recorded in each oracle.json
    python test/parity/make_encoders.py test/parity/encoders

One folder a model and head: config.json and model.safetensors as save_pretrained writes them; golden.safetensors with the hidden states of
every layer, the logits of the head, the loss and the gradient of every parameter. The second row is padded. Also prints the sizes of the
published models, counted by the library.
"""

import os
import sys

import torch
import transformers as hf
from golden import draw, gradients, spread, write

B, T, V = 2, 11, 37
LENGTHS = [11, 7]
bert = dict(
    vocab_size=V, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=16,
    hidden_dropout_prob=0, attention_probs_dropout_prob=0, num_labels=5, attn_implementation="eager",
)
roberta = dict(bert, max_position_embeddings=18, type_vocab_size=1, layer_norm_eps=1e-5)
distil = dict(
    vocab_size=V, dim=12, hidden_dim=20, n_layers=2, n_heads=3, max_position_embeddings=16, dropout=0, attention_dropout=0,
    qa_dropout=0, seq_classif_dropout=0, num_labels=5, attn_implementation="eager",
)
electra = dict(bert, embedding_size=6, summary_last_dropout=0, classifier_dropout=0)
MODELS = {
    "bert-base": (hf.BertModel, hf.BertConfig(**bert)),
    "bert-mlm": (hf.BertForMaskedLM, hf.BertConfig(**bert)),
    "bert-sequence": (hf.BertForSequenceClassification, hf.BertConfig(**bert)),
    "bert-tokens": (hf.BertForTokenClassification, hf.BertConfig(**bert)),
    "bert-span": (hf.BertForQuestionAnswering, hf.BertConfig(**dict(bert, num_labels=2))),
    "roberta-mlm": (hf.RobertaForMaskedLM, hf.RobertaConfig(**roberta)),
    "roberta-sequence": (hf.RobertaForSequenceClassification, hf.RobertaConfig(**roberta)),
    "distilbert-mlm": (hf.DistilBertForMaskedLM, hf.DistilBertConfig(**distil)),
    "distilbert-sequence": (hf.DistilBertForSequenceClassification, hf.DistilBertConfig(**distil)),
    "electra-replaced": (hf.ElectraForPreTraining, hf.ElectraConfig(**electra)),
    "electra-sequence": (hf.ElectraForSequenceClassification, hf.ElectraConfig(**electra)),
}


def main(out):
    mask = torch.tensor([[1] * n + [0] * (T - n) for n in LENGTHS])
    real = mask.bool()
    for name, (cls, config) in MODELS.items():
        model = cls(config).float().eval()
        spread(model)
        folder = os.path.join(out, name)
        model.save_pretrained(folder)
        low = 3 if "roberta" in name else 1  # 1 is RoBERTa's padding: it would move the positions
        ids = draw(low, V, (B, T))
        given = dict(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        golden = {"ids": ids, "lengths": torch.tensor(LENGTHS)}
        if name.startswith("bert"):
            golden["segments"] = given["token_type_ids"] = draw(0, 2, (B, T), seed=4)
        if name.endswith(("mlm", "tokens")):
            labels = draw(0, V if "mlm" in name else 5, (B, T), seed=5)
            labels[~real] = -100
            labels[:, ::3] = -100
            golden["labels"] = given["labels"] = labels
        elif name.endswith("replaced"):
            labels = draw(0, 2, (B, T), seed=5)  # the library leaves padding out by the mask
            golden["labels"] = given["labels"] = labels
        elif name.endswith("sequence"):
            golden["labels"] = given["labels"] = draw(0, 5, (B,), seed=5)
        elif name.endswith("span"):
            golden["starts"] = given["start_positions"] = draw(0, 7, (B,), seed=5)
            golden["ends"] = given["end_positions"] = draw(0, 7, (B,), seed=6)
        result = model(**given)
        if name.endswith("base"):
            golden["logits"] = result.pooler_output
            golden["mean"] = torch.nn.functional.normalize(
                (result.last_hidden_state * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1
            )
            loss = (result.pooler_output.sum() + result.last_hidden_state[real].square().sum()) / 100
        else:
            loss = result.loss
            if name.endswith("span"):
                golden["logits"] = result.start_logits
                golden["ends.logits"] = result.end_logits
            else:
                golden["logits"] = result.logits
        loss.backward()
        golden["loss"] = loss.reshape(1)
        for i, h in enumerate(result.hidden_states):
            golden[f"hidden.{i}"] = h
        write(folder, {**golden, **gradients(model)}, parameters=sum(p.numel() for p in model.parameters()))
    with torch.device("meta"):
        print("BERT base:", sum(p.numel() for p in hf.BertModel(hf.BertConfig()).parameters()))


main(sys.argv[1])
