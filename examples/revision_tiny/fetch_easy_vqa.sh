#!/usr/bin/env bash
# Brings the package easy-vqa 1.0 (MIT, 3.2 MB: 5,000 pictures with 48,248 questions) to target/easy-vqa, where
# `cargo run --example revision_tiny` finds it.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=target/easy-vqa
[ -e "$folder/easy_vqa-1.0-py3-none-any.whl" ] && exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download -q --no-deps --dest "$scratch" easy-vqa==1.0
mkdir -p "$folder"
mv "$scratch"/easy_vqa-1.0-*.whl "$folder"
