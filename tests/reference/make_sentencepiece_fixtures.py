"""Trains a small tokenizer with SentencePiece, and what SentencePiece and `transformers` make of texts with it.

    python make_sentencepiece_fixtures.py OUT_DIR        # tests/fixtures/sentencepiece in this repository

The packages are in `requirements-transformers.txt`. On one machine the output is the same each time.

    tokenizer.model     BPE with pieces for bytes, as LLaMA's: control, user-defined and unknown pieces
    tokenizer.gguf      the same in the keys of llama.cpp, without a model
    unigram.model       the other algorithm, which is refused
    reference.json      texts       of each its tokens and the text of the tokens: SentencePiece
                        special     texts that name special tokens, with their tokens: the converter
                                    of `transformers`, a space behind each special token (`legacy`)
                        first       the same with a space before the text alone
                        bare        a text with its tokens where no space is put before it
"""

import io
import json
import sys
from pathlib import Path

import sentencepiece
from gguf import GGUFWriter
from sentencepiece import sentencepiece_model_pb2
from transformers import AddedToken
from transformers.convert_slow_tokenizer import LlamaConverter, generate_merges

CORPUS = """
A red apple lies on the table, and a green apple lies under it.
The cat watches the bird; the bird watches the cat. Neither moves.
What is in the picture? Two people walk along a river with their dogs.
Answer the question in a word: how many dogs are there? There are 12 dogs, 345 birds and 6789 ants.
The photograph shows a mountain, a mountain lake, and mountains behind mountains.
banana bananas ananas aaaa aaaaaaaa abababab    spaced    out
Grüße aus Köln, schöne Straße. def f(x):\n    return x + 1
""".strip().split("\n")

TEXTS = [
    "",
    " ",
    "   ",
    "a",
    "A red apple",
    " A red apple",
    "  two  spaces ",
    "The cats watch mountains.",
    "line\nbreak\n\n and\ttab",
    "Grüße, 日本語 and 😀!",
    "aaaaaaaaa ababababab bananananas",
    "x=1;y=[2,3]",
    "▁ is not a space",
    "<0x41> is no byte",
    "é é",
]

SPECIAL = ["<s>A red apple</s> The cat</s>The cat", "USER: hi ASSISTANT: hello</s>USER: the cat", "</s>", "<unk> a", "How many dogs?<image>Answer"]

BPE = {
    "model_type": "bpe",
    "vocab_size": 420,
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "character_coverage": 0.99,
    "user_defined_symbols": ["<image>"],
    "num_threads": 1,
}


def train(path, **changes):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3), model_writer=model, minloglevel=2, **{**BPE, **changes}
    )
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


class Slow:
    """What the converter asks of a slow tokenizer."""

    def __init__(self, path, legacy, add_prefix_space=True):
        self.vocab_file, self.legacy, self.add_prefix_space = str(path), legacy, add_prefix_space
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def convert_ids_to_tokens(self, token):
        return self.processor.id_to_piece(token)


def converted(path, legacy, prefix=True):
    """The tokenizer of `LlamaConverter`, of `tokenizers`' own parts."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE as Model

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(path.read_bytes())
    slow = Slow(path, legacy, prefix)
    converter = object.__new__(LlamaConverter)
    converter.original_tokenizer, converter.proto = slow, proto
    vocabulary = {piece.piece: at for at, piece in enumerate(proto.pieces)}
    merges = generate_merges(vocabulary, None)
    unknown = proto.pieces[0].piece
    tokenizer = Tokenizer(Model(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    normalizer, words = converter.normalizer(proto), converter.pre_tokenizer("▁", prefix)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if words is not None:
        tokenizer.pre_tokenizer = words
    tokenizer.decoder = converter.decoder("▁", prefix)
    added = [piece for piece in proto.pieces if piece.type in (2, 3, 4)]
    tokenizer.add_tokens([AddedToken(p.piece, normalized=False, special=p.type != 4) for p in added])
    return tokenizer


def write_gguf(path, model):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.read_bytes())
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece.encode() for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([piece.type for piece in proto.pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    model = out / "tokenizer.model"
    processor = train(model)
    train(out / "unigram.model", model_type="unigram", vocab_size=330)
    write_gguf(out / "tokenizer.gguf", model)
    legacy, first, bare = converted(model, True), converted(model, False), converted(model, True, False)
    texts = []
    for text in TEXTS:
        tokens = processor.encode(text)
        assert legacy.encode(text).ids == tokens, (text, legacy.encode(text).tokens, processor.encode(text, out_type=str))
        texts.append({"text": text, "tokens": tokens, "decoded": processor.decode(tokens)})
    ids = lambda tokenizer, texts: [{"text": text, "tokens": tokenizer.encode(text).ids} for text in texts]
    reference = {
        "texts": texts,
        "special": ids(legacy, SPECIAL),
        "first": ids(first, SPECIAL),
        "bare": ids(bare, ["A red apple", "The cat"]),
    }
    assert reference["special"] != reference["first"]
    rows = [f' "{key}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]" for key, rows in reference.items()]
    (out / "reference.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
    print(f"{sum(path.stat().st_size for path in out.rglob('*') if path.is_file())} bytes in all")


if __name__ == "__main__":
    main()
