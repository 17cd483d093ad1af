"""Writes the projectors that the tests of `revision::projector_file` read, and reads those that it writes.

    python make_projector_fixtures.py          writes ../fixtures/projector_file
    python make_projector_fixtures.py DIR      reads the files in DIR

The files in DIR come from

    PROJECTOR_FILES=DIR cargo test --lib files_for_pytorch -- --ignored

Needs torch (made with 2.9.0), safetensors and gguf (made with 0.19); where only the CUDA build of torch can be had, see
benches/compare/torch_cpu_from_pypi.py. All arrays follow one rule, which the tests know as well: value i of array
number a is a + (i - 3) / 8, which every float type holds exactly.
"""

import collections
import io
import pathlib
import sys
import zipfile

import gguf
import torch
from safetensors.torch import load_file, save_file

FOLDER = pathlib.Path(__file__).parent.parent / "fixtures" / "projector_file"
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64}
SHAPES = {"0.weight": (4, 3), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}


def values(number, shape, dtype=torch.float32):
    count = torch.Size(shape).numel()
    return (number + (torch.arange(count, dtype=torch.float64) - 3) / 8).reshape(shape).to(dtype)


def projector(prefix="model.mm_projector.", dtype=torch.float32):
    pairs = ((prefix + name, values(number, shape, dtype)) for number, (name, shape) in enumerate(SHAPES.items()))
    return collections.OrderedDict(pairs)


def save(name, data, **options):
    # Saved to a buffer, the folder in the archive is `archive`; saved to a path, it is the file's name.
    if name.endswith(".pth"):
        return torch.save(data, FOLDER / name, **options)
    buffer = io.BytesIO()
    torch.save(data, buffer, **options)
    (FOLDER / name).write_bytes(buffer.getvalue())


def repack(source, target, compression=zipfile.ZIP_STORED, change=lambda name, data: data):
    with zipfile.ZipFile(FOLDER / source) as old, zipfile.ZipFile(FOLDER / target, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(zipfile.ZipInfo(entry.filename), change(entry.filename, old.read(entry)), compression)


def swap(name, data):
    if name == "archive/byteorder":
        return b"big"
    if "/data/" not in name:
        return data
    return b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))


def strided():
    """Views that are transposed, begin within a storage, skip values and share one storage."""
    base = torch.zeros(40)
    second, bias = base[2:18].view(4, 4)[:, ::2], base[20:24]
    second.copy_(values(2, (2, 4)).t())
    bias.copy_(values(1, (4,)))
    first = torch.empty(3, 4)
    first.copy_(values(0, (4, 3)).t())
    tensors = [first.t(), bias, second.t(), values(3, (2,))]
    assert tensors[2].stride() == (2, 4) and tensors[1].storage_offset() == 20
    return {"mm_projector." + name: tensor for name, tensor in zip(SHAPES, tensors)}


def checkpoint():
    """A whole model, of which the projector is a part, with what trainers put beside tensors."""
    data = {"model.embed_tokens.weight": torch.ones(3, 2), "position_ids": torch.arange(5)}
    data |= projector("base_model.model.model.mm_projector.", torch.float16)
    data["lm_head.weight"] = torch.nn.Parameter(torch.ones(3, 2))
    others = {"lr": 1e-4, "name": "model", "args": ["a", 2**40], "flags": (True, None, "x"), "groups": {"0": {}}, 7: 8}
    return data | others


def hugging_face(prefix):
    """The names that LLaVA has in transformers, beside others of the model."""
    names = [f"linear_{layer}.{part}" for layer in (1, 2) for part in ("weight", "bias")]
    pairs = zip(names, SHAPES.items())
    data = {prefix + "multi_modal_projector." + name: values(i, shape) for i, (name, (_, shape)) in enumerate(pairs)}
    return {"language_model.model.norm.weight": torch.ones(3)} | data


def mmproj(name):
    """As `convert_hf_to_gguf.py --mmproj` of llama.cpp writes it: matrices in float16, the rest in float32."""
    writer = gguf.GGUFWriter(FOLDER / name, "clip")
    writer.add_type("mmproj")
    writer.add_bool(gguf.Keys.Clip.HAS_VISION_ENCODER, True)
    writer.add_clip_projector_type("mlp")
    writer.add_tensor("v.post_ln.weight", torch.ones(3).numpy())
    for name, value in projector("mm.").items():
        writer.add_tensor(name, (value.half() if value.dim() > 1 else value).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, dtype in DTYPES.items():
        save(f"{name}.bin", projector(dtype=dtype))
    save("dict.pt", dict(projector("module.model.mm_projector.")), pickle_protocol=4)
    save("parameters.pth", {key: torch.nn.Parameter(value) for key, value in projector("mm_projector.").items()})
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 2))
    layers.load_state_dict(projector(""))
    save("state_dict.pth", layers.state_dict())
    save("strided.bin", strided())
    save("checkpoint.bin", checkpoint())
    save("legacy.bin", projector(), _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    save("unchecked.bin", projector())
    repack("f32.bin", "deflated.bin", zipfile.ZIP_DEFLATED)
    repack("f16.bin", "big_endian.bin", change=swap)
    save("compiled.bin", projector("_orig_mod.model.mm_projector."))
    save("mpt.bin", projector("module.transformer.mm_projector."))
    save("transformers.bin", hugging_face("model."))
    save_file(hugging_face(""), FOLDER / "transformers.safetensors")
    mmproj("mmproj.gguf")
    # What one process of a run with ZeRO-3 saves of weights that lie on several devices.
    save("zero3.bin", {key: torch.empty(0) for key in projector()})
    save_file(projector(dtype=torch.bfloat16) | {"lm_head.weight": torch.ones(3, 2)}, FOLDER / "bf16.safetensors")
    save_file(projector(""), FOLDER / "f32.safetensors")
    for path in sorted(FOLDER.glob("*.[bp]*")):
        if path.name not in {"bf16.safetensors", "legacy.bin", "zero3.bin"} and "transformers" not in path.name:
            check(path, torch.load(path, weights_only=path.name != "dict.pt"))  # protocol 4


def check(path, data):
    """Compares a projector with what it should be."""
    single = any(str(key).endswith("mm_projector.weight") for key in data)
    shapes = {"weight": (4, 3), "bias": (4,)} if single else SHAPES
    for number, (name, shape) in enumerate(shapes.items()):
        keys = [key for key in data if isinstance(key, str) and (key == name or key.endswith("mm_projector." + name))]
        assert len(keys) == 1, (path, name, list(data))
        expected = values(number, shape)
        assert torch.equal(data[keys[0]].detach().float(), expected), (path, name, data[keys[0]], expected)


def check_gguf(path):
    """Compares an mmproj with what llama.cpp looks for in one."""
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.get_field(key).contents()
    assert (field("general.architecture"), field("clip.projector_type")) == ("clip", "mlp")
    assert field("clip.has_llava_projector") and not field("clip.has_vision_encoder")
    shapes = dict(list(SHAPES.items())[:2]) if path.stem.endswith("_linear") else SHAPES
    assert [tensor.name for tensor in reader.tensors] == ["mm." + name for name in shapes]
    for number, (tensor, shape) in enumerate(zip(reader.tensors, shapes.values())):
        found = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        assert torch.equal(torch.from_numpy(found.copy()).float(), values(number, shape)), (path, tensor.name)
        if len(shape) == 1:
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F32


def read(folder):
    paths = sorted(pathlib.Path(folder).iterdir())
    for path in paths:
        dtype = DTYPES[path.stem.split("_")[0]]
        if path.suffix == ".gguf":
            check_gguf(path)
            print("fine:", path.name)
            continue
        if path.suffix == ".safetensors":
            loaded = [load_file(path)]
        else:
            loaded = [torch.load(path, weights_only=True), torch.load(path, weights_only=True, mmap=True)]
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
                assert isinstance(loaded[0], collections.OrderedDict)
                for entry in archive.infolist():
                    with open(path, "rb") as file:
                        file.seek(entry.header_offset + 26)
                        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
                    start = entry.header_offset + 30 + name + extra
                    assert start % 64 == 0, (path, entry.filename, start)
        for data in loaded:
            assert all(key.startswith("model.mm_projector.") for key in data)
            assert all(value.dtype == dtype for value in data.values()), path
            check(path, data)
        print("fine:", path.name)
    assert len(paths) >= 8, "too few files"


if __name__ == "__main__":
    read(sys.argv[1]) if len(sys.argv) > 1 else make()
