"""ReAlign in straightforward NumPy: float64, chunks of 10,000 rows, the four passes of the authors' script."""

from common import arguments, settle_blas

args = arguments()
settle_blas(args.threads)

import numpy as np  # noqa: E402

CHUNK = 10_000


def unit(rows):
    """Rows of length one; NaN and infinity become 0, rows shorter than 1e-10 stay as they are."""
    rows = np.nan_to_num(rows.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    norm = np.linalg.norm(rows / largest, axis=1, keepdims=True) * largest
    norm[norm < 1e-10] = 1
    return rows / norm


def chunks(matrix):
    for start in range(0, len(matrix), CHUNK):
        yield unit(matrix[start : start + CHUNK])


def mean(matrix):
    total = np.zeros(matrix.shape[1])
    for rows in chunks(matrix):
        total += rows.sum(axis=0)
    return (total / len(matrix)).astype(np.float32).astype(np.float64)


def trace(matrix, centre):
    return sum(((rows - centre) ** 2).sum() for rows in chunks(matrix)) / len(matrix)


text = np.load(args.text, mmap_mode="r")
image = np.load(args.image, mmap_mode="r")

# 1 and 2: means and traces
mu_text, mu_image = mean(text), mean(image)
scale = np.sqrt(trace(image, mu_image) / (trace(text, mu_text) + 1e-10))

# 3: the centroid of the projected rows
total = np.zeros(text.shape[1])
for rows in chunks(text):
    total += unit((rows - mu_text) * scale + mu_image).sum(axis=0)
mu_hat = total / len(text)

# 4: the rows
out = np.lib.format.open_memmap(args.output, mode="w+", dtype=np.float32, shape=text.shape)
for start, rows in zip(range(0, len(text), CHUNK), chunks(text)):
    projected = unit((rows - mu_text) * scale + mu_image)
    out[start : start + CHUNK] = unit(projected - mu_hat + mu_image)
