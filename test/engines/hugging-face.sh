#!/usr/bin/env sh
# Every family through `qkv import` and `qkv export --to hf`, then loaded by transformers: logits within 1e-4, the same 20 greedy tokens.
#   sh test/engines/hugging-face.sh [PYTHON]     (a Python with torch and transformers)
set -eu
python=${1:-python3}
work=$(mktemp -d)
npx tsx test/parity/write-models.ts "$work/ours"
mkdir "$work/exported"
for folder in "$work"/ours/*; do
  name=$(basename "$folder")
  npx tsx src/cli/main.ts import "$folder" "name=$name" --root "$work/runs" --quiet >/dev/null
  npx tsx src/cli/main.ts export "$name" --root "$work/runs" --to hf --out "$work/exported/$name" --quiet >/dev/null
  cp "$folder/ours.json" "$work/exported/$name/"
done
"$python" test/parity/verify_written.py "$work/exported"
rm -r "$work"
