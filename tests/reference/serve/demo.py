"""Makes a toy to ask on the page: pictures of coloured shapes, conversations about them, and two tiny random networks, an
encoder (CLIP) and a language model (LLaMA), which know nothing before they are trained.

    pip install torch transformers pillow
    python tests/reference/serve/demo.py target/demo
    burn-revision embed --encoder target/demo/clip --images target/demo/pictures --output target/demo/pictures.npy
    burn-revision train --config target/demo/train.toml
    burn-revision serve --model target/demo/run/model

It answers what shape a picture shows, what colour it has and whether it is large, also of pictures that it has not seen (in
`new`). It is no proof of anything: real pictures take a real encoder.
"""

import itertools
import json
import pathlib
import random
import sys

import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, LlamaConfig, LlamaForCausalLM

COLOURS = {"red": "#d93025", "green": "#1e8e3e", "blue": "#1a56db", "yellow": "#f2b600", "purple": "#8430ce", "black": "#1c1c1c"}
SHAPES = ["circle", "square", "triangle"]
SIZES = {"small": 0.2, "large": 0.38}
CHAT = (
    "{% for message in messages %}{{ '[' ~ message.role ~ ']\\n' ~ message.content ~ eos_token ~ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]\\n' }}{% endif %}"
)


def picture(colour, shape, size, chance):
    image = Image.new("RGB", (512, 512), "#f7f4ee")
    radius = SIZES[size] * 512 * chance.uniform(0.95, 1.05)
    x, y = (256 + chance.uniform(-30, 30) for _ in range(2))
    draw = ImageDraw.Draw(image)
    box = [x - radius, y - radius, x + radius, y + radius]
    if shape == "circle":
        draw.ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        draw.rectangle(box, fill=COLOURS[colour])
    else:
        draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=COLOURS[colour])
    return image


def turns(colour, shape, size, chance):
    asked = [
        (["What is it?", "What is in the picture?", "Describe the picture."], f"A {size} {colour} {shape}."),
        (["What colour is it?", "Which colour does it have?", "What colours are there?"], f"It is {colour}."),
        (["What shape is it?", "Which shape is it?"], f"It is a {shape}."),
        (["Is it large?", "Is it big?"], "Yes, it is large." if size == "large" else "No, it is small."),
    ]
    chance.shuffle(asked)
    found = []
    for questions, answer in asked[: chance.randint(1, 4)]:
        mark = "" if found else "<image>\n"
        found += [{"from": "human", "value": mark + chance.choice(questions)}, {"from": "gpt", "value": answer}]
    return found


def main():
    folder = pathlib.Path(sys.argv[1])
    chance = random.Random(1)
    torch.manual_seed(1)
    conversations = []
    for name, copies in [("pictures", 12), ("new", 1)]:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for colour, shape, size, copy in itertools.product(COLOURS, SHAPES, SIZES, range(copies)):
            file = f"{size}-{colour}-{shape}-{copy}.png" if name == "pictures" else f"{size}-{colour}-{shape}.png"
            picture(colour, shape, size, chance).save(folder / name / file)
            if name == "pictures":
                about = {"id": file, "image": file, "conversations": turns(colour, shape, size, chance)}
                conversations.append(about)
    (folder / "conversations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in conversations))

    side = 32
    text = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision |= {"image_size": side, "patch_size": 4}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=256)).save_pretrained(folder / "clip")
    size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    CLIPImageProcessor(**size).save_pretrained(folder / "clip")

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<bos>", "<eos>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator((turn["value"] for one in conversations for turn in one["conversations"]), trainer)
    (folder / "lm").mkdir(exist_ok=True)
    tokenizer.save(str(folder / "lm/tokenizer.json"))
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "chat_template": CHAT}
    (folder / "lm/tokenizer_config.json").write_text(json.dumps(special))
    llama = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=160, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=512, bos_token_id=0, eos_token_id=1,
    )
    LlamaForCausalLM(llama).save_pretrained(folder / "lm")

    (folder / "train.toml").write_text(
        f"""output = "{folder}/run"
language_model = "{folder}/lm"

[projector]
num_visual_tokens = 2

[data]
conversations = "{folder}/conversations.jsonl"
embeddings = "{folder}/pictures.npy"
template = "chat"

[stage]
preset = "finetune"
trainable = "projector-and-language"
learning_rate = 4e-3
batch_size = 32
micro_batch_size = 32
epochs = 20
"""
    )


if __name__ == "__main__":
    main()
