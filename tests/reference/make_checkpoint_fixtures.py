"""Makes of the models under `tests/fixtures/llama` the same models in other files.

    python make_checkpoint_fixtures.py FIXTURES          # tests/fixtures in this repository

The packages are in `requirements-transformers.txt`, with torch as `make_llama_fixtures.py` says. In
`FIXTURES/checkpoints` one folder or file for each, and in `same.json` which model of `FIXTURES/llama` it
is: its logits are the same.

    torch               `pytorch_model.bin`
    torch-shards        two shards and their index. They hold rotary frequencies that the index does not
                        name, and the index names rotary frequencies and a mask that are not there
    llava-flat          `LlavaLlamaForCausalLM` as LLaVA saves it, with a projector and a vision tower
    llava-nested        `LlavaForConditionalGeneration` as transformers saves it, with a vision tower
    llava-nested-inner  the same with the names that its modules have since transformers 4.52
    *.gguf              models in the names of `gguf.tensor_mapping`, rows of queries and keys in the order
                        of llama.cpp's converter
"""

import json
import shutil
import sys
from pathlib import Path

import gguf
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration


def weights(folder):
    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            found.update({name: file.get_tensor(name) for name in file.keys()})
    return found


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def write_config(folder, config):
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def frequencies(layer):
    return {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(4)}


def torch_file(base, folder):
    torch.save(weights(base), folder / "pytorch_model.bin")
    write_config(folder, config_of(base))


def torch_shards(base, folder):
    names = [f"pytorch_model-0000{part}-of-00002.bin" for part in (1, 2)]
    shards, index = [{}, {}], {}
    for at, (name, weight) in enumerate(sorted(weights(base).items())):
        shards[at % 2][name] = torch.nn.Parameter(weight)
        index[name] = names[at % 2]
    shards[1].update(frequencies(0))
    index.update({name: names[0] for name in frequencies(1)})
    index["model.layers.0.attn.bias"] = names[0]
    for name, shard in zip(names, shards):
        torch.save(shard, folder / name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}, indent=1) + "\n")
    write_config(folder, config_of(base))


def others(prefix, projector):
    """A projector and one weight of a vision tower, and their names; the position ids are whole numbers."""
    return {
        f"{prefix}{projector}.0.weight": torch.ones(16, 4),
        f"{prefix}{projector}.0.bias": torch.ones(16),
        f"{prefix}vision_tower.vision_tower.vision_model.embeddings.class_embedding": torch.ones(4),
        f"{prefix}vision_tower.vision_tower.vision_model.embeddings.position_ids": torch.arange(5),
    }


def llava_flat(base, folder):
    torch.save({**weights(base), **others("model.", "mm_projector"), **frequencies(0)}, folder / "pytorch_model.bin")
    config = {**config_of(base), "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama"}
    config.update({"mm_projector_type": "mlp2x_gelu", "mm_hidden_size": 4, "mm_vision_tower": "none"})
    write_config(folder, config)


def llava_nested(base, folder):
    text = LlamaConfig(**{key: value for key, value in config_of(base).items() if key not in ("architectures", "dtype")})
    vision = CLIPVisionConfig(hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1, image_size=4, patch_size=2)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=3))
    ours = {name.replace("model.", "model.language_model.", 1): weight.float() for name, weight in weights(base).items()}
    missing = model.load_state_dict(ours, strict=False)
    assert not missing.unexpected_keys and not any("language" in name for name in missing.missing_keys), missing
    model.to(torch.bfloat16).save_pretrained(folder)


def llava_nested_inner(base, folder):
    inner = lambda name: name.replace("model.", "model.language_model.", 1)
    found = {inner(name): weight for name, weight in weights(base).items()}
    found.update(others("model.", "multi_modal_projector"))
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    text = {**config_of(base), "architectures": ["LlamaForCausalLM"]}
    write_config(folder, {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": text})


def interleaved(weight, heads):
    """The order of rows that llama.cpp wants where it rotates neighbours together."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def gguf_file(base, path):
    config = config_of(base)
    kind = config["model_type"].removesuffix("_text")
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == kind)
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    names = gguf.get_tensor_name_map(arch, layers)
    rope = config.get("rope_parameters") or config
    rope = rope.get("full_attention", rope)
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if kind in ("phi3", "gemma2", "gemma3"):
        writer.add_sliding_window(config["sliding_window"])
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    for name, weight in weights(base).items():
        array = weight.float().numpy()
        if kind in ("llama", "smollm3") and ("q_proj" in name or "k_proj" in name):
            array = interleaved(array, heads if "q_proj" in name else config["num_key_value_heads"])
        if kind in ("gemma2", "gemma3") and name.endswith("norm.weight"):
            array = array + 1
        # llama.cpp knows Gemma 2 with the embeddings as its head alone.
        stored = "output.weight" if name == "lm_head.weight" else names.get_name(name, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(stored, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


FOLDERS = {
    "torch": torch_file,
    "torch-shards": torch_shards,
    "llava-flat": llava_flat,
    "llava-nested": llava_nested,
    "llava-nested-inner": llava_nested_inner,
}
BASE = "llama-bf16"
FILES = ["llama-headdim", "qwen3", "smollm3", "phi3", "gemma2", "gemma3-six"]


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    fixtures = Path(sys.argv[1])
    out = fixtures / "checkpoints"
    shutil.rmtree(out, ignore_errors=True)
    same = {}
    for name, make in FOLDERS.items():
        (out / name).mkdir(parents=True)
        torch.manual_seed(0)
        make(fixtures / "llama" / BASE, out / name)
        same[name] = BASE
    for name in FILES:
        gguf_file(fixtures / "llama" / name, out / f"{name}.gguf")
        same[f"{name}.gguf"] = name
    (out / "same.json").write_text(json.dumps(same, indent=1) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    print(f"{sum(path.stat().st_size for path in out.rglob('*') if path.is_file())} bytes in all")


if __name__ == "__main__":
    main()
