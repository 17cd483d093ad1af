"""Small `.npy`, `.safetensors` and `.jsonl` files for the tests of the readers, written by NumPy itself.

Run in this folder: python make_matrices.py
"""

import json
import pathlib
import struct

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "matrices"
ROWS = np.arange(12, dtype=np.float64).reshape(3, 4) / 4 - 1


def npy(name, array, version):
    with open(HERE / f"{name}.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)


def safetensors(name, tensors, metadata=None):
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for key, (dtype, array) in tensors.items():
        header[key] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    header = json.dumps(header).encode()
    (HERE / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)


HERE.mkdir(exist_ok=True)
for version in [(1, 0), (2, 0), (3, 0)]:
    for dtype in ["f2", "f4", "f8"]:
        npy(f"{dtype}_v{version[0]}", ROWS.astype(dtype), version)
npy("fortran", np.asfortranarray(ROWS), (1, 0))
npy("big_endian", ROWS.astype(">f4"), (1, 0))
npy("integers", ROWS.astype("i8"), (1, 0))
npy("cube", ROWS.reshape(3, 2, 2), (1, 0))
npy("vector", ROWS.ravel(), (1, 0))
npy("objects", np.array([[None, 1], [2, 3]], dtype=object), (1, 0))
npy("columns", np.zeros(3, dtype=[("a", "<f4"), ("b", "<f4")]), (1, 0))
safetensors("one", {"rows": ("F32", ROWS.astype("f4"))})
safetensors("two", {"embeddings": ("F16", ROWS.astype("f2")), "other": ("F64", ROWS)}, {"made": "by hand"})
safetensors("integers", {"ids": ("I64", ROWS.astype("i8"))})
(HERE / "records.jsonl").write_text('{"id": "a", "caption": "caf\\u00e9"}\n{"id": 7, "tags": [1, {"x": null}]}\n\n{"id": -1}\n')
