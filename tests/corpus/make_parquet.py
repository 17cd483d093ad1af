"""Writes the Parquet files beside this script, in `parquet/`: small, and each by another writer or setting.

Needs pyarrow and pandas. Row `r`, value `i` of an embedding is `r + i / 8`, which every float type holds exactly.
"""

import datetime as dt
import decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "parquet"
ROWS, DIM = 7, 4


def row(r, length=DIM):
    return [r + i / 8 for i in range(length)]


def embeddings(kind, rows=ROWS):
    value = kind.value_type
    lists = [row(r) for r in range(rows)]
    if pa.types.is_float16(value):
        lists = [[np.float16(x) for x in one] for one in lists]
    return pa.array(lists, type=kind)


def texts():
    return {
        "id": pa.array([f"id-{r}" for r in range(ROWS)]),
        "caption": pa.array([None if r == 2 else f"caption \"{r}\" ü" for r in range(ROWS)]),
    }


def save(name, columns, **options):
    pq.write_table(pa.table(columns), FOLDER / f"{name}.parquet", **options)


def readable():
    half, single, double = pa.float16(), pa.float32(), pa.float64()
    save("list_f16", {**texts(), "embedding": embeddings(pa.list_(half))}, compression="none")
    save("list_f32", {**texts(), "embedding": embeddings(pa.list_(single))}, compression="snappy")
    save("list_f64", {**texts(), "embedding": embeddings(pa.list_(double))}, compression="zstd")
    save("large_list_f64", {"vector": embeddings(pa.large_list(double)), **texts()}, compression="none")
    fixed = {**texts(), "embedding": embeddings(pa.list_(half, DIM))}
    save("fixed_f16", fixed, compression="lz4", data_page_version="2.0")
    fixed = {**texts(), "embedding": embeddings(pa.list_(single, DIM))}
    save("fixed_f32", fixed, compression="gzip", row_group_size=3)
    save(
        "fixed_f64_split",
        {**texts(), "embedding": embeddings(pa.list_(double, DIM))},
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=["embedding.list.element"],
        data_page_version="2.0",
    )
    save("only_embedding", {"embedding": embeddings(pa.list_(single))})
    save("numbered", {"id": pa.array(range(100, 100 + ROWS)), "embedding": embeddings(pa.list_(single))})
    save("two_lists", {**texts(), "image": embeddings(pa.list_(single)), "embed": embeddings(pa.list_(double))})
    save("no_rows_fixed", {"id": pa.array([], pa.string()), "embedding": embeddings(pa.list_(single, DIM), 0)})
    kinds()
    frame()


def kinds():
    """Every type of column that travels, with nulls."""
    day = dt.datetime(2024, 2, 29, 23, 59, 58, 123456)

    def nulls(value, kind):
        return pa.array([None if r % 3 == 1 else value(r) for r in range(ROWS)], type=kind)

    def later(r):
        return day + dt.timedelta(days=r)

    box = pa.struct({"x": pa.float64(), "name": pa.string()})
    columns = {
        "id": pa.array([f"id-{r}" for r in range(ROWS)], pa.large_string()),
        "big": nulls(lambda r: 2**63 - 1 - r, pa.int64()),
        "biggest": nulls(lambda r: 2**64 - 1 - r, pa.uint64()),
        "byte": nulls(lambda r: -r, pa.int8()),
        "double": nulls(lambda r: 0.1 + 0.2 + r, pa.float64()),
        "single": nulls(lambda r: 0.1 * r, pa.float32()),
        "flag": nulls(lambda r: r % 2 == 0, pa.bool_()),
        "label": nulls(lambda r: f"label {r % 2}", pa.string()).dictionary_encode(),
        "date": nulls(lambda r: later(r).date(), pa.date32()),
        "time": nulls(lambda r: day.time(), pa.time64("us")),
        "local": nulls(later, pa.timestamp("us")),
        "nanos": nulls(lambda r: 1709251198123456789 + r, pa.timestamp("ns")),
        "instant": nulls(later, pa.timestamp("ms", tz="Europe/Berlin")),
        "duration": nulls(lambda r: r * 10**6 + 1, pa.duration("us")),
        "price": nulls(lambda r: decimal.Decimal("12345678901234567890.12") + r, pa.decimal128(38, 2)),
        "raw": nulls(lambda r: bytes([0, 255, r]), pa.binary()),
        "hash": nulls(lambda r: bytes([r, 16]), pa.binary(2)),
        "tags": nulls(lambda r: [f"t{r}", None][: r % 3], pa.list_(pa.string())),
        "box": nulls(lambda r: {"x": 0.1 * r, "name": None if r == 3 else "n"}, box),
        "counts": nulls(lambda r: [("b", r), ("a", None)], pa.map_(pa.string(), pa.int32())),
        "nothing": pa.nulls(ROWS),
        "embedding": embeddings(pa.list_(pa.float32(), DIM)),
    }
    save("kinds", columns, compression="snappy")


def frame():
    """As pandas writes a frame with an index."""
    table = pd.DataFrame(
        {
            "id": [r * 10 for r in range(ROWS)],
            "embedding": [row(r) for r in range(ROWS)],
            "score": [float("nan") if r == 1 else r / 3 for r in range(ROWS)],
            "kind": pd.Categorical([f"kind {r % 2}" for r in range(ROWS)]),
            "when": pd.date_range("2024-01-01", periods=ROWS, tz="UTC"),
        },
        index=pd.Index([f"row {r}" for r in range(ROWS)], name="name"),
    )
    table.to_parquet(FOLDER / "pandas.parquet")


def refused():
    single = pa.float32()
    rows = [row(r) for r in range(ROWS)]

    def change(value):
        return pa.array(rows[:5] + [value] + rows[6:], type=pa.list_(single))

    save("ragged", {**texts(), "embedding": change(row(5, 3))}, row_group_size=3)
    save("null_list", {**texts(), "embedding": change(None)}, row_group_size=3)
    save("null_value", {**texts(), "embedding": change([5.0, 5.125, None, 5.375])}, row_group_size=3)
    fixed = pa.array(rows[:5] + [None] + rows[6:], type=pa.list_(single, DIM))
    save("null_fixed", {**texts(), "embedding": fixed})
    save("integers", {**texts(), "embedding": pa.array([[1, 2]] * ROWS)})
    save("no_rows_list", {"id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(single))})
    save("empty_lists", {**texts(), "embedding": pa.array([[]] * ROWS, pa.list_(single))})
    save("three_lists", {name: embeddings(pa.list_(single)) for name in ("a", "b", "c")})
    save("brotli", {**texts(), "embedding": embeddings(pa.list_(single))}, compression="brotli")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    readable()
    refused()
