"""Holds what Spark and Ray Data make of small tables against one pass of the program.

    cargo xtask engines --python PYTHON
    python check.py target/debug/burn-revision

An engine that this Python does not have is skipped, and named.
"""

import importlib.util
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
DIM = 24
# A package, the program that uses it, and the type of values in its tables; Spark reads no Parquet in half precision.
ENGINES = [("pyspark", "spark.py", np.float32), ("ray", "ray_data.py", np.float16)]


def write(folder, values, parts):
    """Tables of ids, captions and embeddings in uneven parts, and one without rows."""
    folder.mkdir()
    ends = [len(values) * (part + 1) ** 2 // parts**2 for part in range(parts)]
    for part, (start, end) in enumerate(zip([0, *ends], [*ends, ends[-1]])):
        offsets = np.arange(end - start + 1, dtype=np.int32) * values.shape[1]
        embedding = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[start:end].ravel()))
        ids = range(start, end)
        captions = pa.array([f"no. {row}" for row in ids], pa.string())
        table = pa.table({"id": pa.array(ids, pa.int64()), "caption": captions, "embedding": embedding})
        pq.write_table(table, folder / f"part{part}.parquet")


def statistics(path):
    """Counts and arrays in a file of statistics, and how many parts of the texts it was merged from."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    about = json.loads(header.pop("__metadata__")["statistics"])
    arrays = {name: np.frombuffer(body[slice(*entry["data_offsets"])]).reshape(entry["shape"]) for name, entry in header.items()}
    parts = sum(source["set"] == "text" for source in about["sources"])
    return {name: about[name] for name in ["method", "non_finite", "dim", "counts", "rows"]}, arrays, parts


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments), "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def engine(program, script, folder, text, output):
    """Runs an engine's program as a user would."""
    command = [sys.executable, HERE / script, "--program", program, "--text", folder / text, "--image", folder / "image"]
    command += ["--statistics", folder / f"{text}.safetensors", "--output", folder / output, "--partitions", "3"]
    # Spark's workers take `python3` otherwise, and Ray puts blocks up to a gigabyte together before it aggregates.
    environment = {"PYSPARK_PYTHON": sys.executable, "RAY_DATA_SHUFFLE_INPUT_BATCH_BYTES": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def check(program, script, dtype, folder):
    random = np.random.default_rng(23)
    spread = np.linspace(0.3, 2, DIM)
    text = (random.normal(size=(1500, DIM)) * spread + 0.5).astype(dtype)
    image = (random.normal(size=(700, DIM)) - spread).astype(dtype)
    for name, values in [("text", text), ("image", image)]:
        write(folder / name, values, 4)
        np.save(folder / f"{name}.npy", values)

    done = engine(program, script, folder, "text", "aligned")
    assert done.returncode == 0, done.stderr
    whole = folder / "whole.safetensors"
    run(program, "fit", "--text", folder / "text.npy", "--image", folder / "image.npy", "--output", whole)
    about, arrays, parts = statistics(folder / "text.safetensors")
    expected_about, expected, _ = statistics(whole)
    assert parts > 1, "one partition alone: nothing was merged"
    assert about == expected_about, f"{about} instead of {expected_about}"
    assert arrays.keys() == expected.keys()
    furthest = max(np.abs(arrays[name] - expected[name]).max() / np.abs(expected[name]).max() for name in expected)
    assert furthest <= 1e-12, f"statistics differ by {furthest:.1e} of the largest value"

    stats = folder / "text.safetensors"
    run(program, "apply", "--stats", stats, "--text", folder / "text.npy", "--output", folder / "aligned.npy")
    aligned = pq.read_table(folder / "aligned").sort_by("id")
    assert aligned["id"].to_pylist() == list(range(len(text)))
    assert aligned["caption"].to_pylist() == [f"no. {row}" for row in range(len(text))]
    rows = aligned["embedding"].combine_chunks().flatten().to_numpy()
    assert rows.dtype == np.float32 and rows.tobytes() == np.load(folder / "aligned.npy").tobytes(), "aligned rows differ"

    # What the program says about a row comes out of the engine.
    text[700, 5] = np.nan
    write(folder / "broken", text, 4)
    refused = engine(program, script, folder, "broken", "nothing")
    assert refused.returncode != 0 and "column 5 is NaN" in refused.stderr, refused.stderr
    assert not (folder / "broken.safetensors").exists() and not (folder / "nothing").exists()
    return furthest


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    for package, script, dtype in ENGINES:
        if importlib.util.find_spec(package) is None:
            print(f"{package}: skipped, this Python does not have it")
            continue
        with tempfile.TemporaryDirectory() as folder:
            furthest = check(program, script, dtype, pathlib.Path(folder))
        print(f"{package}: statistics of one pass to {furthest:.1e}, aligned rows the same to the bit")


if __name__ == "__main__":
    main()
