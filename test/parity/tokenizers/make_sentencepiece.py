"""Models and ids of the SentencePiece library (pip install sentencepiece; made with 0.2.x), the oracle of sentencepiece.test.ts.

    python make_sentencepiece.py FOLDER       FOLDER has corpus.txt and lines.json (compare-sentencepiece.ts writes them); models, ids and texts come there
"""
import json
import os
import sys

import sentencepiece as spm

folder = sys.argv[1]
lines = json.load(open(os.path.join(folder, "lines.json"), encoding="utf8"))
# Our own rules for a character map that is small enough to keep: capitals, ligatures, full-width forms, a dropped character, two code points that become one.
rules = [("A", "a"), ("B", "b"), ("\uff21", "a"), ("\uff22", "bb"), ("\ufb01", "fi"), ("\u200b", ""), ("e\u0301", "\u00e9"),
         ("e\u0301\u0308", "E"), ("\u3000", " "), ("\t", " "), ("…", "...")]
with open(os.path.join(folder, "rules.tsv"), "w", encoding="utf8") as out:
    for source, target in rules:
        out.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")

common = dict(input=os.path.join(folder, "corpus.txt"), vocab_size=int(os.environ.get("VOCAB", "1600")), hard_vocab_limit=False,
              character_coverage=float(os.environ.get("COVERAGE", "0.99")), minloglevel=2, num_threads=1, max_sentence_length=20000)
symbols = ["<sep>", "foo", "foobar", "##", "の"]
models = {
    "unigram": dict(model_type="unigram", normalization_rule_name="identity"),
    "unigram-rules-symbols": dict(model_type="unigram", normalization_rule_tsv=os.path.join(folder, "rules.tsv"), user_defined_symbols=symbols),
    "unigram-bytes-bare": dict(model_type="unigram", normalization_rule_name="identity", byte_fallback=True, add_dummy_prefix=False,
                               remove_extra_whitespaces=False, vocab_size=common["vocab_size"] + 300),
    "bpe": dict(model_type="bpe", normalization_rule_name="identity"),
    "bpe-bytes-symbols": dict(model_type="bpe", normalization_rule_tsv=os.path.join(folder, "rules.tsv"), byte_fallback=True,
                              user_defined_symbols=symbols, vocab_size=common["vocab_size"] + 300, split_digits=True, remove_extra_whitespaces=False),
    # The library's own maps are large: only for the comparison, not to be kept.
    "unigram-nmt-nfkc": dict(model_type="unigram", normalization_rule_name="nmt_nfkc"),
    "unigram-nfkc-cf": dict(model_type="unigram", normalization_rule_name="nfkc_cf", treat_whitespace_as_suffix=True),
    "bpe-nfkc": dict(model_type="bpe", normalization_rule_name="nfkc"),
}
for name, options in models.items():
    prefix = os.path.join(folder, name)
    spm.SentencePieceTrainer.train(model_prefix=prefix, **{**common, **options})
    model = spm.SentencePieceProcessor(model_file=prefix + ".model")
    ids = [model.encode(line) for line in lines]
    json.dump({"ids": ids, "texts": [model.decode(row) for row in ids]}, open(prefix + ".json", "w", encoding="utf8"), ensure_ascii=False)
for path in sorted(os.listdir(folder)):
    if path.endswith(".written.model"):
        model = spm.SentencePieceProcessor(model_file=os.path.join(folder, path))
        json.dump({"ids": [model.encode(line) for line in lines]}, open(os.path.join(folder, path.replace(".written.model", ".written.json")), "w"))
