"""Training on a graphics card, side by side: this project's backends and PyTorch with transformers.

    python benches/compare/run_device.py --steps-of "cuda=env BURN_DEVICE=cuda target/debug/deps/smollm2-..." \\
        --limits-of "cuda=env BURN_DEVICE=cuda target/debug/deps/device-..."

Weights are random, in the shapes of SmolLM2-135M and of LLaMA 3.2 1B.  Each program is a process of its own; they take turns,
and the order turns from round to round.  While one runs, `nvidia-smi` says ten times a second how busy the card is and
how much of its memory is taken; busy is the mean over the timed steps.  The results are written again after each run, so
that nothing is lost where the time is up.  See README.md.
"""

import argparse
import importlib.metadata
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SMOLLM2, LLAMA = "SmolLM2-135M", "LLaMA 1B"
LEAN = ("--logits", "labels", "--projector", "once")


def works(args):
    """{row: arguments}; the fewest of them first."""
    rows = {}
    for name, shape, batch in ((SMOLLM2, "smollm2", args.smollm2_batch), (LLAMA, "llama-1b", args.llama_batch)):
        sizes = ("--batch", str(batch), "--visual", "64", "--text", "64", "--steps", str(args.steps))
        for precision in ("bf16", "f32"):
            row = f"{name}, {batch} x (64 + 64), {precision}"
            rows[row] = ("stage1", *sizes, *LEAN, "--shape", shape, "--precision", precision)
    return rows


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps-of", action="append", default=[], metavar="NAME=COMMAND", help="a build of the bench `smollm2`; may be repeated")
    parser.add_argument("--limits-of", action="append", default=[], metavar="NAME=COMMAND", help="a build of the bench `device`; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of which the first two are not timed")
    parser.add_argument("--smollm2-batch", type=int, default=32)
    parser.add_argument("--llama-batch", type=int, default=8)
    parser.add_argument("--rows", type=int, default=1_000_000, help="that ReAlign moves")
    parser.add_argument("--order", type=int, default=8192, help="of the matrices that are multiplied")
    parser.add_argument("--timeout", type=float, default=300, help="seconds a run; one that takes longer is left out")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("target/compare/device.json"))
    return parser.parse_args()


def named(texts):
    return {name: shlex.split(command) for name, _, command in (text.partition("=") for text in texts)}


class Watch:
    """What `nvidia-smi` says while a program runs: (time, busy in per cent, memory in MiB)."""

    def __init__(self):
        query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
        self.samples = []
        try:
            self.process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
        except OSError:
            self.process = None
            return
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            values = line.split(",")
            if len(values) == 2 and all(value.strip().isdigit() for value in values):
                self.samples.append((time.monotonic(), *map(int, values)))

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


def run(command, timeout):
    """The last line that a process prints as JSON, with what the card did; or {"failed": why}."""
    watch = Watch()
    time.sleep(0.3)
    before = watch.samples[-1][2] if watch.samples else 0
    begun, printed, line = time.monotonic(), None, ""
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        except OSError as error:
            watch.stop()
            return {"failed": str(error)}
        late = threading.Timer(timeout, process.kill)
        late.start()
        for line in process.stdout:
            # The steps end here; the process may take seconds more to end.
            printed = time.monotonic()
        code = process.wait()
        in_time = late.is_alive()
        late.cancel()
        watch.stop()
        if code:
            errors.seek(0)
            return {"failed": errors.read().strip()[-2000:] if in_time else f"took more than {timeout:.0f} s"}
    result = json.loads(line)
    result["process_seconds"] = time.monotonic() - begun
    if watch.samples:
        result["peak_device_mib"] = max(memory for _, _, memory in watch.samples) - before
        steps = [busy for at, busy, _ in watch.samples if printed - result.get("timed_seconds", 0) <= at <= printed]
        result["busy_per_cent"] = statistics.mean(steps) if steps else None
    return result


def figure(results, key, form):
    """Median, smallest and largest."""
    values = [result[key] for result in results if result.get(key) is not None]
    if not values:
        return "failed" if any("failed" in result for result in results) else "-"
    spread = f" ({form.format(min(values))}-{form.format(max(values))})" if len(values) > 1 else ""
    return form.format(statistics.median(values)) + spread


def tables(found):
    lines = ["| work | program | tokens/s (min-max) | memory of the card, MiB | busy, % | warming up, s |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for (row, name), results in found["steps"].items():
        keys = [("tokens_per_second", "{:,.0f}"), ("peak_device_mib", "{:,.0f}"), ("busy_per_cent", "{:.0f}"), ("warm_up_seconds", "{:.1f}")]
        lines.append("| " + " | ".join([row, name, *(figure(results, *key) for key in keys)]) + " |")
    lines += ["", "| program | copy, GB/s | ReAlign, GB/s | product f32, TFLOP/s | product TF32 | product bf16 |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, results in found["limits"].items():
        keys = ["copy_gb_per_second", "realign_gb_per_second", *(f"product_{type}_tflop_per_second" for type in ("f32", "tf32", "bf16"))]
        lines.append("| " + " | ".join([name, *(figure(results, key, "{:,.0f}") for key in keys)]) + " |")
    return "\n".join(lines)


def save(found, output):
    flat = {"steps": [[*key, results] for key, results in found["steps"].items()], "limits": found["limits"]}
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".part")
    part.write_text(json.dumps({"table": tables(found), **flat}, indent=1) + "\n")
    part.rename(output)


def main():
    args = parse()
    steps, limits = named(args.steps_of), named(args.limits_of)
    sizes = ["--rows", str(args.rows), "--order", str(args.order)]
    jobs = [("limits", name, [*command, *sizes]) for name, command in limits.items()]
    if not args.no_torch:
        jobs.append(("limits", "PyTorch", [sys.executable, str(HERE / "device.py"), "--device", "cuda", *sizes]))
    for row, arguments in works(args).items():
        for name, command in steps.items():
            jobs.append(("steps", (row, name), [*command, *arguments, "--copies", "all"]))
            jobs.append(("steps", (row, f"{name}, one copy"), [*command, *arguments]))
        if not args.no_torch:
            torch = [sys.executable, str(HERE / "smollm2.py"), *arguments, "--device", "cuda"]
            jobs.append(("steps", (row, "PyTorch"), torch))
            if row.endswith("f32"):
                jobs.append(("steps", (row, "PyTorch, TF32"), [*torch, "--tf32"]))
    found = {"steps": {}, "limits": {}}
    for turn in range(args.rounds):
        for kind, key, command in jobs if turn % 2 == 0 else jobs[::-1]:
            results = found[kind].setdefault(key, [])
            if any("failed" in result for result in results):
                continue
            result = run(command, args.timeout)
            results.append(result)
            print(f"round {turn + 1}  {key}  {json.dumps(result)}", file=sys.stderr, flush=True)
            save(found, args.output)
    if not args.no_torch:
        print("; ".join(f"{package} {importlib.metadata.version(package)}" for package in ("torch", "transformers")))
    print(tables(found))


if __name__ == "__main__":
    main()
