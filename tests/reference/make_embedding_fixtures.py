"""Small files of embeddings, as the tools write them whose files people have: the fixtures of `src/embedding/fixture_tests`.

Run in the root of the repository, in an environment with numpy, pyarrow, pandas, torch, webdataset, datasets and ml_dtypes:
    python tests/reference/make_embedding_fixtures.py

Every file holds the same seven rows of four values, `row + column / 8 - 1`, exact in half precision; row `r` has the id
`r`-th of `IDS`. The folders of clip-retrieval and embedding-reader are laid out by hand as those programs lay them out:
`img_emb/img_emb_N.npy` in float16 beside `metadata/metadata_N.parquet`, row by row.
"""

import io
import json
import pathlib
import shutil

import datasets
import ml_dtypes
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import torch
import webdataset

HERE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "embeddings"
ROWS, DIM = 7, 4
X = np.arange(ROWS, dtype=np.float32)[:, None] + np.arange(DIM, dtype=np.float32) / 8 - 1
IDS = [f"image {row}" for row in range(ROWS)]
CAPTIONS = [f"caption {row}" for row in range(ROWS)]


def place(name):
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def npy():
    # One step is worth an eighth.
    np.save(place("int8.npy"), np.round(X * 8).astype(np.int8))
    np.save(place("uint8.npy"), np.round((X + 1) * 8).astype(np.uint8))
    np.save(place("bfloat16.npy"), X.astype(ml_dtypes.bfloat16))
    np.save(place("fortran.npy"), np.asfortranarray(X.astype(np.float16)))
    np.save(place("shards/0.npy"), X[:3])
    np.save(place("shards/1.npy"), X[:0])
    np.save(place("shards/2.npy"), X[3:])
    for shard, rows in (("0", slice(0, 3)), ("2", slice(3, ROWS))):
        lines = [json.dumps({"id": i}) for i, _ in enumerate(X[rows])]
        place(f"shards/{shard}.jsonl").write_text("\n".join(lines) + "\n")


def npz():
    np.savez(place("stored.npz"), embeddings=X.astype(np.float16), ids=np.array(IDS))
    np.savez_compressed(place("deflated.npz"), image=X, text=-X, keys=np.arange(100, 100 + ROWS))
    np.savez(place("alone.npz"), X)


def torch_files():
    tensor = torch.from_numpy(X.copy())
    torch.save(tensor, place("tensor.pt"))
    torch.save(tensor.to(torch.bfloat16).t().contiguous().t(), place("transposed.pt"))
    torch.save(torch.cat([tensor, -tensor], dim=1)[:, :DIM], place("slice.pth"))
    torch.save({"embeddings": tensor.half(), "ids": IDS, "model": "ViT-B-32", "step": 3}, place("dict.pt"))
    torch.save({"image": tensor, "text": -tensor, "image_ids": list(range(ROWS))}, place("two.pt"))
    torch.save((tensor * 8).to(torch.int8), place("int8.pt"))


def metadata(rows, **more):
    ids = IDS[rows]
    columns = {"image_path": [f"{i}.jpg" for i in ids], "caption": CAPTIONS[rows], "width": [640] * len(ids)}
    return pd.DataFrame(columns | more)


def clip_retrieval():
    for number, rows in ((0, slice(0, 3)), (1, slice(3, ROWS))):
        for half, sign in (("img", 1), ("text", -1)):
            path = place(f"clip_retrieval/{half}_emb/{half}_emb_{number}.npy")
            np.save(path, (sign * X[rows]).astype(np.float16))
        metadata(rows).to_parquet(place(f"clip_retrieval/metadata/metadata_{number}.parquet"))
    # embedding-reader's `parquet_npy`: both in one folder, joined by number; and a pair of one name.
    for number, rows in ((0, slice(0, 3)), (1, slice(3, ROWS))):
        np.save(place(f"numbered/emb_{number}.npy"), X[rows])
        metadata(rows, id=IDS[rows]).to_parquet(place(f"numbered/meta_{number}.parquet"))
    np.save(place("pair.npy"), X)
    metadata(slice(0, ROWS), key=[f"{row:09}" for row in range(ROWS)]).to_parquet(place("pair.parquet"))


def sidecars():
    for name in ("python", "pandas", "without"):
        np.save(place(f"sidecar_{name}.npy"), X)
    # A byte order mark, halves of surrogate pairs, and what Python's json writes for floats that JSON does not have.
    lines = [{"id": i, "caption": c, "score": float(row)} for row, (i, c) in enumerate(zip(IDS, CAPTIONS))]
    lines[1]["caption"] = "cut in two: \ud83d"
    lines[2]["score"] = float("nan")
    lines[3]["score"] = float("-inf")
    text = "\n".join(json.dumps(line) for line in lines) + "\n"
    place("sidecar_python.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    frame = pd.DataFrame({"id": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "caption": CAPTIONS})
    frame.to_json(place("sidecar_pandas.jsonl"), orient="records", lines=True)
    text = "".join(json.dumps({"id": float(row), "caption": c}) + "\n" for row, c in enumerate(CAPTIONS))
    place("sidecar_pandas.jsonl").write_text(text)
    text = "".join(json.dumps({"image_id": i, "caption": c}) + "\n" for i, c in zip(IDS, CAPTIONS))
    place("sidecar_without.jsonl").write_text(text)


def parquet():
    def write(name, embedding, **more):
        pq.write_table(pa.table({"id": IDS, "embedding": embedding} | more), place(f"{name}.parquet"))

    # Long enough, and with enough digits, that the bytes are plainly those of one type.
    wide = np.sin(np.arange(ROWS * 64).reshape(ROWS, 64) * 0.7 + 0.3) / 8
    for dtype in ("f4", "f2", "f8"):
        write(f"bytes_wide_{dtype}", pa.array([row.tobytes() for row in wide.astype(dtype)], pa.binary()))
    write("bytes_f16", pa.array([row.astype(np.float16).tobytes() for row in X], pa.binary()))
    write("texts", pa.array([json.dumps(row.tolist()) for row in X]))
    nulls = [None if row == 2 else x.tolist() for row, x in enumerate(X)]
    write("nulls", pa.array(nulls, pa.list_(pa.float32())))
    first = [None if row == 0 else x.tolist() for row, x in enumerate(X)]
    write("first_null", pa.array(first, pa.list_(pa.float32())))
    write("fixed_nulls", pa.array(nulls, pa.list_(pa.float32(), DIM)))
    table = pa.table({"image_id": IDS, "caption": CAPTIONS, "embedding": pa.array(X.tolist(), pa.list_(pa.float32()))})
    pq.write_table(table, place("image_id.parquet"))


def arrow():
    lists = pa.array(X.astype(np.float32).tolist(), pa.list_(pa.float32()))
    table = pa.table({"id": IDS, "caption": pa.array(CAPTIONS).dictionary_encode(), "embedding": lists})
    with pa.ipc.new_stream(place("stream.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    with pa.ipc.new_file(place("file.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    fixed = pa.array(X.astype(np.float16).tolist(), pa.list_(pa.float16(), DIM))
    views = pa.array(X.tolist(), pa.list_view(pa.float32()))
    for name, column in (("fixed", fixed), ("views", views)):
        table = pa.table({"id": IDS, "embedding": column})
        with pa.ipc.new_stream(place(f"{name}.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=4)
    table = pa.table({"id": IDS, "embedding": lists})
    pa.feather.write_feather(table, place("compressed.feather"), compression="lz4")
    pa.feather.write_feather(table, place("plain.feather"), compression="uncompressed")
    rows = {"id": IDS, "caption": CAPTIONS, "embedding": X.tolist()}
    datasets.Dataset.from_dict(rows).save_to_disk(str(place("saved")), num_shards=2)


def tars():
    def write(name, member, **more):
        with webdataset.TarWriter(str(place(f"{name}.tar")), mtime=0) as tar:
            for row in range(ROWS):
                sample = {"__key__": f"{row:06}", member: X[row].astype(np.float16)}
                fields = {"caption": CAPTIONS[row], "url": f"https://example.org/{IDS[row]}"}
                tar.write(sample | {"json": fields, "txt": CAPTIONS[row]} | more)

    write("webdataset", "npy")
    write("two_members", "img.npy", **{"text.npy": -np.ones(DIM, np.float16)})


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    for make in (npy, npz, torch_files, clip_retrieval, sidecars, parquet, arrow, tars):
        make()
