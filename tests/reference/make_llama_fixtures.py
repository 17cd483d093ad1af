"""Makes tiny models in the formats of `transformers`, and what `transformers` computes with them.

    python make_llama_fixtures.py OUT_DIR [NAME...]      # tests/fixtures/llama in this repository

The packages are in `requirements-transformers.txt`; torch must be a CPU build, which
`benches/compare/torch_cpu_from_pypi.py` makes of the wheel of PyPI. On one machine the
output is the same each time. One folder for each model, as `save_pretrained` writes it, and in it also

    config.other.json       the same configuration in the other style, to be renamed to config.json:
                            transformers 5 writes `rope_parameters` and `dtype`, transformers 4
                            `rope_theta`, `rope_scaling` and `torch_dtype`
    reference.safetensors   `logits`, float32 [2, 40, vocabulary], of the weights widened to float32
    reference.json          input_ids       the two sequences of 40 tokens
                            prompt_length   8
                            greedy          24 tokens that follow the first 8 of the first sequence;
                                            no token ends it
                            greedy_margin   the least distance of the best logit from the next one
                            float64_difference   the largest difference of the logits from those of
                                            the forward pass in float64 at the end of this file
                            sensitivity     the largest change of the logits when that pass gets
                                            one thing wrong

Weights of norms and biases are random too, where `transformers` starts with ones and zeros.
"""

import json
import math
import shutil
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

LENGTH, PROMPT, NEW = 40, 8, 24
MARGIN, DIFFERENT = 0.05, 8  # of greedy texts that are worth a test

SIZES = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-3,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Base and first length are such that of the four frequencies of a head of 8 one stays, one is
# between and two are divided by 8.
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
THETA = {"rope_type": "default", "rope_theta": 500.0}

# Two layers, of which the first has a window, and scores that are not divided by the root of the size of a head. Tied to the
# embeddings, which Gemma scales, the head would repeat the last token.
GEMMA = {"head_dim": 6, "query_pre_attn_scalar": 3, "sliding_window": LENGTH, "tie_word_embeddings": False}
GEMMA3 = {
    **GEMMA,
    "layer_types": ["sliding_attention", "full_attention"],
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    },
}

GEMMA3_SIX = {
    **GEMMA,
    "query_pre_attn_scalar": 6,
    "num_hidden_layers": 6,
    "initializer_range": 1.0,
    "intermediate_size": 12,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    },
}

# What the oldest configurations leave to the defaults: as many key heads as heads, RoPE base 10,000.
MINIMAL = {
    "architectures",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "torch_dtype",
    "vocab_size",
}


def models():
    """name: (configuration, dtype, style of config.json, bytes of a shard)."""
    wide = {"hidden_size": 32, "intermediate_size": 48, "vocab_size": 64, "initializer_range": 0.2}
    default = {"rms_norm_eps": 1e-6, "num_key_value_heads": None}

    def llama(kind="new", dtype=torch.float32, shard="1GB", **changes):
        return LlamaConfig(**{**SIZES, "rope_parameters": dict(THETA), **changes}), dtype, kind, shard

    def other(config, kind, **changes):
        return config(**{**SIZES, "rope_parameters": dict(THETA), **changes}), torch.float32, kind, "1GB"

    linear, base = dict(LINEAR), {"rope_type": "default", "rope_theta": 10000.0}
    return {
        "llama": llama(**wide),
        "llama-tied": llama("old", tie_word_embeddings=True),
        "llama-minimal": llama("minimal", rope_parameters=base, max_position_embeddings=2048, **default),
        "llama-rope3": llama(rope_parameters=dict(LLAMA3), head_dim=8, max_position_embeddings=256),
        "llama-linear-rope": llama("old", rope_parameters=linear, head_dim=8),
        "llama-headdim": llama(head_dim=6),
        "llama-attention-bias": llama(attention_bias=True),
        "llama-mlp-bias": llama("old", mlp_bias=True),
        "llama-sharded": llama(shard="8KB"),
        "llama-bf16": llama("old", torch.bfloat16),
        "llama-f16": llama(dtype=torch.float16),
        "qwen2": other(Qwen2Config, "new", tie_word_embeddings=True),
        "mistral": other(MistralConfig, "old", sliding_window=None),
        # A window as long as the sequences of the reference: it changes nothing up to there.
        "mistral-window": other(MistralConfig, "new", sliding_window=LENGTH),
        "qwen3": other(Qwen3Config, "old", head_dim=6, tie_word_embeddings=True),
        "smollm3": other(SmolLM3Config, "new", num_hidden_layers=4, tie_word_embeddings=True, pad_token_id=0),
        "phi3": other(Phi3Config, "old", pad_token_id=0, sliding_window=LENGTH),
        "gemma2": other(Gemma2Config, "new", **{**GEMMA, "query_pre_attn_scalar": 6}, attn_logit_softcapping=2.0, final_logit_softcapping=4.0),
        "gemma3": other(Gemma3TextConfig, "old", **GEMMA3),
        # What a GGUF file of Gemma 3 can say: each sixth layer has no window, and the others their base.
        "gemma3-six": other(Gemma3TextConfig, "new", **GEMMA3_SIX),
    }


def fill(model, seed):
    """Norms between 0.5 and 1.5, biases with deviation 0.5, so that leaving one out shows."""
    random = torch.Generator().manual_seed(seed + 1_000_000)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if "norm" in name:
                # Gemma adds one.
                least = -0.5 if "gemma" in model.config.model_type else 0.5
                weight.copy_(torch.rand(weight.shape, generator=random) + least)
            elif name.endswith("bias"):
                weight.copy_(torch.randn(weight.shape, generator=random) * 0.5)


def old_style(config):
    """What transformers 4 would have written."""
    old = {key: value for key, value in config.items() if key not in ("rope_parameters", "dtype", "transformers_version")}
    rope = dict(config["rope_parameters"])
    nested = "full_attention" in rope
    if nested:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = dict(rope["full_attention"])
    rope.pop("partial_rotary_factor", None)
    old["rope_theta"], old["torch_dtype"] = rope.pop("rope_theta"), config["dtype"]
    if rope["rope_type"] == "linear" and not nested:
        rope["type"] = rope.pop("rope_type")  # the name before transformers 4.43
    old["rope_scaling"] = rope if rope.get("rope_type") != "default" else None
    return dict(sorted(old.items()))


def write_configs(folder, style):
    """config.json in one style and config.other.json in the other."""
    new = json.loads((folder / "config.json").read_text())
    old = old_style(new)
    if style == "minimal":
        old = {key: value for key, value in old.items() if key in MINIMAL}
    first, second = (new, old) if style == "new" else (old, new)
    for name, config in (("config.json", first), ("config.other.json", second)):
        (folder / name).write_text(json.dumps(config, indent=2) + "\n")


def load(folder):
    """The saved model, widened to float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@torch.no_grad()
def greedy(model, prompt, cached):
    """NEW tokens and the least distance of the best logit from the next one."""
    tokens, margin, past = list(prompt), math.inf, None
    while len(tokens) < len(prompt) + NEW:
        given = tokens if past is None else tokens[-1:]
        out = model(input_ids=torch.tensor([given]), past_key_values=past, use_cache=cached)
        past = out.past_key_values if cached else None
        best = out.logits[0, -1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        tokens.append(int(best.indices[0]))
    return tokens[len(prompt) :], margin


@torch.no_grad()
def reference(folder, seed):
    """(input ids, logits, greedy tokens, margin), after checks of transformers against itself."""
    model = load(folder)
    random = torch.Generator().manual_seed(seed + 2_000_000)
    ids = torch.randint(3, model.config.vocab_size, (2, LENGTH), generator=random)
    logits = model(input_ids=ids, use_cache=False).logits
    alone = model(input_ids=ids[1:], use_cache=False).logits
    assert torch.allclose(alone, logits[1:], atol=1e-5, rtol=1e-5), folder
    prompt = ids[0, :PROMPT].tolist()
    text, margin = greedy(model, prompt, cached=True)
    assert text == greedy(model, prompt, cached=False)[0], folder
    return ids, logits, text, margin


def check_other_style(folder, ids, logits):
    """transformers reads both styles alike."""
    config, other = folder / "config.json", folder / "config.other.json"
    kept = config.read_bytes()
    config.write_bytes(other.read_bytes())
    same = load(folder)
    config.write_bytes(kept)
    with torch.no_grad():
        assert torch.equal(same(input_ids=ids, use_cache=False).logits, logits), f"{folder}: styles differ"


def make(folder, config, dtype, style, shard):
    """One folder, with the first seed whose greedy text is worth a test."""
    for seed in range(1000):
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        fill(model, seed)
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        write_configs(folder, style)
        ids, logits, text, margin = reference(folder, seed)
        if margin >= MARGIN and len(set(text)) >= DIFFERENT:
            break
    else:
        raise SystemExit(f"{folder}: no seed will do")
    check_other_style(folder, ids, logits)
    save_file({"logits": logits.contiguous()}, folder / "reference.safetensors")
    weights, parameters = tensors(folder), json.loads((folder / "config.json").read_text())
    exact = forward(weights, parameters, ids)
    again = forward(weights, json.loads((folder / "config.other.json").read_text()), ids)
    assert torch.equal(exact, again), folder
    difference = float((exact - logits).abs().max())
    assert difference < 2e-5, f"{folder}: {difference:.1e} from the forward pass of this file"
    wrong = {}
    for mistake in MISTAKES:
        change = float((forward(weights, parameters, ids, mistake) - exact).abs().max())
        if change:
            wrong[mistake] = float(f"{change:.2g}")
    facts = {
        "input_ids": ids.tolist(),
        "prompt_length": PROMPT,
        "greedy": text,
        "greedy_margin": float(f"{margin:.3g}"),
        "float64_difference": float(f"{difference:.1e}"),
        "sensitivity": wrong,
    }
    rows = [f'  "{key}": {json.dumps(value)}' for key, value in facts.items()]
    (folder / "reference.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
    for path in folder.iterdir():
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in folder.iterdir())
    spread = float(logits.std())
    print(f"{folder.name:21} seed {seed:3}  {size:6} bytes  deviation {spread:.2f}  margin {margin:.3f}  float64 {difference:.1e}  {wrong}")


# The forward pass once more, in float64 and from the files alone.

MISTAKES = ["interleaved", "rope scaling", "rope base", "tiled heads", "biases", "output bias", "epsilon", "causal"]
MISTAKES += ["head norms", "all positions", "local base", "scale", "score cap", "logit cap", "gelu", "width", "one more"]


def tensors(folder):
    """All tensors of a folder in float64."""
    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            found.update({name: file.get_tensor(name).double() for name in file.keys()})
    return found


def split_fused(weights, config):
    """Phi-3's products as those of the others."""
    heads, inner = config["num_attention_heads"], config["intermediate_size"]
    size = config["hidden_size"] // heads
    query, key = heads * size, config["num_key_value_heads"] * size
    found = {}
    for name, weight in weights.items():
        if "qkv_proj" in name:
            for part, value in zip("qkv", weight.split([query, key, key])):
                found[name.replace("qkv_proj", f"{part}_proj")] = value
        elif "gate_up_proj" in name:
            for part, value in zip(["gate", "up"], weight.split([inner, inner])):
                found[name.replace("gate_up_proj", f"{part}_proj")] = value
        else:
            found[name] = weight
    return found


def inverse_frequencies(config, size, mistake, local=False):
    """Of positions that RoPE turns; in float32 first, as transformers computes them."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    local = local and mistake != "local base"
    if "full_attention" in rope:
        rope = rope["sliding_attention" if local else "full_attention"]
    elif local:
        rope = {"rope_theta": config["rope_local_base_freq"]}
    kind = rope.get("rope_type", rope.get("type", "default"))
    base = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    base = 10000.0 if mistake == "rope base" else base
    inverse = 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    if mistake == "rope scaling" or kind == "default":
        return inverse.double()
    if kind == "linear":
        return (inverse / rope["factor"]).double()
    assert kind == "llama3", kind
    inverse, low, high = inverse.double(), rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * inverse / (2 * math.pi)
    share = ((turns - low) / (high - low)).clamp(0, 1)
    return inverse * (share + (1 - share) / rope["factor"])


def rotate(x, inverse, interleaved):
    """x [batch, heads, length, size]: element i turns with element i + size / 2."""
    angle = torch.arange(x.shape[2], dtype=torch.float64)[:, None] * inverse
    cos, sin = angle.cos(), angle.sin()
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def forward(weights, config, ids, mistake=None):
    """Logits in float64, from `config.json` in either style, with one mistake where that is asked for."""
    heads = config["num_attention_heads"]
    key_heads = config.get("num_key_value_heads") or heads
    size = config.get("head_dim") or config["hidden_size"] // heads
    epsilon = 1e-5 if mistake == "epsilon" else config.get("rms_norm_eps", 1e-6)
    gemma = "gemma" in config.get("model_type", "")
    local_layers = [config.get("model_type") == "gemma3_text" and kind == "sliding_attention" for kind in config.get("layer_types") or []]
    positions = config.get("no_rope_layers") or [1] * config["num_hidden_layers"]
    positions = positions if mistake != "all positions" else [1] * len(positions)
    scale = config["query_pre_attn_scalar"] if gemma and mistake != "scale" else size
    cap = None if mistake == "score cap" else config.get("attn_logit_softcapping")
    final_cap = None if mistake == "logit cap" else config.get("final_logit_softcapping")
    if config.get("model_type") == "phi3":
        weights = split_fused(weights, config)

    def linear(x, name):
        left_out = mistake == "biases" or (mistake == "output bias" and "o_proj" in name)
        return F.linear(x, weights[f"{name}.weight"], None if left_out else weights.get(f"{name}.bias"))

    def norm(x, name):
        weight = weights[f"{name}.weight"] + (gemma and mistake != "one more")
        return x * (x.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt() * weight

    def place(x, name, layer):
        if f"{name}.weight" in weights and mistake != "head norms":
            x = norm(x, name)
        if not positions[layer]:
            return x
        local = bool(local_layers) and local_layers[layer]
        return rotate(x, inverse_frequencies(config, size, mistake, local), mistake == "interleaved")

    def soft(x, cap):
        return x if cap is None else cap * (x / cap).tanh()

    def split(x, count):
        return x.unflatten(-1, (count, size)).transpose(1, 2)

    def spread(x):
        tiled = mistake == "tiled heads"
        return x.repeat(1, heads // key_heads, 1, 1) if tiled else x.repeat_interleave(heads // key_heads, 1)

    x = weights["model.embed_tokens.weight"][ids]
    x = x * math.sqrt(x.shape[-1]) if gemma and mistake != "width" else x
    ahead = torch.full((ids.shape[1],) * 2, -math.inf, dtype=torch.float64).triu(1)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        h = norm(x, f"{at}.input_layernorm")
        query = place(split(linear(h, f"{at}.self_attn.q_proj"), heads), f"{at}.self_attn.q_norm", layer)
        key = place(split(linear(h, f"{at}.self_attn.k_proj"), key_heads), f"{at}.self_attn.k_norm", layer)
        value = split(linear(h, f"{at}.self_attn.v_proj"), key_heads)
        scores = soft(query @ spread(key).transpose(2, 3) / math.sqrt(scale), cap)
        scores = scores if mistake == "causal" else scores + ahead
        h = linear((scores.softmax(-1) @ spread(value)).transpose(1, 2).flatten(2), f"{at}.self_attn.o_proj")
        x = x + (norm(h, f"{at}.post_attention_layernorm") if gemma else h)
        h = norm(x, f"{at}.pre_feedforward_layernorm" if gemma else f"{at}.post_attention_layernorm")
        gate, up = linear(h, f"{at}.mlp.gate_proj"), linear(h, f"{at}.mlp.up_proj")
        gelu = gemma != (mistake == "gelu")
        h = linear((F.gelu(gate, approximate="tanh") if gelu else F.silu(gate)) * up, f"{at}.mlp.down_proj")
        x = x + (norm(h, f"{at}.post_feedforward_layernorm") if gemma else h)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return soft(norm(x, "model.norm") @ head.T, final_cap)


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    out, names = Path(sys.argv[1]), sys.argv[2:]
    for name, (config, dtype, style, shard) in models().items():
        if not names or name in names:
            make(out / name, config, dtype, style, shard)
    print(f"{sum(path.stat().st_size for path in out.rglob('*') if path.is_file())} bytes in all")


if __name__ == "__main__":
    main()
