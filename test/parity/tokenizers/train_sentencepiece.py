"""A Unigram vocabulary by spm_train: `python train_sentencepiece.py CORPUS VOCAB COVERAGE PREFIX` (compare-unigram.ts calls it)."""
import sys
import time

import sentencepiece as spm

corpus, vocab, coverage, prefix = sys.argv[1:]
start = time.time()
spm.SentencePieceTrainer.train(
    input=corpus, model_prefix=prefix, model_type="unigram", vocab_size=int(vocab), character_coverage=float(coverage),
    normalization_rule_name="identity", split_by_unicode_script=False, split_by_number=False, num_threads=1, minloglevel=2,
    max_sentence_length=1 << 24, input_sentence_size=0, shuffle_input_sentence=False)
print(time.time() - start)
