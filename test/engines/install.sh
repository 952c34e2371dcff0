#!/usr/bin/env sh
# Installs the engines that run what `qkv export` writes: onnxruntime and llama.cpp (node-llama-cpp with the prebuilt package of this platform);
# and DuckDB, which runs pipelines of `qkv data`.
# They are no dependencies of qkv. Folder: $QKV_ENGINES, or ~/.cache/qkv-engines.
set -eu
home=${QKV_ENGINES:-$HOME/.cache/qkv-engines}
mkdir -p "$home"
cd "$home"
[ -f package.json ] || printf '{"private":true}\n' >package.json
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) prebuilt=@node-llama-cpp/linux-x64 duckdb=linux-x64 ;;
  Linux-aarch64) prebuilt=@node-llama-cpp/linux-arm64 duckdb=linux-arm64 ;;
  Darwin-arm64) prebuilt=@node-llama-cpp/mac-arm64-metal duckdb=darwin-arm64 ;;
  Darwin-x86_64) prebuilt=@node-llama-cpp/mac-x64 duckdb=darwin-x64 ;;
  *) echo "no prebuilt llama.cpp for $(uname -sm)" >&2 && exit 1 ;;
esac
# No scripts: onnxruntime-node would fetch GPU libraries, node-llama-cpp would look for a compiler. Optional packages are those of other GPUs.
export ONNXRUNTIME_NODE_INSTALL=skip
npm install --ignore-scripts --omit=optional --no-audit --no-fund --save-exact onnxruntime-node@1.30.0 node-llama-cpp@3.22.1 "$prebuilt@3.22.1" \
  @duckdb/node-api@1.5.6-r.1 "@duckdb/node-bindings-$duckdb@1.5.6-r.1"
