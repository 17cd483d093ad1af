"""Makes tiny encoders in the formats of `transformers` and open_clip, and what these compute with them.

    python make_encoder_fixtures.py OUT_DIR      # tests/fixtures/encoder in this repository

The packages are in `requirements-transformers.txt`, and `open_clip_torch` (without its dependencies:
torchvision and timm are not used by its plain model and are replaced by stubs). On one machine the
output is the same each time. One folder for each encoder, as `save_pretrained` writes it, and in it

    reference.safetensors   pixels [3, 3, 32, 32], tokens [4, length]; and, float32, image_hidden_N,
                            image_embeds, text_hidden_N, text_embeds, logits, as far as there are towers

`tokenizer` has CLIP's byte-pair encoding with a small vocabulary, as tokenizer.json and as vocab.json
with merges.txt, and texts.json: texts and their tokens. `pictures` has picture files of many kinds, and
pictures.safetensors the pixels that Pillow and the processors of CLIP and SigLIP make of them.
"""

import importlib.machinery
import io
import json
import shutil
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizerFast,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

SIDE, LENGTH, VOCAB = 32, 12, 564
TEXT = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": LENGTH,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": SIDE,
    "patch_size": 8,
}


def randomised(model, seed):
    """All weights random, norms and biases among them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if "logit" in name:
                weight.fill_(1.3 if "scale" in name else -0.7)
                continue
            noise = torch.randn(weight.shape, generator=generator)
            gain = "norm" in name and name.endswith("weight") or ".ln_" in name and name.endswith("weight")
            weight.copy_(1 + 0.2 * noise if gain else 0.25 * noise)
    return model.eval()


def inputs(seed, begin, end, pad, length=LENGTH):
    """Pictures, and texts of several lengths that end with a token, padded."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn([3, 3, SIDE, SIDE], generator=generator)
    tokens = torch.randint(3, 300, [4, length], generator=generator)
    for row, words in enumerate([2, 5, length - 2, 0]):
        tokens[row, 0] = begin
        tokens[row, words + 1] = end
        tokens[row, words + 2 :] = pad
    return pixels, tokens


def record(folder, model, pixels, tokens, image=True, text=True):
    arrays = {}
    with torch.no_grad():
        if image:
            arrays["pixels"] = pixels
            tower = getattr(model, "vision_model", model)
            states = tower(pixel_values=pixels, output_hidden_states=True)
            for layer, state in enumerate(states.hidden_states):
                arrays[f"image_hidden_{layer}"] = state
            if hasattr(model, "visual_projection"):
                arrays["image_embeds"] = model.visual_projection(states.pooler_output)
            elif states.pooler_output is not None:
                arrays["image_embeds"] = states.pooler_output
        if text:
            arrays["tokens"] = tokens
            tower = getattr(model, "text_model", model)
            states = tower(input_ids=tokens, output_hidden_states=True)
            for layer, state in enumerate(states.hidden_states):
                arrays[f"text_hidden_{layer}"] = state
            projected = hasattr(model, "text_projection")
            pooled = states.pooler_output
            arrays["text_embeds"] = model.text_projection(pooled) if projected else pooled
        if image and text:
            out = model(pixel_values=pixels, input_ids=tokens)
            arrays["logits"] = out.logits_per_image
    save_file({name: value.contiguous() for name, value in arrays.items()}, folder / "reference.safetensors")


def processor(kind):
    if kind == "clip":
        return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})


def width_first(picture, kind):
    """Resized in width, then in height: as Pillow did it before version 13, which takes the cheaper
    order. Published towers were trained before, and a fifth of the values differ by one."""
    width, height = picture.size
    short = min(width, height)
    to = (SIDE, SIDE) if kind == "siglip" else (int(SIDE * width / short), int(SIDE * height / short))
    filter = Image.Resampling.BICUBIC
    return picture.resize((to[0], height), filter).resize(to, filter)


def fresh(out, name):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def save(model, folder, kind=None, **options):
    model.save_pretrained(folder, **options)
    for stray in ["generation_config.json", "README.md"]:
        (folder / stray).unlink(missing_ok=True)
    if kind:
        processor(kind).save_pretrained(folder)


def clip(out, name, seed, activation, eos, **options):
    """`eos` 2 as in older files: then a text is pooled at its largest token."""
    end = VOCAB - 1
    text = CLIPTextConfig(**TEXT, hidden_act=activation, eos_token_id=eos, bos_token_id=end - 1, pad_token_id=1)
    vision = CLIPVisionConfig(**VISION, hidden_act=activation)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=10)
    model = randomised(CLIPModel(config), seed)
    pixels, tokens = inputs(seed, end - 1, end, end)
    if eos != 2:
        # A token like the last one before it: the first counts.
        tokens[1, 3] = eos
    folder = fresh(out, name)
    save(model, folder, "clip", **options)
    record(folder, model, pixels, tokens)
    return model, pixels, tokens


def clip_towers(out):
    end = VOCAB - 1
    vision = CLIPVisionConfig(**VISION, hidden_act="gelu", projection_dim=14)
    model = randomised(CLIPVisionModelWithProjection(vision), 3)
    pixels, tokens = inputs(3, end - 1, end, end)
    folder = fresh(out, "clip-vision")
    save(model, folder, "clip")
    record(folder, model, pixels, tokens, text=False)
    text = CLIPTextConfig(**TEXT, projection_dim=14, eos_token_id=end, bos_token_id=end - 1, pad_token_id=end)
    model = randomised(CLIPTextModelWithProjection(text), 4)
    folder = fresh(out, "clip-text")
    save(model, folder)
    record(folder, model, pixels, tokens, image=False)


def siglip(out):
    text = {**TEXT, "hidden_size": 24, "num_attention_heads": 3}
    config = SiglipConfig(text_config=text, vision_config=VISION)
    model = randomised(SiglipModel(config), 5)
    pixels, tokens = inputs(5, 7, 1, 1)
    folder = fresh(out, "siglip")
    save(model, folder, "siglip")
    record(folder, model, pixels, tokens)
    for head in [True, False]:
        model = randomised(SiglipVisionModel(SiglipVisionConfig(**VISION, vision_use_head=head)), 6)
        folder = fresh(out, "siglip-vision" if head else "siglip-headless")
        save(model, folder, "siglip")
        record(folder, model, pixels, tokens, text=False)


def open_clip(out):
    for name in ["torchvision", "timm"]:
        for part in ["", ".ops", ".ops.misc", ".transforms", ".transforms.functional", ".models", ".models.layers", ".layers"]:
            module = MagicMock()
            module.__spec__ = importlib.machinery.ModuleSpec(name + part, None)
            sys.modules[name + part] = module
    from open_clip.model import CLIP

    config = {
        "embed_dim": 10,
        "quick_gelu": False,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 24, "patch_size": 8, "head_width": 12},
        "text_cfg": {"context_length": LENGTH, "vocab_size": VOCAB, "width": 16, "heads": 2, "layers": 2},
    }
    model = randomised(CLIP(**config), 8)
    end = VOCAB - 1
    pixels, tokens = inputs(8, end - 1, end, 0)
    folder = fresh(out, "open-clip")
    preprocess = {
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=1)
    )
    state = {name: value.contiguous() for name, value in model.state_dict().items() if name != "attn_mask"}
    save_file(state, folder / "open_clip_model.safetensors")
    with torch.no_grad():
        arrays = {
            "pixels": pixels,
            "tokens": tokens,
            "image_embeds": model.encode_image(pixels),
            "text_embeds": model.encode_text(tokens),
        }
    save_file({name: value.contiguous() for name, value in arrays.items()}, folder / "reference.safetensors")


TEXTS = [
    "a photo of a cat",
    "A  Photo\tof\n a CAT!!",
    "",
    "the cat's 2 dogs, 100% they'll run",
    "caf\u00e9 na\u00efve",
    "cafe\u0301 nai\u0308ve",
    "\U0001f431 and \U0001f469\u200d\U0001f680",
    "\u732b \u0438 \u03b3\u03ac\u03c4\u03b1",
    "a very long caption of many words that does not fit into so few tokens as there are, and goes on",
    "<|endoftext|> in the middle <|startoftext|>",
]


def tokenizer(out):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    words = "a photo of the cat dog two red apple picture very long caption run they house in is on with".split()
    letters = sorted(bytes_to_unicode().values(), key=ord)
    vocab = {}
    for piece in letters + [letter + "</w>" for letter in letters]:
        vocab[piece] = len(vocab)
    merges = []
    for word in words:
        pieces = list(word[:-1]) + [word[-1] + "</w>"]
        while len(pieces) > 1:
            pair = (pieces[0], pieces[1])
            if pair not in merges:
                merges.append(pair)
            if "".join(pair) not in vocab:
                vocab["".join(pair)] = len(vocab)
            pieces = ["".join(pair)] + pieces[2:]
    for special in ["<|startoftext|>", "<|endoftext|>"]:
        vocab[special] = len(vocab)
    assert len(vocab) == VOCAB, f"VOCAB must be {len(vocab)}"
    folder = fresh(out, "tokenizer")
    tokens = CLIPTokenizerFast(vocab=vocab, merges=merges, model_max_length=LENGTH)
    tokens.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    encoded = tokens(TEXTS, padding="max_length", truncation=True, max_length=LENGTH)["input_ids"]
    texts = [{"text": text, "tokens": row} for text, row in zip(TEXTS, encoded)]
    (folder / "texts.json").write_text(json.dumps({"length": LENGTH, "vocab_size": len(vocab), "texts": texts}, indent=1))


def pictures(out):
    folder = fresh(out, "pictures")
    y, x = np.mgrid[0:60, 0:90]
    wave = np.stack([128 + 100 * np.sin(x / 7), 128 + 100 * np.cos(y / 5), 40 + x + y], 2)
    noise = np.random.default_rng(1).normal(0, 12, wave.shape)
    colours = Image.fromarray(np.clip(wave + noise, 0, 255).astype(np.uint8))
    smooth = Image.fromarray(np.clip(wave, 0, 255).astype(np.uint8))
    alpha = colours.copy()
    alpha.putalpha(Image.fromarray(np.clip(3 * x, 0, 255).astype(np.uint8)))
    sixteen = Image.fromarray((np.clip(wave[:, :, 0] + noise[:, :, 0], 0, 255) * 257).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "landscape.png": (colours, {}),
        "portrait.png": (colours.rotate(90, expand=True), {}),
        "line.png": (colours.crop((0, 0, 90, 1)), {}),
        "small.png": (colours.crop((0, 0, 20, 11)), {}),
        "grey.png": (colours.convert("L"), {}),
        "palette.png": (colours.quantize(31), {}),
        "alpha.png": (alpha, {}),
        "grey_alpha.png": (alpha.convert("LA"), {}),
        "sixteen.png": (sixteen, {}),
        "turned.jpg": (smooth, {"exif": exif.tobytes(), "quality": 95, "subsampling": 0}),
        "plain.jpg": (smooth, {"quality": 95, "subsampling": 0}),
        "subsampled.jpg": (smooth, {"quality": 90, "subsampling": 2}),
        "progressive.jpg": (smooth, {"quality": 90, "progressive": True}),
        "grey.jpg": (smooth.convert("L"), {"quality": 90}),
        "cmyk.jpg": (smooth.convert("CMYK"), {"quality": 95}),
        "lossless.webp": (colours, {"lossless": True}),
        "lossy.webp": (smooth, {"quality": 90}),
        "frames.gif": (colours.quantize(64), {"save_all": True, "append_images": [colours.convert("L").quantize(8)]}),
        "colours.bmp": (colours, {}),
        "packed.tiff": (colours, {"compression": "tiff_lzw"}),
    }
    arrays = {}
    for name, (picture, options) in files.items():
        picture.save(folder / name, **options)
        read = ImageOps.exif_transpose(Image.open(folder / name))
        if read.mode.startswith("I"):
            # Pillow would clip the values at 255.
            read = Image.fromarray(((np.asarray(read).astype(np.uint32) + 128) // 257).astype(np.uint8))
        read = read.convert("RGB")
        arrays[f"{name} rgb"] = np.asarray(read)
        for kind in ["clip", "siglip"]:
            pixels = processor(kind)(width_first(read, kind), return_tensors="np")["pixel_values"][0]
            arrays[f"{name} {kind}"] = pixels.astype(np.float32)
    save_arrays(arrays, folder / "pictures.safetensors")


def main():
    out = Path(sys.argv[1])
    torch.use_deterministic_algorithms(True)
    clip(out, "clip", 1, "quick_gelu", VOCAB - 1)
    clip(out, "clip-eos2", 2, "gelu", 2, max_shard_size="40KB")
    clip_towers(out)
    siglip(out)
    tokenizer(out)
    pictures(out)
    open_clip(out)
    for folder in sorted(out.iterdir()):
        print(folder.name, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
