"""Seeded clouds like those of real encoders: unit rows about a mean of length 0.6, spectrum k**-1.2, float16."""

import numpy as np

CHUNK = 8192


def write(path, rows, dim, seed):
    """Write `rows` rows chunk by chunk."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(dim)
    centre *= 0.6 / np.linalg.norm(centre)
    spectrum = np.arange(1.0, dim + 1) ** -1.2
    if seed % 2:  # the two clouds do not have the same leading directions
        rng.shuffle(spectrum[: dim // 8])
    spread = np.sqrt(spectrum * (0.64 / spectrum.sum())).astype(np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, dim))
    for start in range(0, rows, CHUNK):
        cloud = rng.standard_normal((min(CHUNK, rows - start), dim), dtype=np.float32)
        cloud *= spread
        cloud += centre.astype(np.float32)
        cloud /= np.linalg.norm(cloud, axis=1, keepdims=True)
        out[start : start + CHUNK] = cloud
