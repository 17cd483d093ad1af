"""Decoding with SmolLM2-135M, side by side: this project, llama.cpp and PyTorch with transformers, on the CPU.

    python benches/compare/run_decoding.py --rust target/debug/deps/smollm2-...

Greedy tokens of one text behind 64, 256, 1024 and 4096 others: tokens a second, the time to the first token, peak memory; and
how fast memory is read and copied meanwhile, which bounds all of them.  Weights are those of the GGUF file that
`tests/fetch_smollm2.sh` brings, in its four bits and widened to float32 (for llama.cpp in a file that is written beside it).

Each run is a process of its own that prints a line of JSON.  The programs take turns, the order turned round from round to
round.  Packages: tests/reference/requirements-transformers.txt, gguf, and xllamacpp, which has
llama.cpp in it; what is not there is left out with a message.
"""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GGUF = pathlib.Path(os.environ.get("SMOLLM2_GGUF", ROOT / "target/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
WIDE = ROOT / "target/decoding/SmolLM2-135M-Instruct.F32.gguf"


def prompt(length):
    """The tokens of the Rust side."""
    return [1000 + 37 * i % 30_000 for i in range(length)]


def widen():
    """The file with all its tensors in float32."""
    import gguf

    if WIDE.exists():
        return
    WIDE.parent.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(GGUF)
    part = WIDE.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        kind = field.types[0]
        writer.add_key_value(key, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(WIDE)


def peak_mb():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def timed(begin, step, new):
    """Seconds to the first token, then of each that follows."""
    begun = time.perf_counter()
    begin()
    first = time.perf_counter() - begun
    times = []
    for _ in range(new - 1):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return {"tokens_per_second": len(times) / sum(times), "prompt_seconds": first, "median_step_seconds": statistics.median(times), "peak_rss_mb": peak_mb()}


def llama_cpp(args):
    """llama.cpp's own timings, of its server within this process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(GGUF if args.blocks else WIDE)
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.warmup = args.prompt + args.new + 8, 1, 0, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.cache_prompt = False
    server = xllamacpp.Server(params)

    def complete(tokens, new):
        request = {"prompt": tokens, "n_predict": new, "temperature": 0.0, "top_k": 1, "ignore_eos": True, "cache_prompt": False}
        answer = server.handle_completions(request)
        return json.loads(answer)["timings"] if isinstance(answer, str) else answer["timings"]

    complete(prompt(16), 3)
    timings = complete(prompt(args.prompt), args.new)
    step = timings["predicted_ms"] / 1e3 / max(1, timings["predicted_n"])
    return {"tokens_per_second": 1 / step, "prompt_seconds": timings["prompt_ms"] / 1e3, "median_step_seconds": step, "peak_rss_mb": peak_mb()}


def torch(args):
    sys.argv = ["smollm2.py", "generate", "--threads", str(args.threads)]
    sys.path.insert(0, str(HERE))
    import smollm2
    import torch

    model = smollm2.load()
    state = {}

    @torch.inference_mode()
    def forward(tokens, past):
        out = model(input_ids=torch.tensor([tokens]), past_key_values=past, use_cache=True, logits_to_keep=1)
        state.update(past=out.past_key_values, token=int(out.logits[0, -1].argmax()))

    forward(prompt(16), None)
    return timed(lambda: forward(prompt(args.prompt), None), lambda: forward([state["token"]], state["past"]), args.new)


def child(args):
    print(json.dumps({"llama.cpp": llama_cpp, "torch": torch}[args.child](args)))


def run(command, threads):
    environment = {**os.environ, "SMOLLM2_GGUF": str(GGUF), "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def has(python, package):
    """Whether an interpreter has a package."""
    found = subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode == 0
    if not found:
        print(f"{python} has no {package}: left out", file=sys.stderr)
    return found


def programs(args):
    """{name: command without lengths}."""
    rust = shlex.split(args.rust)
    own = [str(HERE / "run_decoding.py"), "--threads", str(args.threads), "--child"]
    found = {"burn-revision, f32": [*rust, "generate"], "burn-revision, 4-bit": [*rust, "generate", "--blocks"]}
    if has(args.llama_python, "xllamacpp"):
        widen()
        found["llama.cpp, f32"] = [args.llama_python, *own, "llama.cpp"]
        found["llama.cpp, 4-bit"] = [args.llama_python, *own, "llama.cpp", "--blocks"]
    if has(args.torch_python, "transformers"):
        found["PyTorch, f32"] = [args.torch_python, *own, "torch"]
    return found


def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


# What a token reads: the weights, in gigabytes, and keys and values of a position: 30 layers, 3 heads of 64, float32 (llama.cpp: float16).
WEIGHTS = {"f32": 4 * 134_515_008 / 1e9, "4-bit": 0.0966}
POSITION = 30 * 2 * 3 * 64 * 4 / 1e9


def gigabytes(name, length):
    position = POSITION / 2 if name.startswith("llama.cpp") else POSITION
    return WEIGHTS[name.split(", ")[1]] + position * length


def table(title, names, lengths, cell):
    print(f"\n{title}\n")
    print("| program | " + " | ".join(str(length) for length in lengths) + " |")
    print("| --- |" + " ---: |" * len(lengths))
    for name in names:
        print(f"| {name} | " + " | ".join(cell(name, length) for length in lengths) + " |")


def report(args, names, runs, memory):
    def values(name, length, key):
        return [line[key] for line in runs[name][length]]

    def speed(name, length):
        return 1 / statistics.median(values(name, length, "median_step_seconds"))

    def ratio(name, length):
        rivals = ["PyTorch, f32", f"llama.cpp, {name.split(', ')[1]}"]
        return " / ".join(f"{speed(name, length) / speed(rival, length):.2f}" if rival in names else "-" for rival in rivals)

    read, copied = (statistics.median(line[key] for line in memory) for key in ("read_gb_per_second", "copied_gb_per_second"))
    print(f"Medians of {args.rounds} interleaved runs (smallest-largest), {args.threads} threads, behind a prompt of so many tokens.")
    print(f"Memory, in between: {read:.1f} GB/s read, {copied:.1f} GB/s read and written by a copy.")
    table("Tokens a second:", names, args.lengths, lambda name, length: spread([1 / step for step in values(name, length, "median_step_seconds")]))
    table("Milliseconds a token:", names, args.lengths, lambda name, length: f"{1e3 / speed(name, length):.1f}")
    table(
        "What a token reads (weights, keys and values), of what a copy moves in that time:", names, args.lengths,
        lambda name, length: f"{100 * gigabytes(name, length) * speed(name, length) / copied:.0f} %",
    )
    table("Seconds to the first token:", names, args.lengths, lambda name, length: spread(values(name, length, "prompt_seconds"), 2))
    table("Peak memory, MB:", names, args.lengths, lambda name, length: f"{statistics.median(values(name, length, 'peak_rss_mb')):,.0f}")
    own = [name for name in names if name.startswith("burn-revision")]
    table("Tokens a second, times those of PyTorch (f32) / of llama.cpp (same weights):", own, args.lengths, ratio)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rust", help="the program built from smollm2.rs, or a command that starts it")
    parser.add_argument("--llama-python", default=sys.executable, help="an interpreter with xllamacpp, which has llama.cpp in it")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter with transformers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--new", type=int, default=33, help="tokens that are written, the first one among them")
    parser.add_argument("--lengths", type=lambda text: [int(length) for length in text.split(",")], default=[64, 256, 1024, 4096])
    parser.add_argument("--output", type=pathlib.Path, help="a file for all runs as JSON")
    parser.add_argument("--child", choices=["llama.cpp", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--blocks", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args)
    if not args.rust:
        parser.error("--rust names the program")
    commands = programs(args)
    names = list(commands)
    runs, memory = {name: {length: [] for length in args.lengths} for name in names}, []
    for turn in range(args.rounds):
        for length in args.lengths:
            memory.append(run([*shlex.split(args.rust), "memory"], args.threads))
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                result = run([*commands[name], "--prompt", str(length), "--new", str(args.new)], args.threads)
                runs[name][length].append(result)
                seen = f"{1e3 * result['median_step_seconds']:7.1f} ms a token, the first after {result['prompt_seconds']:.2f} s"
                print(f"round {turn + 1}  {length:5}  {name:22} {seen}", file=sys.stderr, flush=True)
        if args.output:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps({"memory": memory, "runs": runs}, indent=1) + "\n")
    report(args, names, runs, memory)


if __name__ == "__main__":
    main()
