"""Stage-1 training and generation with SmolLM2-135M, side by side: this project and PyTorch with transformers.

    python benches/compare/run_smollm2.py --rust target/debug/deps/smollm2-...
    python benches/compare/run_smollm2.py --rust "flex=env BURN_DEVICE=flex PATH" --rust "tch=env BURN_DEVICE=tch PATH" --only stage1

Each program is called with the arguments of `smollm2.py` and prints one line of JSON with the same keys, as a process
of its own.  The programs take turns: all of them once in a round, the order turned round from round to round.
See README.md.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GGUF = ROOT / "target/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TORCH = "PyTorch"

LEAN, NAIVE, ONE_COPY = (f"2 x (576 + 32), {way}" for way in ("lean", "naive", "one copy"))


def works(steps, new):
    """{row: (arguments)}; lean computes logits at labels and projects once, naive does neither."""
    lean = ("--logits", "labels", "--projector", "once", "--copies", "all")
    half = ("--precision", "bf16")
    naive = ("--logits", "all", "--projector", "copies", "--copies", "all")
    short = ("--batch", "8", "--visual", "16", "--text", "48", "--steps", str(steps))
    long = ("--batch", "2", "--visual", "576", "--text", "32", "--steps", str(steps))
    return {
        "8 x (16 + 48), lean": ("stage1", *short, *lean),
        LEAN: ("stage1", *long, *lean),
        "8 x (16 + 48), one copy": ("stage1", *short, *lean[:4]),
        NAIVE: ("stage1", *long, *naive),
        ONE_COPY: ("stage1", *long, *lean[:4]),
        "8 x (16 + 48), full tuning": ("stage1", *short, *lean, "--train", "all"),
        "8 x (16 + 48), full tuning, gradient checkpointing": ("stage1", *short, *lean, "--train", "all", "--gradient-checkpointing"),
        "8 x (16 + 48), lean, bfloat16": ("stage1", *short, *lean, *half),
        "2 x (576 + 32), lean, bfloat16": ("stage1", *long, *lean, *half),
        f"generate {new}": ("generate", "--new", str(new)),
        f"generate {new}, bfloat16": ("generate", "--new", str(new), *half),
        f"generate {new}, 4 bits": ("generate", "--new", str(new), "--blocks"),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rust", action="append", default=[], metavar="[NAME=]COMMAND", help="a program of this project, or a command that starts it; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of stage 1, of which the first two are not timed")
    parser.add_argument("--new", type=int, default=64, help="tokens to generate")
    parser.add_argument("--only", choices=["stage1", "generate"])
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose name has this in it, such as bfloat16")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--output", type=pathlib.Path, help="a file for the table and all runs as JSON")
    args = parser.parse_args()
    if args.no_torch and not args.rust:
        parser.error("nothing to run")
    return args


def programs(args):
    """{name: command}, PyTorch last."""
    found = {}
    for text in args.rust:
        name, equals, path = text.partition("=")
        if not equals or " " in name:
            name, path = "burn-revision", text
        if name in found or name == TORCH:
            raise SystemExit(f"two programs are called {name}; write --rust NAME=PATH")
        command = shlex.split(path)
        if shutil.which(command[0]) is None:
            raise SystemExit(f"{command[0]} is not there, or is no program")
        found[name] = command
    if not args.no_torch:
        found[TORCH] = [sys.executable, str(HERE / "smollm2.py")]
    return found


def run(command):
    """The last line that a process prints, as JSON."""
    environment = {**os.environ, "SMOLLM2_GGUF": os.environ.get("SMOLLM2_GGUF", str(GGUF))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(args, commands, rows):
    """{row: {program: [JSON of each round]}}."""
    runs = {row: {name: [] for name in commands} for row in rows}
    for turn in range(args.rounds):
        for row, arguments in rows.items():
            names = list(commands)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                result = run([*commands[name], *arguments])
                runs[row][name].append(result)
                speed, peak = result["tokens_per_second"], result["peak_rss_mb"]
                print(f"round {turn + 1}  {row:50}  {name:16} {speed:8.1f} tokens/s  {peak:6.0f} MB", file=sys.stderr, flush=True)
    return runs


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def table(runs, commands):
    """Medians, spread and ratios over PyTorch."""
    lines = [
        "| work | program | tokens/s (min-max) | ours / PyTorch | peak memory, MB | ours / PyTorch |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row, results in runs.items():
        for name in commands:
            speeds = [run["tokens_per_second"] for run in results[name]]
            cells = [row, name, f"{statistics.median(speeds):.1f} ({min(speeds):.1f}-{max(speeds):.1f})"]
            for key in ("tokens_per_second", "peak_rss_mb"):
                if key == "peak_rss_mb":
                    cells.append(f"{median(results[name], key):,.0f}")
                rival = None if name == TORCH else results.get(TORCH)
                cells.append(f"{median(results[name], key) / median(rival, key):.2f}" if rival else "")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def naive_table(runs, commands):
    """What the others take of the naive way's time and memory."""
    lines = ["| program | work | time of a step over naive | peak memory over naive |", "| --- | --- | ---: | ---: |"]
    for name in commands:
        for row in (LEAN, ONE_COPY):
            time, peak = (median(runs[row][name], key) / median(runs[NAIVE][name], key) for key in ("median_step_seconds", "peak_rss_mb"))
            lines.append(f"| {name} | {row} | {time:.2f} | {peak:.2f} |")
    return "\n".join(lines)


def main():
    args = parse()
    commands = programs(args)
    rows = {row: arguments for row, arguments in works(args.steps, args.new).items() if args.only in (None, arguments[0]) and args.rows in row}
    if not rows:
        raise SystemExit(f"no row has {args.rows!r} in its name; they are {', '.join(works(args.steps, args.new))}")
    runs = measure(args, commands, rows)
    packages = ("torch", "transformers", "numpy")
    versions = [] if args.no_torch else [f"{package} {importlib.metadata.version(package)}" for package in packages]
    about = f"Medians of {args.rounds} interleaved runs on {os.cpu_count()} cores"
    parts = ["; ".join([about, *versions]) + ".", table(runs, commands)]
    if {NAIVE, LEAN, ONE_COPY} <= runs.keys():
        parts.append(naive_table(runs, commands))
    print("\n\n".join(parts))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps({"table": "\n\n".join(parts), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
