"""ReAlign in PyTorch on the CPU made fast: the algebra and the small chunks of `numpy_fast.py`, and one Python thread per
core with PyTorch's own threads set to one.  PyTorch's float16 to float32 conversion is vectorised, so it is used as it is;
the last step is one rank-two update of the scaled rows.  A row that is not finite is not noticed here either.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from common import arguments, create, header, settle_blas

if __name__ == "__main__":
    settle_blas(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402

ROWS = int(os.environ.get("COMPARE_ROWS", 128))


class Reader:
    """Rows of one float16 file, chunk by chunk into buffers of its own.  `source` is a descriptor or a mapped tensor."""

    def __init__(self, source, rows, dim, offset=0):
        self.source, self.rows, self.dim, self.offset = source, rows, dim, offset
        self.half = torch.empty((ROWS, dim), dtype=torch.float16)
        self.bytes = self.half.numpy()
        self.single = torch.empty((ROWS, dim))

    def read(self, start):
        count = min(ROWS, self.rows - start)
        if isinstance(self.source, int):
            os.preadv(self.source, [self.bytes[:count]], self.offset + start * self.dim * 2)
            half = self.half[:count]
        else:
            half = self.source[start : start + count]
        return self.single[:count].copy_(half)


def totals(reader, starts, weights):
    """Sum of the unit rows; their 1/length goes into `weights`."""
    total = torch.zeros(reader.dim, dtype=torch.float64)
    for start in starts:
        rows = reader.read(start)
        w = weights[start : start + len(rows)]
        w.copy_(torch.linalg.vector_norm(rows, dim=1)).reciprocal_()
        total += w @ rows
    return total


def projected(reader, starts, weights, scale, b):
    """Sum of the projected rows but for its multiple of b, and that multiple; s w/|y| and 1/|y| are kept."""
    squares = scale**2 + float(b.double() @ b.double())
    total, along = torch.zeros(reader.dim, dtype=torch.float64), 0.0
    for start in starts:
        rows = reader.read(start)
        w, inverse = weights[:, start : start + len(rows)]
        w *= scale
        inverse.copy_((w * (rows @ b)).mul_(2).add_(squares)).rsqrt_()
        w *= inverse
        total += w @ rows
        along += float(inverse.sum())
    return total, along


def write(reader, starts, weights, b, c, out):
    """The output rows; `out(start, rows)` gets every chunk."""
    bc, squares, both = float(b.double() @ c.double()), 1 + float(c.double() @ c.double()), torch.stack([b, c])
    factors = torch.empty((ROWS, 2))
    for start in starts:
        rows = reader.read(start)
        n = len(rows)
        w, inverse = weights[:, start : start + n]
        q = (w * (rows @ c) + inverse * bc).mul_(2).add_(squares).rsqrt_()
        factors[:n, 0], factors[:n, 1] = inverse * q, q
        rows *= (w * q)[:, None]
        out(start, rows.addmm_(factors[:n], both))


def align(text, image, make_reader, out, threads):
    """All passes.  `text` and `image` are (source, rows, dim, offset); `out(start, rows)` stores a chunk."""
    torch.set_num_threads(1)
    weights = torch.empty((2, max(text[1], image[1])))

    def guarded(step, part, what, rest):
        with torch.inference_mode():
            return step(make_reader(*what), part, *rest)

    def each(pool, step, what, *rest):
        n = what[1]
        parts = [range(t * ROWS, n, threads * ROWS) for t in range(threads)]
        return list(pool.map(lambda part: guarded(step, part, what, rest), parts))

    with ThreadPoolExecutor(threads) as pool, torch.inference_mode():
        mu_image = sum(each(pool, totals, image, weights[0])) / image[1]
        mu_text = sum(each(pool, totals, text, weights[0])) / text[1]
        mu_image, mu_text = mu_image.float().double(), mu_text.float().double()
        # the rows have length one, so the mean squared distance from their mean is 1 - |mean|^2
        scale = float(torch.sqrt((1 - mu_image @ mu_image) / (1 - mu_text @ mu_text + 1e-10)))
        b = (mu_image - scale * mu_text).float()
        sums = each(pool, projected, text, weights, scale, b)
        mu_hat = (sum(s for s, _ in sums) + sum(a for _, a in sums) * b) / text[1]
        each(pool, write, text, weights, b, (mu_image - mu_hat).float(), out)


def main():
    args = arguments()
    files = []
    for path in (args.text, args.image):
        rows, dim, offset = header(path)
        files.append((os.open(path, os.O_RDONLY), rows, dim, offset))
    target, offset = create(args.output, *files[0][1:3])
    step = files[0][2] * 4
    align(*files, Reader, lambda start, rows: os.pwrite(target, rows.numpy(), offset + start * step), args.threads)


if __name__ == "__main__":
    main()
