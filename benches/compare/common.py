"""What the rival programs share: their command line and the reading of `.npy` headers."""

import argparse
import os


def settle_blas(threads):
    """Must run before NumPy is imported: the number of BLAS threads, and no inherited tuning of OpenBLAS."""
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def header(path):
    """(rows, dim, offset of the first row) of a C-ordered float16 matrix."""
    from numpy.lib import format as npy

    with open(path, "rb") as file:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        (rows, dim), fortran, dtype = read(file)
        assert dtype.str == "<f2" and not fortran, path
        return rows, dim, file.tell()


def create(path, rows, dim):
    """Write the header of a float32 matrix; (descriptor, offset of the first row)."""
    from numpy.lib import format as npy

    with open(path, "wb") as file:
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
        offset = file.tell()
    return os.open(path, os.O_RDWR), offset
