"""Stage-1 training and generation with SmolLM2-135M in PyTorch and transformers, on the CPU in float32; steps with random
weights on another device, in another shape or type as well.

    python smollm2.py stage1 --batch 8 --visual 16 --text 48 --steps 12 --logits labels --projector once
    python smollm2.py stage1 --device cuda --shape llama-1b --precision bf16
    python smollm2.py generate --new 64 --precision bf16
    python smollm2.py check           # the mean NLL of a known text, 2.301 where the weights are read correctly

Each prints one line of JSON.  The weights come from the GGUF file that `tests/fetch_smollm2.sh` brings
($SMOLLM2_GGUF or target/smollm2/...), widened to float32.  Packages: tests/reference/requirements-transformers.txt.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GGUF = ROOT / "target/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDING = 256
WARM_UP = 2
PROMPT = 25
TEXT = (
    "The capital of France is Paris. The capital of Italy is Rome. The sky is blue and the grass is green. "
    "Dogs and cats are animals that many people keep as pets."
)

# What `LlamaConfig` is called with.
SHAPES = {
    "smollm2": dict(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, theta=1e5
    ),
    "llama-1b": dict(
        vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, theta=5e5
    ),
}
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="what", required=True)
    stage1 = modes.add_parser("stage1", help="steps of the projector in front of the frozen model")
    stage1.add_argument("--batch", type=int, default=8)
    stage1.add_argument("--visual", type=int, default=16, help="visual tokens of a sequence, all made of one embedding")
    stage1.add_argument("--text", type=int, default=48, help="text tokens that follow, all labelled")
    stage1.add_argument("--steps", type=int, default=12, help=f"of which the first {WARM_UP} are not timed")
    stage1.add_argument("--logits", choices=["labels", "all"], default="labels", help="positions that get logits")
    stage1.add_argument("--projector", choices=["once", "copies"], default="once", help="repeat its output or its input")
    stage1.add_argument("--copies", choices=["all"], default="all", help="visual tokens that go through the model")
    stage1.add_argument("--train", choices=["projector", "all"], default="projector", help="all: the language model too")
    stage1.add_argument("--gradient-checkpointing", action="store_true", help="keep what a layer begins with, and compute the rest again in the backward pass")
    stage1.add_argument("--device", default="cpu", help="cpu or cuda")
    stage1.add_argument("--shape", choices=list(SHAPES), help="random weights in the shape of a model, instead of those of the file")
    stage1.add_argument("--tf32", action="store_true", help="let products of float32 on a card round their factors to 10 bits")
    generate = modes.add_parser("generate", help="greedy tokens with a cache of keys and values")
    generate.add_argument("--new", type=int, default=64)
    generate.add_argument("--blocks", action="store_true", help="of the other program, which keeps the file's four bits; they are widened here all the same")
    for mode in (stage1, generate):
        mode.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="what a frozen model is stored and computed in")
    check = modes.add_parser("check", help="the mean NLL of a known text")
    for mode in (stage1, generate, check):
        mode.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.what == "stage1" and args.precision == "bf16" and args.train == "all":
        parser.error("--precision bf16 is for a frozen model, not for --train all")
    if args.what == "stage1" and args.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}")
    return args


args = parse()
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(args.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(args.threads)


def open_gguf():
    import gguf  # random weights do without

    return gguf.GGUFReader(os.environ.get("SMOLLM2_GGUF", GGUF))


def halves(rows, heads):
    """GGUF keeps the rows of queries and keys for RoPE on neighbours; transformers turns halves."""
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def random_weights(dtype):
    """A frozen model of random weights, and of the values of keys and norms that its class begins with."""
    shape = dict(SHAPES[args.shape])
    rope = {"rope_type": "default", "rope_theta": shape.pop("theta")}
    config = LlamaConfig(**shape, max_position_embeddings=2048, rope_parameters=rope, tie_word_embeddings=True, attn_implementation="sdpa")
    torch.manual_seed(0)
    with torch.device(args.device):
        model = LlamaForCausalLM(config)
    return model.to(dtype).requires_grad_(False).eval()


def load(dtype=torch.float32):
    """The model, frozen."""
    import gguf

    file = open_gguf()
    value = lambda key: file.fields[f"llama.{key}"].contents()  # noqa: E731
    heads, key_heads = value("attention.head_count"), value("attention.head_count_kv")
    weights = {}
    for tensor in file.tensors:
        data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] in ("attn_q", "attn_k"):
                data = halves(data, heads if parts[2] == "attn_q" else key_heads)
            name = f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
        else:
            name = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[tensor.name]
        weights[name] = torch.from_numpy(np.array(data)).to(dtype)  # a copy: nothing stays mapped
    config = LlamaConfig(
        vocab_size=len(weights["model.embed_tokens.weight"]),
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=value("context_length"),
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("rope.freq_base")},
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    rotary = type(model.model.rotary_emb)(config)  # its frequencies are not among the weights
    missing, unknown = model.load_state_dict(weights, strict=False, assign=True)
    assert missing == ["lm_head.weight"] and not unknown, (missing, unknown)
    model.tie_weights()
    model.model.rotary_emb = rotary
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    return model.requires_grad_(False).eval()


def peak_mb():
    """The peak resident memory of this process, in 10^6 bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def stage1(model):
    width, random = model.config.hidden_size, np.random.default_rng(0)
    device = torch.device(args.device)
    torch.manual_seed(0)
    projector = nn.Sequential(nn.Linear(EMBEDDING, width), nn.GELU(), nn.Linear(width, width)).to(device)
    model.requires_grad_(args.train == "all")
    if args.gradient_checkpointing:
        # Only models in training do it; SmolLM2 has no dropout, so nothing else changes.
        model.train().gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trained = [*projector.parameters(), *(model.parameters() if args.train == "all" else [])]
    optimizer = torch.optim.AdamW(trained, lr=5e-4)

    def batch():
        ids = torch.from_numpy(random.integers(1000, 40_000, (args.batch, args.text)))
        rows = random.standard_normal((args.batch, EMBEDDING), dtype=np.float32)
        rows = torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        return ids.to(device), rows.to(device)

    def loss_of(ids, rows):
        copies = (-1, args.visual, -1)
        if args.projector == "once":
            visual = projector(rows)[:, None].expand(copies)
        else:
            visual = projector(rows[:, None].repeat(1, args.visual, 1))
        text = model.model.embed_tokens(ids)
        inputs = torch.cat([visual.to(text.dtype), text], dim=1)
        if args.logits == "all":
            labels = torch.cat([torch.full((args.batch, args.visual), -100, device=device), ids], dim=1)
            return model(inputs_embeds=inputs, labels=labels, use_cache=False).loss
        hidden = model.model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, args.visual - 1 : -1])
        return F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())

    losses, seconds = [], []
    for _ in range(args.steps):
        ids, rows = batch()
        begun = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_of(ids, rows)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begun)
    step = statistics.median(seconds[WARM_UP:])
    return {
        "warm_up_seconds": sum(seconds[:WARM_UP]),
        "timed_seconds": sum(seconds[WARM_UP:]),
        "batch": args.batch,
        "visual": args.visual,
        "text": args.text,
        "steps": args.steps,
        "logits": args.logits,
        "projector": args.projector,
        "train": args.train,
        "tokens_per_second": args.batch * (args.visual + args.text) / step,
        "median_step_seconds": step,
        "min_step_seconds": min(seconds[WARM_UP:]),
        "loss": [losses[0], losses[-1]],
    }


@torch.inference_mode()
def decode(model, prompt, new):
    """Tokens, seconds until the first one and seconds of all others."""
    begun = time.perf_counter()
    out = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
    tokens = [int(out.logits[0, -1].argmax())]
    first = time.perf_counter()
    while len(tokens) < new:
        out = model(input_ids=torch.tensor([tokens[-1:]]), past_key_values=out.past_key_values, use_cache=True)
        tokens.append(int(out.logits[0, -1].argmax()))
    return tokens, first - begun, time.perf_counter() - first


def generate(model):
    prompt = torch.from_numpy(np.random.default_rng(0).integers(1000, 40_000, (1, PROMPT)))
    decode(model, prompt, 4)  # warms up
    tokens, first, rest = decode(model, prompt, args.new)
    return {
        "prompt": PROMPT,
        "new": args.new,
        "tokens_per_second": (args.new - 1) / rest,
        "prompt_seconds": first,
        "decode_seconds": rest,
        "different_tokens": len(set(tokens)),
    }


@torch.inference_mode()
def check(model):
    """As in the reference values: the text alone, without a first token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    fields = open_gguf().fields
    vocabulary = {token: index for index, token in enumerate(fields["tokenizer.ggml.tokens"].contents())}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    ids = torch.tensor([tokenizer.encode(TEXT).ids])
    nll = F.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:]).item()
    assert abs(nll - 2.301) < 2e-3, f"mean NLL {nll:.4f} instead of 2.301"
    return {"predictions": ids.shape[1] - 1, "mean_nll": nll}


def main():
    begun = time.perf_counter()
    dtype = torch.bfloat16 if getattr(args, "precision", "f32") == "bf16" else torch.float32
    if args.what == "stage1":
        torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
        model = (random_weights(dtype) if args.shape else load(dtype)).to(args.device)
    else:
        model = load(dtype)
    loaded = time.perf_counter() - begun
    result = {"stage1": stage1, "generate": generate, "check": check}[args.what](model)
    about = {"peak_rss_mb": peak_mb(), "load_seconds": loaded, "threads": args.threads, "torch": torch.__version__}
    print(json.dumps({"what": args.what, **result, **about}))


if __name__ == "__main__":
    main()
