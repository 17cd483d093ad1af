"""Pictures a second, end to end from JPEG files of 640 x 480 to stored embeddings: the program beside `transformers`.

    python run_embed.py --program ../../target/debug/burn-revision [--model b32|l14] [--pictures 256] [--runs 3]

The packages are in `tests/reference/requirements-transformers.txt`, and pillow. Weights are random and of real
size, pictures are drawn; both read the same files, in float32. Runs alternate, each in a process of its own. Printed are
medians: of the rate once the model is there, and of that from the start of the process to its end; and of peak memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {
    "b32": {},
    "l14": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
}


def make(folder, model, pictures):
    import numpy as np
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**SIZES[model])).save_pretrained(folder / "encoder")
    CLIPImageProcessorPil().save_pretrained(folder / "encoder")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:480, 0:640]
    for number in range(pictures):
        wave = [128 + 100 * np.sin(x / (7 + number % 13)), 128 + 100 * np.cos(y / (5 + number % 7)), (x + y + number) % 255]
        values = np.clip(np.stack(wave, 2) + rng.normal(0, 8, (480, 640, 3)), 0, 255)
        Image.fromarray(values.astype(np.uint8)).save(folder / "photos" / f"{number:05}.jpg", quality=90)


def reference(folder, batch):
    import numpy as np
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

    model = CLIPVisionModelWithProjection.from_pretrained(folder / "encoder").eval()
    processor = CLIPImageProcessorPil.from_pretrained(folder / "encoder")
    files = sorted((folder / "photos").iterdir())
    begun = time.perf_counter()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(files), batch):
            pictures = [Image.open(file).convert("RGB") for file in files[start : start + batch]]
            embeds = model(**processor(pictures, return_tensors="pt")).image_embeds
            rows.append(torch.nn.functional.normalize(embeds).numpy())
    np.save(folder / "reference.npy", np.concatenate(rows))
    print(len(files) / (time.perf_counter() - begun))


def run(command):
    """What a process prints, its peak memory in MB, and the seconds from its start to its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed")
    return printed, usage.ru_maxrss / 1024, time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path)
    parser.add_argument("--model", choices=SIZES, default="b32")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--reference", type=Path, help="(for itself)")
    parser.add_argument("--make", type=Path, help="(for itself)")
    options = parser.parse_args()
    if options.make:
        return make(options.make, options.model, options.pictures)
    if options.reference:
        return reference(options.reference, options.batch)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: one that is started from a large one inherits its peak of memory.
        made = [sys.executable, __file__, "--make", name, "--model", options.model, "--pictures", str(options.pictures)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours, theirs = [], []
        for _ in range(options.runs):
            output = folder / "ours.npy"
            command = [options.program, "embed", "--encoder", folder / "encoder", "--images", folder / "photos"]
            command += ["--output", output, "--overwrite", "--json", "--quiet"]
            printed, memory, whole = run([str(part) for part in command])
            ours.append((options.pictures / json.loads(printed)["seconds"], options.pictures / whole, memory))
            printed, memory, whole = run([sys.executable, __file__, "--reference", name, "--batch", str(options.batch)])
            theirs.append((float(printed), options.pictures / whole, memory))
        import numpy as np

        apart = np.abs(np.load(folder / "ours.npy") - np.load(folder / "reference.npy")).max()
        for at, what in enumerate(["model at hand", "whole process", "peak MB"]):
            our, their = (statistics.median(run[at] for run in runs) for runs in (ours, theirs))
            unit = "" if at == 2 else " pictures/s"
            print(f"{options.model}, {what}: ours {our:.1f}{unit}, transformers {their:.1f}, ratio {our / their:.2f}")
        print(f"largest difference of a value {apart:.1e}")
        print("ours", ours, "theirs", theirs)


if __name__ == "__main__":
    main()
