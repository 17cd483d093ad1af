"""How fitting and aligning by the workers of DataFusion grows: time, and bytes read and sent, by number of workers.

    cargo build -p burn-revision-datafusion --examples
    python benches/compare/run_workers.py --program target/debug/examples/cluster

Tables are made once by the program's `synthetic` (four captions to a picture, float32, 16 files each). Each run starts workers of
one thread each, fits, and then writes the aligned captions. One worker is the coordinator itself on one core, since the engine
sends nothing to a worker that is alone; none is the coordinator with all cores. The numbers of workers take turns. `/proc` counts what workers read and what crosses the loopback device.
"""

import argparse
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

HOST = "127.0.0.1"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, required=True, help="the example `cluster`")
    parser.add_argument("--rows", type=int, default=10_000_000, help="captions and pictures together")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("target/workers"), help="for the tables")
    args = parser.parse_args()
    if not args.program.is_file():
        parser.error(f"{args.program} is not there")
    return args


def tables(args):
    """The two folders, made when they are not there."""
    found = {}
    for seed, (name, rows) in enumerate({"captions": args.rows * 4 // 5, "pictures": args.rows // 5}.items(), 1):
        folder = args.folder / f"{name}-{rows}x{args.dim}"
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            size = ("--rows", str(rows), "--dim", str(args.dim), "--files", "16", "--seed", str(seed))
            subprocess.run([args.program, "synthetic", "--output", part, *size], check=True, stdout=sys.stderr)
            part.rename(folder)
        found[name] = folder
    return found


def loopback():
    """Bytes that the loopback device has received."""
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.strip().partition(":")
        if name == "lo":
            return int(counts.split()[0])
    raise SystemExit("no loopback device in /proc/net/dev")


def read_bytes(process):
    """Bytes that a process has asked files and sockets for."""
    return int(re.search(r"rchar: (\d+)", pathlib.Path(f"/proc/{process.pid}/io").read_text())[1])


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def start(program, port):
    if listens(port):
        raise SystemExit(f"something else listens at port {port}")
    worker = subprocess.Popen([program, "worker", "--listen", f"{HOST}:{port}", "--threads", "1"])
    for _ in range(100):
        if worker.poll() is not None:
            break
        if listens(port):
            return worker
        time.sleep(0.05)
    worker.kill()
    raise SystemExit(f"no worker listens at port {port}")


def run(args, folders, count):
    """Seconds to fit and to write, bytes over loopback in each, and bytes that workers read to fit."""
    ports = [51_000 + worker for worker in range(count if count > 1 else 0)]
    workers = []
    aligned = args.folder / "aligned"
    shutil.rmtree(aligned, ignore_errors=True)
    command = [args.program, "align", "--text", folders["captions"], "--image", folders["pictures"], "--output", f"{aligned}/"]
    if count == 1:
        command = ["taskset", "--cpu-list", "0", *command, "--partitions", "1"]
    if ports:
        command += ["--workers", ",".join(f"http://{HOST}:{port}" for port in ports)]
    try:
        for port in ports:
            workers.append(start(args.program, port))
        sent, times, read = [loopback()], [], []
        coordinator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # A line when statistics are there, and one when the rows are.
        for line in coordinator.stdout:
            sent.append(loopback())
            read.append(sum(read_bytes(worker) for worker in workers))
            times.append(float(re.search(r" in ([\d.]+) s$", line)[1]))
        if coordinator.wait() or len(times) != 2:
            raise SystemExit(f"failed with {count} workers")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        shutil.rmtree(aligned, ignore_errors=True)
    return {"fit": times[0], "write": times[1], "read": read[0], "sent to fit": sent[1] - sent[0], "sent to write": sent[2] - sent[1]}


def main():
    args = parse()
    folders = tables(args)
    runs = {count: [] for count in args.workers}
    for turn in range(args.rounds):
        for count in args.workers[:: 1 if turn % 2 == 0 else -1]:
            found = run(args, folders, count)
            runs[count].append(found)
            print(f"round {turn + 1}  {count} workers  fitted in {found['fit']:.1f} s, written in {found['write']:.1f} s", file=sys.stderr, flush=True)
    print(f"{args.rows} rows of {args.dim} float32 on {os.cpu_count()} cores, medians of {args.rounds} runs\n")
    print("| workers | fitted in | written in | read to fit | over the network to fit | and to write |")
    print("|---|--:|--:|--:|--:|--:|")
    for count, found in runs.items():
        fit, write, read, fitted, written = (statistics.median(run[key] for run in found) for key in found[0])
        sizes = f"{read / 1e9:.1f} GB | {fitted / 1e6:.2f} MB | {written / 1e9:.2f} GB" if count > 1 else "| |"
        name = {0: "none: one process, all cores", 1: "one process, one core"}.get(count, count)
        print(f"| {name} | {fit:.1f} s | {write:.1f} s | {sizes} |")


if __name__ == "__main__":
    main()
