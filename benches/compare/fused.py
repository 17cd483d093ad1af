"""The operations of `src/fused` beside PyTorch's own, in the shapes of `benches/fused.rs`.

    cargo bench --profile dev --bench fused --no-run      # prints the path of the program
    python benches/compare/fused.py --program target/debug/deps/fused-...

The program and PyTorch take turns, each all operations in a process of its own; medians of the rounds' medians, in milliseconds.
Both use `--threads` threads. See README.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HEADS, KV_HEADS, DIM = 9, 3, 64
WIDTH, INNER, VOCABULARY = HEADS * DIM, 1536, 49152


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="what `cargo bench --bench fused --no-run` makes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", action="store_true", help="PyTorch alone, once, as JSON")
    args = parser.parse_args()
    if not args.torch and not args.program:
        parser.error("--program is missing")
    return args


def median_ms(work):
    """The median of 20 runs, after 3 that do not count."""
    times = []
    for _ in range(23):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times[3:])


def torch_times(threads):
    """{"operation|positions|pass": milliseconds}."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    times = {}

    def row(name, positions, shapes, operation, dtype=torch.float32):
        plain = [torch.randn(shape, dtype=dtype) for shape in shapes]
        tracked = [x.clone().requires_grad_() for x in plain]

        def both():
            for x in tracked:
                x.grad = None
            out = operation(*tracked)
            out.backward(torch.ones_like(out))

        with torch.no_grad():
            times[f"{name}|{positions}|forward"] = median_ms(lambda: operation(*plain))
        times[f"{name}|{positions}|and backward"] = median_ms(both)

    def rotated(x, cos, sin):
        x = x.transpose(1, 2)
        first, second = x[..., : DIM // 2], x[..., DIM // 2 :]
        return x * cos + torch.cat([-second, first], dim=-1) * sin

    def attention(query, key, value):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True).transpose(1, 2)

    gamma = torch.rand(WIDTH)
    for batch, length in [(8, 64), (2, 608)]:
        positions = batch * length
        row("RMSNorm", positions, [(batch, length, WIDTH)], lambda x: F.rms_norm(x, (WIDTH,), gamma, 1e-5))
        row("SwiGLU", positions, [(batch, length, INNER)] * 2, lambda gate, up: F.silu(gate) * up)
        angles = torch.rand(1, 1, length, DIM // 2).repeat(1, 1, 1, 2)
        cos, sin = angles.cos(), angles.sin()
        row("rotary positions", positions, [(batch, length, HEADS, DIM)], lambda x: rotated(x, cos, sin))
        row("attention", positions, [(batch, HEADS, length, DIM), *[(batch, KV_HEADS, length, DIM)] * 2], attention)
    for positions in (512, 1216):
        for name, dtype in ("product", torch.float32), ("product, bfloat16", torch.bfloat16):
            row(name, positions, [(positions, WIDTH), (INNER, WIDTH)], F.linear, dtype)
    tokens = (torch.arange(512) * 131 % VOCABULARY).view(8, 64)
    row("embedding", 512, [(VOCABULARY, WIDTH)], lambda x: F.embedding(tokens, x))
    for labels in (64, 256):
        targets = torch.arange(labels) * 131 % VOCABULARY
        row("cross-entropy", labels, [(labels, VOCABULARY)], lambda x: F.cross_entropy(x, targets))
    layers = [torch.randn(INNER, WIDTH) for _ in range(30)]
    for rows in (1, 8):
        x = torch.rand(rows, WIDTH)
        with torch.no_grad():
            times[f"products|{rows}|forward"] = median_ms(lambda: [F.linear(x, layer) for layer in layers])
    matrix = torch.randn(WIDTH, 16_384, requires_grad=True)
    matrix.grad = torch.rand_like(matrix)
    optimizer = torch.optim.AdamW([matrix], lr=1e-3, weight_decay=0.01)
    times[f"AdamW|{matrix.numel()}|step"] = median_ms(optimizer.step)
    return times


def program_times(program):
    """The rows that the program prints: {"operation|positions|pass": (composed, fused)}."""
    done = subprocess.run([program, "--bench"], capture_output=True, text=True, check=True)
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in done.stdout.splitlines() if line.startswith("|")]
    found = {"|".join(row[:3]): (float(row[3]), float(row[4])) for row in rows if len(row) == 6 and row[1].isdigit()}
    return found, done.stdout.strip().splitlines()[-1]


def main():
    args = parse()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    if args.torch:
        print(json.dumps(torch_times(args.threads)))
        return
    ours, theirs = [], []
    for _ in range(args.rounds):
        times, machine = program_times(args.program)
        ours.append(times)
        alone = [sys.executable, __file__, "--torch", "--threads", str(args.threads)]
        theirs.append(json.loads(subprocess.run(alone, capture_output=True, text=True, check=True).stdout))
    print("| operation | size | pass | composed, ms | fused, ms | PyTorch, ms | PyTorch / fused |")
    print("|---|--:|---|--:|--:|--:|--:|")
    for row in ours[0]:
        composed, fused = (statistics.median(times[row][at] for times in ours) for at in (0, 1))
        torch = statistics.median(times[row] for times in theirs)
        print(f"| {row.replace('|', ' | ')} | {composed:.2f} | {fused:.2f} | {torch:.2f} | {torch / fused:.1f} |")
    print(f"\n{machine}")


if __name__ == "__main__":
    main()
