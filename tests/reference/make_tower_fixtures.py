"""Makes tiny towers without a common space, and what the reference implementations compute with them.

    PYTHONPATH=efficientnet_lite_pytorch-0.1.0 python make_tower_fixtures.py OUT_DIR   # tests/fixtures/encoder

The packages are in `requirements-transformers.txt`; `efficientnet_lite_pytorch` is the source package of
that name (`pip download --no-deps --no-binary :all: efficientnet_lite_pytorch==0.1.0`, unpacked). On one
machine the output is the same each time.

    bert          BertModel with a WordPiece tokenizer, as sentence-transformers stores it: mean pooling
    roberta       RobertaModel within RobertaForMaskedLM, first token
    reference.safetensors in each: tokens, padding, hidden_N, pooled; in `bert` also texts.json and rows,
                  the vectors of its texts at unit length
    efficientnet  a small EfficientNet-Lite of random weights and statistics, in the format before the
                  archives of PyTorch; reference.safetensors: pictures of two sizes, and their features
    legacy.pth    three tensors in that format
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

LIMIT = 12
TEXTS = [
    "a photo of a cat",
    "A  Photo\tof\n a CAT!!",
    "caf\u00e9 na\u00efve",
    "cafe\u0301 nai\u0308ve",
    "\U0001f431 and \U0001f469\u200d\U0001f680",
    "\u732b \u0438 \u03b3\u03ac\u03c4\u03b1",
    "a very long caption of many words that does not fit into so few tokens as there are, and goes on",
    "[SEP] in the middle [PAD]",
]


def fresh(out, name):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def randomised(model, seed):
    """All weights random, norms and biases among them, and statistics that are no identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.state_dict().items()):
            if not weight.is_floating_point():
                continue
            noise = torch.randn(weight.shape, generator=generator)
            if name.endswith("running_var"):
                weight.copy_(0.3 + noise.abs())
            elif name.endswith("running_mean"):
                weight.copy_(0.4 * noise)
            elif weight.dim() == 4:
                weight.copy_(noise * (2 / weight[0].numel()) ** 0.5)
            elif "norm" in name.lower() and name.endswith("weight") or "_bn" in name and name.endswith("weight"):
                weight.copy_(1 + 0.2 * noise)
            else:
                weight.copy_(0.25 * noise)
    return model.eval()


def pooled(states, mask, mode):
    if mode == "cls":
        return states[:, 0]
    mask = mask.unsqueeze(-1).float()
    return (states * mask).sum(1) / mask.sum(1)


def record(folder, model, tokens, mask, mode, more={}):
    with torch.no_grad():
        out = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    arrays = {"tokens": tokens, "padding": 1 - mask, "pooled": pooled(out.last_hidden_state, mask, mode), **more}
    arrays |= {f"hidden_{layer}": state for layer, state in enumerate(out.hidden_states)}
    save_file({name: value.contiguous() for name, value in arrays.items()}, folder / "reference.safetensors")


def ragged(seed, vocab, pad, length=LIMIT):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, vocab, [4, length], generator=generator)
    mask = torch.ones_like(tokens)
    for row, count in enumerate([3, length, 7, 1]):
        tokens[row, count:] = pad
        mask[row, count:] = 0
    return tokens, mask


def tokenizer():
    words = "a photo of the cat dog two red app ##le ##s picture very long cap ##tion ##n ! , and in cafe naive".split()
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *"bcdefghijklmnopqrstuvwxyz"]
    inner = Tokenizer(models.WordPiece({word: at for at, word in enumerate(vocab)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner.add_special_tokens(vocab[:5])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ), len(vocab)


def bert(out):
    tokens_of, vocab = tokenizer()
    config = BertConfig(
        vocab_size=vocab, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=40,
        max_position_embeddings=20,
    )
    model = randomised(BertModel(config), 1)
    folder = fresh(out, "bert")
    model.save_pretrained(folder)
    encoded = tokens_of(TEXTS, truncation=True, max_length=LIMIT)["input_ids"]
    with torch.no_grad():
        rows = []
        for ids in encoded:
            ids = torch.tensor([ids])
            row = pooled(model(input_ids=ids).last_hidden_state, torch.ones_like(ids), "mean")
            rows.append(torch.nn.functional.normalize(row))
    tokens, mask = ragged(1, vocab, 0)
    record(folder, model, tokens, mask, "mean", {"rows": torch.cat(rows)})
    # As some packages store it: cut and padded in the file, which no reader of sentences wants.
    tokens_of.backend_tokenizer.enable_truncation(8)
    tokens_of.backend_tokenizer.enable_padding(length=8)
    tokens_of.save_pretrained(folder)
    (folder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({
        "word_embedding_dimension": 24, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
    }))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LIMIT, "do_lower_case": False}))
    texts = [{"text": text, "tokens": ids} for text, ids in zip(TEXTS, encoded)]
    (folder / "texts.json").write_text(json.dumps(texts, indent=1))


def roberta(out):
    config = RobertaConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=LIMIT + 2, type_vocab_size=1, hidden_act="gelu", pad_token_id=1,
    )
    model = randomised(RobertaForMaskedLM(config), 2)
    folder = fresh(out, "roberta")
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokens, mask = ragged(2, 50, 1)
    record(folder, model.roberta, tokens, mask, "cls")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "cls"}))


def efficientnet(out):
    from efficientnet_lite_pytorch.model import EfficientNet
    from efficientnet_lite_pytorch.utils import BlockDecoder, GlobalParams

    # A twentieth of the width: channels of 8, 16 and 24, and 64 in the end.
    blocks = BlockDecoder.decode(["r1_k3_s11_e1_i160_o320", "r2_k5_s22_e3_i320_o320", "r2_k3_s22_e2_i320_o480"])
    settings = dict.fromkeys(GlobalParams._fields)
    settings |= {
        "width_coefficient": 0.05, "depth_divisor": 8, "dropout_rate": 0.2, "num_classes": 3,
        "batch_norm_momentum": 0.99, "batch_norm_epsilon": 1e-3, "relu_fn": "relu6", "fix_head_stem": False,
    }
    model = randomised(EfficientNet(blocks, GlobalParams(**settings)), 3)
    folder = fresh(out, "efficientnet")
    torch.save(model.state_dict(), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (folder / "config.json").write_text(json.dumps({
        "model_type": "efficientnet_lite", "image_size": 32, "stem_dim": 8, "in_channels": [8, 16, 16],
        "out_channels": [16, 16, 24], "kernel_sizes": [3, 5, 3], "strides": [1, 2, 2],
        "num_block_repeats": [1, 2, 2], "expand_ratios": [1, 3, 2], "hidden_dim": 64,
    }, indent=1))
    generator = torch.Generator().manual_seed(3)
    arrays = {}
    for name, sides in {"even": (32, 32), "odd": (35, 27)}.items():
        pixels = torch.randn([2, 3, *sides], generator=generator)
        with torch.no_grad():
            arrays |= {f"{name}_pixels": pixels, f"{name}_features": model.extract_features(pixels).mean((2, 3))}
    save_file(arrays, folder / "reference.safetensors")


def main():
    out = Path(sys.argv[1])
    torch.use_deterministic_algorithms(True)
    bert(out)
    roberta(out)
    efficientnet(out)
    tensors = {"a.weight": torch.arange(6.0).view(2, 3), "b": (torch.arange(4) + 0.5).half(), "n": torch.tensor(7)}
    torch.save(tensors, out / "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ["bert", "roberta", "efficientnet"]:
        print(name, sum(file.stat().st_size for file in (out / name).rglob("*") if file.is_file()), "bytes")


if __name__ == "__main__":
    main()
