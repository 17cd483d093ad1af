"""ReAlign in straightforward PyTorch on the CPU: float64, chunks of 10,000 rows, the four passes of the authors' script."""

from common import arguments, settle_blas

args = arguments()
settle_blas(args.threads)

import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(args.threads)
CHUNK = 10_000


def unit(rows):
    """Rows of length one; NaN and infinity become 0, rows shorter than 1e-10 stay as they are."""
    rows = rows.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    largest = rows.abs().amax(dim=1, keepdim=True)
    largest[largest == 0] = 1
    norm = torch.linalg.vector_norm(rows / largest, dim=1, keepdim=True) * largest
    norm[norm < 1e-10] = 1
    return rows / norm


def chunks(matrix):
    for start in range(0, len(matrix), CHUNK):
        yield unit(matrix[start : start + CHUNK])


def mean(matrix):
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for rows in chunks(matrix):
        total += rows.sum(dim=0)
    return (total / len(matrix)).float().double()


def trace(matrix, centre):
    return sum(((rows - centre) ** 2).sum() for rows in chunks(matrix)) / len(matrix)


def mapped(path):
    return torch.from_numpy(np.load(path, mmap_mode="c"))


with torch.inference_mode():
    text, image = mapped(args.text), mapped(args.image)

    # 1 and 2: means and traces
    mu_text, mu_image = mean(text), mean(image)
    scale = torch.sqrt(trace(image, mu_image) / (trace(text, mu_text) + 1e-10))

    # 3: the centroid of the projected rows
    total = torch.zeros(text.shape[1], dtype=torch.float64)
    for rows in chunks(text):
        total += unit((rows - mu_text) * scale + mu_image).sum(dim=0)
    mu_hat = total / len(text)

    # 4: the rows
    memory = np.lib.format.open_memmap(args.output, mode="w+", dtype=np.float32, shape=tuple(text.shape))
    out = torch.from_numpy(memory)
    for start, rows in zip(range(0, len(text), CHUNK), chunks(text)):
        projected = unit((rows - mu_text) * scale + mu_image)
        out[start : start + CHUNK] = unit(projected - mu_hat + mu_image)
