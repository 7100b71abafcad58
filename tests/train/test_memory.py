"""What `lora plan` says a run takes, against the peak that the run then has: shapes, batch sizes, types, recomputation."""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LORA = pathlib.Path(os.environ.get("LIBLORA_BUILD", ROOT / "build")) / "examples" / "lora"
SHAPES = {
    "narrow": dict(hidden_size=256, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4, intermediate_size=768, vocab_size=32000),
    "deep": dict(hidden_size=384, num_hidden_layers=16, num_attention_heads=6, num_key_value_heads=2, intermediate_size=1024, vocab_size=16000),
}
LENGTH = 256


def run(*arguments):
    result = subprocess.run([str(LORA), *map(str, arguments), "--json"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout[result.stdout.index("{"):])


@pytest.fixture(scope="module", params=[(shape, dtype) for shape in SHAPES for dtype in ("float32", "bfloat16")], ids="-".join)
def model(request, tmp_path_factory):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    shape, dtype = request.param
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    config = transformers.LlamaConfig(**SHAPES[shape], max_position_embeddings=1024, tie_word_embeddings=True)
    transformers.LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    ids = torch.randint(0, config.vocab_size, (16, LENGTH)).tolist()
    (folder / "rows.jsonl").write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in ids))
    return folder


def train(model, output, *options):
    return run("train", model, "--data", model / "rows.jsonl", "--output", output, "--max-steps", 1, "--quiet", "--threads", 2, *options)


@pytest.mark.parametrize("options", [
    ("--batch-size", 1),
    ("--batch-size", 4),
    ("--batch-size", 16, "--gradient-checkpointing"),
    ("--batch-size", 8, "--target-modules", "all-linear", "--rank", 32),
], ids=["one", "four", "recomputed", "all-linear"])
def test_plan_is_within_five_percent(model, tmp_path, options):
    planned = run("plan", model, "--max-length", LENGTH, "--threads", 2, *options)["total"]
    peak = train(model, tmp_path / "out", *options)["peak_memory_bytes"]
    assert abs(planned - peak) <= 0.05 * peak


def test_budget_is_kept(model, tmp_path):
    free = train(model, tmp_path / "free", "--batch-size", 16)["peak_memory_bytes"]
    budget = free * 6 // 10
    held = train(model, tmp_path / "held", "--batch-size", 16, "--memory-budget", budget)["peak_memory_bytes"]
    assert held <= budget
