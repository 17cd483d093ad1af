"""Makes small GGUF files with the `gguf` package, and what it computes from them.

    python make_gguf_fixtures.py OUT_DIR         # tests/fixtures/gguf in this repository

The package is in `requirements-transformers.txt`. On one machine the output is the same each time.

    blocks.gguf     for every type that is read a tensor `blk.TYPE` of two rows of random blocks, and in
                    `blk.TYPE.values` the float32 values that `gguf.quants.dequantize` gives
    split-*.gguf    a model of five tensors in three parts
    language.gguf   a language model of the LLaMA family with weights at random, in Q4_0 and Q4_1 with its embeddings in Q8_0,
                    a byte-level tokenizer and a chat template
    written.gguf    is not made here: the library's tests write it (WRITE_GGUF_FIXTURE=1 cargo test --lib
                    weights::gguf), and this script reads it with `GGUFReader` and asserts what it holds
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

# Each type with the offsets of the 16-bit floats in its blocks.
TYPES = {
    "F16": [0],
    "BF16": [],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
}


def blocks(name, random):
    """Two rows of random bytes, whose floats are finite: each exponent of float16 but the last, either sign."""
    values, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    count = 2 * max(1, 64 // values)
    stored = random.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in TYPES[name]:
        floats = random.integers(0, 0x7C00, count, dtype=np.uint16) | (random.integers(0, 2, count, dtype=np.uint16) << 15)
        stored[:, offset : offset + 2] = floats.view(np.uint8).reshape(count, 2)
    if name == "BF16":
        stored[:, 1] &= 0xBF  # below 2: no infinity
    return stored.reshape(2, -1)


def make_blocks(path):
    random = np.random.default_rng(20)
    writer = GGUFWriter(path, "none")
    for name in TYPES:
        kind = GGMLQuantizationType[name]
        stored = blocks(name, random)
        values = dequantize(stored, kind).astype(np.float32)
        assert np.isfinite(values).all() and values.shape[0] == 2, name
        if name == "F16":
            writer.add_tensor(f"blk.{name}", stored.view(np.float16))
        else:
            writer.add_tensor(f"blk.{name}", stored, raw_dtype=kind)
        writer.add_tensor(f"blk.{name}.values", values)
    close(writer)
    for tensor in GGUFReader(path).tensors:
        assert tensor.name.endswith(".values") or tensor.tensor_type.name == tensor.name[4:]


def make_split(path):
    writer = GGUFWriter(path, "llama", split_max_tensors=2)
    writer.add_name("split")
    for tensor in range(5):
        writer.add_tensor(f"t.{tensor}", np.full(4, tensor, dtype=np.float32))
    close(writer)


WIDTH, INNER, LAYERS, HEADS, KV_HEADS = 32, 64, 2, 4, 2

CHAT = (
    "{% for message in messages %}{{ '[' ~ message.role ~ ']\\n' ~ message.content ~ eos_token ~ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]\\n' }}{% endif %}"
)


def bytes_as_letters():
    """The letters that stand for the bytes 0 to 255 in GPT-2's tokenizer."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown} | {byte: chr(256 + number) for number, byte in enumerate(hidden)}
    return [letters[byte] for byte in range(256)]


def make_language(path):
    random = np.random.default_rng(7)
    merges = [("t", "h"), ("th", "e"), ("Ġ", "a"), ("i", "s")]
    letters = bytes_as_letters()
    tokens = [*letters, *("".join(merge) for merge in merges), "<bos>", "<eos>"]
    bos, eos = len(tokens) - 2, len(tokens) - 1
    writer = GGUFWriter(path, "llama")
    writer.add_name("language")
    for add, value in [
        (writer.add_context_length, 512),
        (writer.add_embedding_length, WIDTH),
        (writer.add_feed_forward_length, INNER),
        (writer.add_block_count, LAYERS),
        (writer.add_head_count, HEADS),
        (writer.add_head_count_kv, KV_HEADS),
        (writer.add_layer_norm_rms_eps, 1e-5),
        (writer.add_rope_freq_base, 10_000.0),
        (writer.add_tokenizer_model, "gpt2"),
        (writer.add_tokenizer_pre, "smollm"),
        (writer.add_token_list, tokens),
        (writer.add_token_types, [1] * (len(tokens) - 2) + [3, 3]),
        (writer.add_token_merges, [" ".join(merge) for merge in merges]),
        (writer.add_bos_token_id, bos),
        (writer.add_eos_token_id, eos),
        (writer.add_chat_template, CHAT),
    ]:
        add(value)

    def matrix(name, kind, rows, columns, size=0.3):
        kind = GGMLQuantizationType[kind]
        values = random.normal(0.0, size, (rows, columns)).astype(np.float32)
        writer.add_tensor(f"{name}.weight", quantize(values, kind), raw_dtype=kind)

    def gains(name):
        writer.add_tensor(f"{name}.weight", random.normal(1.0, 0.1, WIDTH).astype(np.float32))

    keys = WIDTH // HEADS * KV_HEADS
    matrix("token_embd", "Q8_0", len(tokens), WIDTH, 1.0)
    matrix("output", "Q8_0", len(tokens), WIDTH, 1.0)
    gains("output_norm")
    for layer in range(LAYERS):
        name = lambda part: f"blk.{layer}.{part}"  # noqa: E731, B023
        gains(name("attn_norm"))
        gains(name("ffn_norm"))
        for part, kind, rows, columns in [
            ("attn_q", "Q4_0", WIDTH, WIDTH),
            ("attn_k", "Q4_0", keys, WIDTH),
            ("attn_v", "Q4_1", keys, WIDTH),
            ("attn_output", "Q4_0", WIDTH, WIDTH),
            ("ffn_gate", "Q4_1", INNER, WIDTH),
            ("ffn_up", "Q4_1", INNER, WIDTH),
            ("ffn_down", "Q4_1", WIDTH, INNER),
        ]:
            matrix(name(part), kind, rows, columns)
    close(writer)


def check_written(path):
    reader = GGUFReader(path)
    value = lambda key: reader.fields[key].contents()
    assert value("general.architecture") == "clip" and value("clip.projector_type") == "mlp"
    assert value("clip.has_llava_projector") is True and value("clip.vision.projection_dim") == 5
    assert value("general.tags") == ["projector", "grün"]
    assert value("clip.vision.image_mean") == [0.5, 0.25, 0.125]
    shapes = {"mm.0.weight": (5, 3), "mm.0.bias": (5,), "mm.2.weight": (5, 5), "mm.2.bias": (5,)}
    assert [tensor.name for tensor in reader.tensors] == list(shapes)
    assert [tensor.tensor_type.name for tensor in reader.tensors] == ["F16", "F32", "BF16", "F32"]
    for tensor in reader.tensors:
        values = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        assert values.shape == shapes[tensor.name], (tensor.name, values.shape)
        assert (values.ravel() == np.arange(values.size) / 4 - 1).all(), tensor.name


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    make_blocks(out / "blocks.gguf")
    make_split(out / "split.gguf")
    make_language(out / "language.gguf")
    if (out / "written.gguf").exists():
        check_written(out / "written.gguf")
    else:
        print("written.gguf is not there, and was not checked")
    print(f"{sum(path.stat().st_size for path in out.rglob('*') if path.is_file())} bytes in all")


if __name__ == "__main__":
    main()
