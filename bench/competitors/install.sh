#!/usr/bin/env bash
# Installs what the benchmarks compare with. Explicit: neither npm install, npm test nor npm run bench ever calls it.
#   bench/competitors/install.sh
# Everything lands in $QKV_BENCH_HOME (default ~/.cache/qkv-bench), outside of the repository, but for the Debian packages: oneDNN, OpenBLAS
# (the OpenMP one, the faster of the two), jemalloc and Debian's PyTorch. What cannot be installed is said and left out; the benchmarks say so, too.
# A Python that has torch already: QKV_BENCH_PYTHON=/path/to/python, for this script and for the benchmarks.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=${QKV_BENCH_HOME:-$HOME/.cache/qkv-bench}
mkdir -p "$home/bin"
missing=()

if command -v apt-get > /dev/null; then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends libdnnl-dev libopenblas-openmp-dev libjemalloc2 python3-torch || missing+=('Debian packages libdnnl-dev libopenblas-openmp-dev libjemalloc2 python3-torch')
fi
compile() { # NAME LIBRARY
  "${CXX:-g++}" -O2 -std=c++20 "$here/$1.cpp" -o "$home/bin/$1" "-l$2" || missing+=("$1 (does not compile: is its library installed?)")
}
compile onednn dnnl
compile openblas openblas

python=${QKV_BENCH_PYTHON:-$home/venv/bin/python}
if ! "$python" -c 'import torch, onnx, onnx_ir, onnxruntime' 2> /dev/null; then
  [ -x "$python" ] || python3 -m venv "$home/venv"
  # On x86 Linux the registry's only build brings the CUDA libraries along (some 5 GB); the processor's part of it is the same.
  "$python" -m pip install --quiet numpy torch || missing+=('PyTorch')
  "$python" -m pip install --quiet onnx onnx-ir onnxruntime || missing+=('onnx and onnxruntime in Python, which make ONNX files of 8 and 4 bits')
fi

[ -f "$home/package.json" ] || echo '{ "private": true, "type": "module" }' > "$home/package.json"
(cd "$home" && ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund \
  onnxruntime-node @tensorflow/tfjs @tensorflow/tfjs-backend-wasm @jax-js/jax node-llama-cpp) || missing+=('npm packages')

echo
echo "installed in $home:"
ls "$home/bin"
"$python" -c 'import torch; print("PyTorch", torch.__version__)' 2> /dev/null
for m in "${missing[@]}"; do echo "NOT INSTALLED: $m"; done
[ ${#missing[@]} -eq 0 ]
