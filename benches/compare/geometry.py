"""The geometry side by side: this project, NumPy and scikit-learn, in turns, each run a process of its own.

covariance   two matrices of 200,000 x 1280 float32: float32 products of chunks, added up in float64
eigen        all eigenvalues and eigenvectors of one 1280 x 1280 covariance, float64
neighbours   the exact 20 nearest neighbours of 20,000 rows of 1280 dimensions, by cosine

    cargo bench --profile dev --bench geometry --no-run
    python benches/compare/geometry.py --program target/debug/deps/geometry-...

Prints medians, ratios and the spread.  NumPy and scikit-learn use as many threads as this project: one for each core.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

CHUNK = 10_000


def rows(np, n, dim):
    random = np.random.default_rng(7)
    return (random.random((n, dim), dtype=np.float32) - 0.4) / np.sqrt(np.arange(1, dim + 1, dtype=np.float32))


def covariance(n, dim):
    import numpy as np

    data = rows(np, n, dim)
    begun = time.perf_counter()
    for _ in range(2):
        shift, sums, scatter = data[0], np.zeros(dim), np.zeros((dim, dim))
        for first in range(0, n, CHUNK):
            part = data[first : first + CHUNK] - shift
            sums += part.sum(axis=0, dtype=np.float64)
            scatter += part.T @ part
        mean = sums / n
        result = scatter / n - np.outer(mean, mean)
    return time.perf_counter() - begun, float(np.trace(result))


def eigen(n, dim):
    import numpy as np

    matrix = np.cov(rows(np, n, dim), rowvar=False, bias=True)
    np.linalg.eigh(matrix)
    begun = time.perf_counter()
    values, _ = np.linalg.eigh(matrix)
    return time.perf_counter() - begun, float(values[-1])


def unit(np, n, dim):
    data = rows(np, n, dim)
    return data / np.linalg.norm(data, axis=1, keepdims=True)


def neighbours(n, dim):
    """Blocks of cosines and a partial sort, as one writes it in NumPy."""
    import numpy as np

    data = unit(np, n, dim)
    begun = time.perf_counter()
    found = np.empty((n, 20), dtype=np.int64)
    for first in range(0, n, 1000):
        cosines = data[first : first + 1000] @ data.T
        cosines[np.arange(len(cosines)), np.arange(first, first + len(cosines))] = -np.inf
        best = np.argpartition(-cosines, 20, axis=1)[:, :20]
        order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1)
        found[first : first + 1000] = np.take_along_axis(best, order, axis=1)
    return time.perf_counter() - begun, int(found.sum())


def neighbours_sklearn(n, dim):
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    data = unit(np, n, dim)
    begun = time.perf_counter()
    found = NearestNeighbors(n_neighbors=20, algorithm="brute").fit(data).kneighbors(return_distance=False)
    return time.perf_counter() - begun, int(found.sum())


RIVALS = {
    "covariance": {"numpy": covariance},
    "eigen": {"numpy (LAPACK)": eigen},
    "neighbours": {"numpy": neighbours, "scikit-learn": neighbours_sklearn},
}
ROWS = {"covariance": 200_000, "eigen": 4_000, "neighbours": 20_000}


def measure(command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built bench")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", choices=list(RIVALS), nargs="*", default=list(RIVALS))
    parser.add_argument("--rows", type=int, help="instead of the rows named above")
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        work, rival = options.one
        seconds, check = RIVALS[work][rival](options.rows, options.dim)
        print(json.dumps({"seconds": seconds, "check": check}))
        return
    for work in options.work:
        n = options.rows or ROWS[work]
        size = ["--rows", str(n), "--dim", str(options.dim), "--program", "-"]
        commands = {"this project": [options.program, work, str(n), str(options.dim)]}
        for rival in RIVALS[work]:
            commands[rival] = [sys.executable, __file__, "--one", work, rival, *size]
        times = {name: [] for name in commands}
        for turn in range(options.repeats):
            names = list(commands)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                times[name].append(measure(commands[name]))
        ours = statistics.median(times["this project"])
        print(f"{work}, {n} x {options.dim}, medians of {options.repeats}:")
        for name, seconds in times.items():
            median = statistics.median(seconds)
            spread = f"{min(seconds):.3f} to {max(seconds):.3f}"
            print(f"  {name:<16} {median:8.3f} s   ({spread})   ours / this: {ours / median:.2f}")


if __name__ == "__main__":
    main()
