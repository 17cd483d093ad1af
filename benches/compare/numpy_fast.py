"""ReAlign in NumPy made fast: three passes over the text and one over the image, float32 inside a small chunk and
float64 across chunks, one Python thread per core.

Three things make the difference:

* Chunks of 128 rows stay in the second-level cache, and so do the buffers that are used again for every chunk.
* NumPy turns float16 into float32 element by element.  Shifting the bits into place and multiplying by 2**112 gives
  the same numbers several times faster, for every finite value; the multiplication is folded into the weights of
  the passes that need no lengths.  (NaN and infinity would turn into large finite numbers, so they are not noticed;
  a check of the exponents would cost one more pass over the chunk.)
* With w = 1/|x|, b = mu_x - s mu_y and c = mu_x - mu', the steps are y = s w x + b, |y|^2 = s^2 + |b|^2 + 2 s w (x.b),
  and then y/|y| + c with |.|^2 = 1 + |c|^2 + 2 (y/|y|).c.  So lengths come from one matrix-vector product, sums of
  rows from one vector-matrix product, and the output row is p x + q b + r c.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from common import arguments, create, header, settle_blas

if __name__ == "__main__":
    settle_blas(1)

import numpy as np  # noqa: E402

ROWS = int(os.environ.get("COMPARE_ROWS", 128))
UP = np.float32(2.0**112)


class Reader:
    """Rows of one float16 file, chunk by chunk into buffers of its own.  `source` is a descriptor or a mapped array."""

    def __init__(self, source, rows, dim, offset=0):
        self.source, self.rows, self.dim, self.offset = source, rows, dim, offset
        self.half = np.empty((ROWS, dim), np.int16)
        self.bits = np.empty((ROWS, dim), np.int32)

    def small(self, start):
        """The rows from `start`, times 2**-112."""
        count = min(ROWS, self.rows - start)
        bits = self.bits[:count]
        if isinstance(self.source, int):
            half = self.half[:count]
            os.preadv(self.source, [half], self.offset + start * self.dim * 2)
        else:
            half = self.source[start : start + count]
        np.copyto(bits, half)
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, -0x70002000, out=bits)  # the sign, the exponent and the mantissa, without copies of the sign
        return bits.view(np.float32)

    def read(self, start):
        rows = self.small(start)
        return np.multiply(rows, UP, out=rows)


def totals(reader, starts, weights):
    """Sum of the unit rows; their 1/length goes into `weights`."""
    total = np.zeros(reader.dim)
    for start in starts:
        rows = reader.read(start)
        w = weights[start : start + len(rows)]
        np.divide(1, np.sqrt(np.vecdot(rows, rows)), out=w)
        total += w @ rows
    return total


def projected(reader, starts, weights, scale, b):
    """Sum of the projected rows but for its multiple of b, and that multiple; s w/|y| and 1/|y| are kept."""
    w, inverse = weights
    up_b, squares = b * UP, np.float32(scale**2 + b.astype(np.float64) @ b)
    total, along = np.zeros(reader.dim), 0.0
    for start in starts:
        rows = reader.small(start)
        at = slice(start, start + len(rows))
        sw = w[at] * np.float32(scale)
        np.divide(1, np.sqrt(squares + 2 * sw * (rows @ up_b)), out=inverse[at])
        np.multiply(sw, inverse[at], out=w[at])
        total += (w[at] * UP) @ rows
        along += inverse[at].sum(dtype=np.float64)
    return total, along


def write(reader, starts, weights, b, c, out):
    """The output rows; `out(start, rows)` gets every chunk."""
    w, inverse = weights
    up_c, bc = c * UP, np.float32(b.astype(np.float64) @ c)
    squares, both = np.float32(1 + c.astype(np.float64) @ c), np.stack([b, c])
    buffer, factors = np.empty((ROWS, reader.dim), np.float32), np.empty((ROWS, 2), np.float32)
    for start in starts:
        rows = reader.small(start)
        at, n = slice(start, start + len(rows)), len(rows)
        q = 1 / np.sqrt(squares + 2 * (w[at] * (rows @ up_c) + inverse[at] * bc))
        factors[:n, 0], factors[:n, 1] = inverse[at] * q, q
        np.multiply(rows, (w[at] * q * UP)[:, None], out=rows)
        out(start, np.add(rows, np.matmul(factors[:n], both, out=buffer[:n]), out=buffer[:n]))


def align(text, image, make_reader, out, threads):
    """All passes.  `text` and `image` are (source, rows, dim, offset); `out(start, rows)` stores a chunk."""
    weights = np.empty((2, max(text[1], image[1])), np.float32)

    def each(pool, step, what, *rest):
        n = what[1]
        parts = [range(t * ROWS, n, threads * ROWS) for t in range(threads)]
        return list(pool.map(lambda part: step(make_reader(*what), part, *rest), parts))

    with ThreadPoolExecutor(threads) as pool:
        mu_image = sum(each(pool, totals, image, weights[0])) / image[1]
        mu_text = sum(each(pool, totals, text, weights[0])) / text[1]
        mu_image, mu_text = (m.astype(np.float32).astype(np.float64) for m in (mu_image, mu_text))
        # the rows have length one, so the mean squared distance from their mean is 1 - |mean|^2
        scale = float(np.sqrt((1 - mu_image @ mu_image) / (1 - mu_text @ mu_text + 1e-10)))
        b = (mu_image - scale * mu_text).astype(np.float32)
        sums = each(pool, projected, text, weights, scale, b)
        mu_hat = (sum(s for s, _ in sums) + sum(a for _, a in sums) * b) / text[1]
        each(pool, write, text, weights, b, (mu_image - mu_hat).astype(np.float32), out)


def main():
    args = arguments()
    files = []
    for path in (args.text, args.image):
        rows, dim, offset = header(path)
        files.append((os.open(path, os.O_RDONLY), rows, dim, offset))
    target, offset = create(args.output, *files[0][1:3])
    step = files[0][2] * 4
    align(*files, Reader, lambda start, rows: os.pwrite(target, rows, offset + start * step), args.threads)


if __name__ == "__main__":
    main()
