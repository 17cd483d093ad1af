"""ReAlign, a copy and a product of matrices on a device in PyTorch: the same keys as `cargo bench --bench device`.

    python device.py --device cuda --rows 1000000

ReAlign is its closed form as PyTorch's operations: row to unit length, minus a mean, times a scale, plus a mean, to unit
length, plus a shift, to unit length.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--order", type=int, default=1024, help="of the matrices that are multiplied")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def median(work):
        seconds = []
        for _ in range(args.repeats + 3):
            synchronize()
            begun = time.perf_counter()
            result = work()
            synchronize()
            del result
            seconds.append(time.perf_counter() - begun)
        return statistics.median(seconds[3:])

    rows = torch.randn(args.rows, args.dim, device=device) + 0.2
    text, image, shift = (0.01 * torch.randn(args.dim, device=device) for _ in range(3))

    def realign():
        centred = (F.normalize(rows) - text) * 0.9 + image
        return F.normalize(F.normalize(centred) + shift)

    moved = 2 * 4 * args.rows * args.dim / 1e9
    line = {"copy_gb_per_second": moved / median(lambda: rows * 1.5), "realign_gb_per_second": moved / median(realign)}
    del rows
    work = 2 * args.order**3 / 1e12
    for name, dtype, precision in [("f32", torch.float32, "highest"), ("tf32", torch.float32, "high"), ("bf16", torch.bfloat16, "highest")]:
        torch.set_float32_matmul_precision(precision)
        left, right = (torch.randn(args.order, args.order, device=device).to(dtype) for _ in range(2))
        line[f"product_{name}_tflop_per_second"] = work / median(lambda: left @ right)
    print(json.dumps(line))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
