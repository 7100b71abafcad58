"""What `lora plan` says a run takes, against the peak that the run then has: over shapes, storage types of the base,
batch sizes and recomputation. Weights and activations of these models are many times the program's own 9 MiB."""
import itertools
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LORA = pathlib.Path(os.environ.get("LIBLORA_BUILD", ROOT / "build")) / "examples" / "lora"
SHAPES = {
    "wide": dict(hidden_size=1024, num_hidden_layers=4, num_attention_heads=16, num_key_value_heads=4,
                 intermediate_size=2816, vocab_size=16000),
    "deep": dict(hidden_size=512, num_hidden_layers=16, num_attention_heads=8, num_key_value_heads=2,
                 intermediate_size=1536, vocab_size=32000),
}
LENGTH = 64
# name: (type of the saved model, type that `lora quantize` makes of it, options of the run)
BASES = {
    "f32": ("float32", None, ()),
    "bf16": ("bfloat16", None, ()),
    "f16": ("float16", None, ()),
    "int8 at load": ("bfloat16", None, ("--quantize", "int8")),
    "nf4 at load": ("bfloat16", None, ("--quantize", "nf4")),
    "nf4 kept": ("bfloat16", None, ("--quantize", "nf4", "--cache-quantized")),
    "nf4": ("bfloat16", "nf4", ()),
    "q8_0": ("bfloat16", "q8_0", ()),
    "q4_k": ("bfloat16", "q4_k", ()),
}
RUNS = {
    "one": ("--batch-size", 1),
    "eight": ("--batch-size", 8),
    "mlp": ("--batch-size", 8, "--recompute", "mlp"),
    "all": ("--batch-size", 16, "--recompute", "all"),
    "all-linear": ("--batch-size", 4, "--target-modules", "all-linear", "--rank", 32),
    "validated": ("--batch-size", 1, "--target-modules", "all-linear", "--rank", 64, "--validation", 0.25),
}


def run(*arguments):
    result = subprocess.run([str(LORA), *map(str, arguments), "--json"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout[result.stdout.index("{"):])


@pytest.fixture(scope="module")
def base(request, tmp_path_factory):
    """Model, rows and options of the base that the parameter names."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    shape, name = request.param
    dtype, quantized, options = BASES[name]
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    model = folder / "model"
    config = transformers.LlamaConfig(**SHAPES[shape], max_position_embeddings=1024, tie_word_embeddings=True)
    transformers.LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(model)
    ids = torch.randint(0, config.vocab_size, (16, LENGTH)).tolist()
    (folder / "rows.jsonl").write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in ids))
    if quantized:
        model = folder / (quantized if quantized == "nf4" else quantized + ".gguf")
        run("quantize", folder / "model", "--type", quantized, "--output", model)
    return model, folder / "rows.jsonl", options


def peak_of(base, output, *options):
    model, rows, of_base = base
    return run("train", model, "--data", rows, "--output", output, "--max-steps", 1, "--quiet", "--threads", 2,
               *of_base, *options)["peak_memory_bytes"]


# Each base with two of the runs, on one shape and the other in turn.
GRID = [((list(SHAPES)[(b + r) % 2], base), options) for (b, base), (r, options) in
        itertools.product(enumerate(BASES), enumerate(RUNS)) if (b + r) % len(RUNS) < 2]


@pytest.mark.parametrize("base, options", GRID, indirect=["base"],
                         ids=lambda value: "-".join(value) if value[0] in SHAPES else value)
def test_plan_is_within_five_percent(base, options, tmp_path):
    model, rows, of_base = base
    planned = run("plan", model, "--max-length", LENGTH, "--threads", 2, *of_base, *RUNS[options])["total"]
    peak = peak_of(base, tmp_path / "out", *RUNS[options])
    assert abs(planned - peak) <= 0.05 * peak


@pytest.mark.parametrize("base", [("wide", "f32"), ("deep", "bf16"), ("wide", "int8 at load"), ("deep", "nf4")],
                         indirect=True, ids="-".join)
def test_budget_is_kept(base, tmp_path):
    """Of what activations and workspace would take, 0.7 is left: enough only with smaller batches or recomputation."""
    model, rows, of_base = base
    batch = ("--batch-size", 16)
    plan = run("plan", model, "--max-length", LENGTH, "--threads", 2, *of_base, *batch)
    budget = int(plan["total"] - 0.3 * (plan["activations"] + plan["workspace"]))
    assert peak_of(base, tmp_path / "out", *batch, "--memory-budget", budget) <= budget
