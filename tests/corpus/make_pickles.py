"""Writes the pickles that the tests of the shard reader read, into the folder `pickle` beside this file.

Run it once with NumPy 1 and once with NumPy 2: the files named after a version are written by that version, and all
others by NumPy 2. Nothing in these files is harmful where nothing is executed; do not load the refused ones in Python.
"""

import json
import os
import pathlib
import pickle

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "pickle"
MAJOR = int(np.__version__.split(".")[0])


def vector(row, dtype=np.float16, dim=4):
    """Values that every float type holds exactly; the tests know the same rule."""
    return (row + np.arange(dim) / 4 - 1).astype(dtype)


def rows(dtype=np.float16):
    return [
        {"id": f"sample-{row}", "caption": f"caption of row {row}: grün, 緑", "embed": vector(row, dtype)}
        for row in range(3)
    ]


def write(name, data, protocol=4, pickler=pickle.Pickler):
    with open(FOLDER / f"{name}.pkl", "wb") as file:
        pickler(file, protocol).dump(data)


def write_bytes(name, data):
    (FOLDER / f"{name}.pkl").write_bytes(data)


def changed(key, value, row=1):
    """The usual rows, of which one has another value (or lacks the field, for `...`)."""
    data = rows()
    if value is ...:
        del data[row][key]
    else:
        data[row][key] = value
    return data


class Bomb:
    def __reduce__(self):
        return os.system, ("echo this must never be printed",)


class Plain:
    def __init__(self):
        self.x = 1


def valid_by_version():
    for protocol in (2, 3, 4, 5):
        write(f"np{MAJOR}_p{protocol}_c", rows(), protocol)
        write(f"np{MAJOR}_p{protocol}_py", rows(), protocol, pickle._Pickler)


def valid():
    numbered = [
        {"id": row - 1, "image_path": f"images/{row}.png", "embed": vector(row, np.float32)[None]} for row in range(3)
    ]
    write("f32_paths", numbered)
    write("f32_paths_p3", numbered, 3)
    write("f64", rows(np.float64), 5)

    fields = rows()
    fields[0].update({"score": 0.1, "width": 640, "tiny": -(2**40), "last": 2**63 - 1, "first": -(2**63)})
    fields[1].update({"ok": True, "bad": False, "nothing": None, "nan": float("nan"), "long": "x" * 300})
    fields[2].update({"id": 2**62, "zero": 0, "score": -2.5, "caption": "id"})
    write("fields", fields)

    # Every row has key objects of its own, and all share one text.
    source = "a shared source"
    parsed = []
    for row, fields in enumerate(rows()):
        fields = json.loads(json.dumps({"id": fields["id"], "caption": fields["caption"], "extra key": row}))
        parsed.append(fields | {"source": source, "embed": vector(row)})
    write("own_keys", parsed)
    write("own_keys_p3", parsed, 3)

    # A key that was plain text before, and one array in two rows.
    shared = rows()
    word = "".join(["wo", "rd"])
    shared[0]["caption"] = word
    shared[1][word] = "a value"
    shared[2]["embed"] = shared[0]["embed"]
    write("shared", shared)

    frozen = rows()
    for fields in frozen:
        fields["embed"].flags.writeable = False
    write("frozen", frozen, 5)


def refused():
    for protocol in (3, 4):
        write(f"bomb_p{protocol}", [Bomb()], protocol)
    write("bomb_in_row", changed("caption", Bomb()))
    write("eval", changed("caption", eval))
    write("instance", changed("caption", Plain()))
    write("nested_list", changed("caption", [["a"], ["b"]]))
    write("dict_in_row", changed("caption", {"en": "a"}))
    write("set_in_row", changed("caption", {"a"}))
    write("pair_in_row", changed("caption", (640, 480)))
    write("tuple_in_row", changed("caption", (1.5, "a", None)))
    write("bytes_in_row", changed("caption", b"abc"))
    write("array_in_row", changed("caption", vector(1)))
    write("numpy_id", changed("id", np.int64(3)))
    write("none_id", changed("id", None))
    write("float_id", changed("id", 1.0))
    write("huge_id", changed("id", 2**63))
    write("missing_id", changed("id", ...))
    write("missing_embed", changed("embed", ...))
    write("list_embed", changed("embed", [0.5, 1.0]))
    write("text_embed", changed("embed", "0.5 1.0"))
    write("object_array", changed("embed", np.array([1, "a"], dtype=object)))
    write("int_array", changed("embed", np.arange(4, dtype=np.int32)))
    write("void_array", changed("embed", np.zeros(4, dtype="V2")))
    for protocol in (3, 5):
        write(f"big_endian_p{protocol}", changed("embed", vector(1).astype(">f2")), protocol)
        write(f"two_vectors_p{protocol}", changed("embed", np.stack([vector(0), vector(1)])), protocol)
    write("cube", changed("embed", vector(1)[None, None]))
    write("scalar_array", changed("embed", np.array(1.0, np.float16)))
    write("no_values", changed("embed", vector(1)[:0]))
    write("mixed_dims", changed("embed", vector(1, dim=5)))
    write("mixed_types", changed("embed", vector(1, np.float32)))
    write("number_key", [fields | {7: "seven"} for fields in rows()])
    write("dict_on_top", {"id": "a", "embed": vector(0)})
    write("array_on_top", np.stack([vector(0), vector(1)]))
    write("text_on_top", "text")
    write("tuple_on_top", tuple(rows()))
    write("empty", [])
    write("protocol_1", rows(), 1)

    twice = pickle.dumps([fields | {"ix": "other"} for fields in rows()], 3)
    write_bytes("field_twice", twice.replace(b"ix", b"id", 1))
    whole = pickle.dumps(rows(), 4)
    write_bytes("cut_off", whole[: len(whole) // 2])
    write_bytes("more_bytes", whole + b".")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    valid_by_version()
    if MAJOR >= 2:
        valid()
        refused()
