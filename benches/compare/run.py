"""ReAlign from file to file, side by side: this project's program, NumPy, PyTorch and a floor that computes nothing.

Every run is a process of its own; its wall time, CPU time and peak resident memory are those that the system reports
for that process.  The rivals take turns, one run each a round, in an order that rotates.  See README.md.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys

import numpy as np

import data

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOLERANCE = 1e-6  # float32 arithmetic inside rows of length one gives 2e-7 to 6e-7


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = lambda text: [int(n) for n in text.split(",")]  # noqa: E731
    parser.add_argument("--program", default=ROOT / "target/release/burn-revision", type=pathlib.Path)
    parser.add_argument("--work", default=ROOT / "target/compare", type=pathlib.Path, help="folder for data and outputs")
    parser.add_argument("--rows", type=sizes, default=[10_000, 50_000, 200_000])
    parser.add_argument("--dims", type=sizes, default=[512, 768, 1280])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--block", type=int, default=64, help="rows that the floor reads at once")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names as in the table, separated by commas")
    parser.add_argument("--output", default=None, type=pathlib.Path, help="folder for compare.md and compare.json [the work folder]")
    parser.add_argument("--clean", action="store_true", help="delete each pair of input files once it has been measured")
    parser.add_argument("--memory", action="store_true", help="compare the maths alone, from mapped input to a buffer")
    parser.add_argument("--library", dest="ours", metavar="COMMAND", help="with --memory: a command for this project's library, printing the same JSON")
    return parser.parse_args()


def first(lines, key):
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")


def output_of(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine():
    """What a reader needs to judge the numbers."""
    versions = {}
    for name in ("numpy", "torch"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    cpu = pathlib.Path("/proc/cpuinfo")
    return {
        "cpu": first(cpu.read_text().splitlines(), "model name") if cpu.exists() else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **versions,
        "rustc": output_of("rustc", "--version"),
        "commit": output_of("git", "describe", "--always", "--dirty", "--abbrev=12"),
    }


def rivals(args):
    """{name: command without the files}; what cannot run is left out with a message."""
    args.work.mkdir(parents=True, exist_ok=True)
    found = {}
    if args.program.exists():
        found["burn-revision"] = [args.program.resolve(), "align", "--quiet"]
    else:
        print(f"left out: burn-revision ({args.program} is not there)", file=sys.stderr)
    for name in ("numpy_fast", "numpy_plain", "torch_fast", "torch_plain"):
        if name.startswith("torch") and importlib.util.find_spec("torch") is None:
            print(f"left out: {name} (torch is not installed)", file=sys.stderr)
        else:
            found[name] = [sys.executable, HERE / f"{name}.py"]
    found["numpy_fast_1"] = [*found["numpy_fast"], "--threads", "1"]
    found["floor"] = [build(args, "floor"), "--rows", str(args.block)]
    chosen = {name: command for name, command in found.items() if not args.only or name in args.only}
    if not chosen:
        raise SystemExit(f"nothing to compare; there are {', '.join(found)}")
    return chosen


def build(args, name):
    """Compile one of the plain Rust programs beside this file into the work folder."""
    program = (args.work / name).resolve()
    flags = ["--edition", "2021", "-O", "-C", "target-cpu=native", "-o", str(program)]
    subprocess.run(["rustc", *flags, str(HERE / f"{name}.rs")], check=True)
    return program


def timed(launcher, command):
    """Run a command; its wall time, CPU time and peak resident memory in bytes."""
    command = [str(part) for part in [launcher, *command]]
    done = subprocess.run(command, capture_output=True, text=True)
    cost = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"status": 1}
    if cost.pop("status"):
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stderr}")
    return cost


def inputs(args, rows, dim):
    """Paths of the text and image file, which are written where they are missing and read once."""
    paths = []
    for seed, name in enumerate(("text", "image"), start=1):
        path = args.work / f"{name}-{rows}x{dim}.npy"
        if not path.exists():
            part = path.with_suffix(".part")
            data.write(part, rows, dim, seed)
            os.sync()  # so that no run pays for writing these to the disk
            part.rename(path)
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
        paths.append(path)
    return paths


def difference(path, reference):
    """Largest absolute difference of two output files."""
    a, b = np.load(path, mmap_mode="r"), np.load(reference, mmap_mode="r")
    if a.shape != b.shape or a.dtype != b.dtype:
        raise SystemExit(f"{path}: {a.dtype}{a.shape} instead of {b.dtype}{b.shape}")
    return max(float(np.abs(a[i : i + 10_000] - b[i : i + 10_000]).max()) for i in range(0, len(a), 10_000))


def compare(args, launcher, commands, rows, dim):
    """All rounds of one size: {name: {"runs": [...], "difference": ...}}."""
    text, image = inputs(args, rows, dim)
    reference, out = args.work / "reference.npy", args.work / "out.npy"
    files = ["--text", text, "--image", image]
    plain = [sys.executable, HERE / "numpy_plain.py"]
    reference.unlink(missing_ok=True)
    timed(launcher, [*plain, *files, "--output", reference])
    os.sync()
    results = {name: {"runs": [], "difference": None} for name in commands}
    names = list(commands)
    for turn in range(args.repeats):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            out.unlink(missing_ok=True)
            command = [*commands[name], *files, "--output", out]
            if "--threads" not in command:
                command += ["--threads", args.threads]
            results[name]["runs"].append(timed(launcher, command))
            if turn == 0 and name != "floor":
                gap = results[name]["difference"] = difference(out, reference)
                if not gap <= TOLERANCE:
                    raise SystemExit(f"{name}: differs from numpy_plain by {gap:.1e}, more than {TOLERANCE:.0e}")
            if out.stat().st_size < rows * dim * 4:
                raise SystemExit(f"{name}: the output is too short")
        print(f"{rows} x {dim}: round {turn + 1} of {args.repeats}", file=sys.stderr)
    for path in [out, reference] + ([text, image] if args.clean else []):
        path.unlink(missing_ok=True)
    return results


def table(results, rows, dim):
    """One markdown table, fastest first."""
    moved = rows * dim * (2 + 2 + 4)
    median = lambda name, *keys: statistics.median(sum(run[k] for k in keys) for run in results[name]["runs"])  # noqa: E731
    floor = median("floor", "wall") if "floor" in results else None
    lines = [
        f"**{rows:,} text and {rows:,} image rows, {dim} dimensions** ({moved / 1e6:,.0f} MB to move)",
        "",
        "| program | wall, s (min-max) | CPU, s (user + sys) | peak memory, MB | GB/s | times the floor | max difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in sorted(results, key=lambda name: median(name, "wall")):
        walls = [run["wall"] for run in results[name]["runs"]]
        wall, gap = statistics.median(walls), results[name]["difference"]
        lines.append(
            f"| {name} | {wall:.3f} ({min(walls):.3f}-{max(walls):.3f}) "
            f"| {median(name, 'user', 'sys'):.2f} ({median(name, 'user'):.2f} + {median(name, 'sys'):.2f}) "
            f"| {median(name, 'rss') / 1e6:,.0f} | {moved / wall / 1e9:.2f} "
            f"| {'-' if floor is None else f'{wall / floor:.2f}'} | {'-' if gap is None else f'{gap:.1e}'} |"
        )
    return "\n".join(lines)


def memory(args):
    """The maths alone; every command prints {"median": seconds, "runs": [...]}."""
    text, image = inputs(args, 200_000, 1280)
    commands = {name: [sys.executable, HERE / "memory.py", name] for name in ("numpy_fast", "torch_fast")}
    if importlib.util.find_spec("torch") is None:
        del commands["torch_fast"]
    if args.ours:
        commands["library"] = shlex.split(args.ours)
    results = {name: [] for name in commands}
    names = list(commands)
    for turn in range(args.repeats):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            command = [*commands[name], "--text", text, "--image", image, "--threads", args.threads]
            done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
            results[name].append(json.loads(done.stdout.splitlines()[-1])["median"])
        print(f"memory: round {turn + 1} of {args.repeats}", file=sys.stderr)
    lines = ["**Mapped input to a buffer in memory, 200,000 rows, 1280 dimensions**", "", "| library | s (min-max) |", "| --- | ---: |"]
    for name in sorted(results, key=lambda name: statistics.median(results[name])):
        seconds = results[name]
        lines.append(f"| {name} | {statistics.median(seconds):.3f} ({min(seconds):.3f}-{max(seconds):.3f}) |")
    return results, "\n".join(lines)


def main():
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    folder = args.output or args.work
    folder.mkdir(parents=True, exist_ok=True)
    about = machine()
    summary = ", ".join(f"{key} {value}" for key, value in about.items())
    parts = [f"Medians of {args.repeats} interleaved runs, {args.threads} threads; {summary}."]
    raw = {"machine": about, "repeats": args.repeats, "threads": args.threads, "sizes": []}
    print(parts[0])
    name = "compare-memory" if args.memory else "compare"
    if args.memory:
        raw["memory"], text = memory(args)
        parts.append(text)
        print(f"\n{text}")
    else:
        launcher, commands = build(args, "launch"), rivals(args)
        for rows in args.rows:
            for dim in args.dims:
                results = compare(args, launcher, commands, rows, dim)
                raw["sizes"].append({"rows": rows, "dim": dim, "results": results})
                parts.append(table(results, rows, dim))
                print(f"\n{parts[-1]}", flush=True)
    (folder / f"{name}.md").write_text("\n\n".join(parts) + "\n")
    (folder / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()
