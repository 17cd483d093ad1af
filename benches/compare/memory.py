"""The maths alone: from mapped, already read input to an output buffer that has been touched; median seconds as JSON.

    python memory.py numpy_fast|torch_fast --text T.npy --image I.npy [--threads 2] [--repeats 5]
"""

import argparse
import importlib
import json
import statistics
import time

from common import header, settle_blas

settle_blas(1)

import numpy as np  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=["numpy_fast", "torch_fast"])
    parser.add_argument("--text", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rival = importlib.import_module(args.name)

    sources = []
    for path in (args.text, args.image):
        rows, dim, offset = header(path)
        mapped = np.memmap(path, np.float16, mode="c", offset=offset, shape=(rows, dim))
        np.asarray(mapped).view(np.int16).sum()  # maps every page
        source = np.asarray(mapped).view(np.int16)
        if args.name == "torch_fast":
            source = rival.torch.from_numpy(np.asarray(mapped))
        sources.append((source, rows, dim, 0))
    output = np.ones(sources[0][1:3], np.float32)
    if args.name == "torch_fast":
        output = rival.torch.from_numpy(output)

    def store(start, rows):
        output[start : start + len(rows)] = rows

    runs = []
    for _ in range(args.repeats):
        begin = time.perf_counter()
        rival.align(*sources, rival.Reader, store, args.threads)
        runs.append(time.perf_counter() - begin)
    print(json.dumps({"median": statistics.median(runs), "runs": runs}))


if __name__ == "__main__":
    main()
