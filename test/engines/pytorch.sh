#!/usr/bin/env sh
# `qkv export --to pytorch`: torch.load(weights_only=True) reads every tensor bit for bit as `--to hf` has it (f32, f16, bf16), a tied weight stays tied,
# and transformers loads the folders: logits within 1e-4, the same 20 greedy tokens.
#   sh test/engines/pytorch.sh [PYTHON]     (a Python with torch and transformers)
set -eu
python=${1:-python3}
work=$(mktemp -d)
qkv() { npx tsx src/cli/main.ts "$@" --quiet >/dev/null; }
npx tsx test/parity/write-models.ts "$work/ours"
mkdir "$work/pytorch" "$work/pairs"
for folder in "$work"/ours/*; do
  name=$(basename "$folder")
  qkv export "$folder" --to pytorch --out "$work/pytorch/$name"
  cp "$folder/ours.json" "$work/pytorch/$name/"
  ln -s "$folder" "$work/pairs/$name-f32-hf"
  ln -s "$work/pytorch/$name" "$work/pairs/$name-f32-pytorch"
done
for dtype in f16 bf16; do
  for form in hf pytorch; do qkv export "$work/ours/llama" --to $form --dtype $dtype --out "$work/pairs/llama-$dtype-$form"; done
done
"$python" test/parity/verify_pytorch.py tie "$work/pytorch/gpt2" "$work/tied"
qkv export "$work/tied" --to pytorch --out "$work/tied-again"
"$python" test/parity/verify_pytorch.py tied "$work/tied" "$work/tied-again"
"$python" test/parity/verify_pytorch.py pairs "$work/pairs"
"$python" test/parity/verify_written.py "$work/pytorch"
rm -r "$work"
