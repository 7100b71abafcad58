"""Training speed and memory side by side with PEFT, in one run: the same model file, the same rows, each in processes of its own,
taking turns. Prints a table and, with --json FILE, the figures.

    python tests/bench/training.py [--shape 135m|tiny] [--rounds 3] [--steps 8] [--threads 2] [--json FILE]
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHAPES = {
    "135m": dict(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536,
                 vocab_size=49152, tie_word_embeddings=True),
    "tiny": dict(hidden_size=288, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6, intermediate_size=768,
                 vocab_size=32000, tie_word_embeddings=True),
}
BATCH, LENGTH = 4, 256


def make_model(shape, path):
    import torch
    import transformers
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SHAPES[shape], max_position_embeddings=2048)
    transformers.LlamaForCausalLM(config).save_pretrained(path)


def make_rows(vocabulary, path, count):
    import random
    r = random.Random(0)
    with open(path, "w") as file:
        for _ in range(count):
            file.write(json.dumps({"input_ids": [r.randrange(vocabulary) for _ in range(LENGTH)]}) + "\n")


def run_peft(model_path, rows_path, steps, threads):
    """In its own process: prints one JSON line."""
    start = float(os.environ["BENCH_START"])
    import resource
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    rows = torch.tensor([json.loads(line)["input_ids"] for line in open(rows_path)])
    ready, rates, loss = time.time() - start, [], None
    for step in range(steps):
        batch = rows[step * BATCH:(step + 1) * BATCH]
        begin = time.perf_counter()
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rates.append(BATCH * LENGTH / (time.perf_counter() - begin))
    print(json.dumps({"tokens_per_second": statistics.median(rates[2:]), "loss": loss.item(), "ready_seconds": ready,
                      "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def measure(command, environment=None):
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "BENCH_START": str(time.time()), **(environment or {})})
    if result.returncode != 0:
        sys.exit(result.stderr[-2000:])
    return json.loads(result.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("--peft", nargs=2, metavar=("MODEL", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peft:
        return run_peft(*options.peft, options.steps, options.threads)
    program = os.environ.get("LORA_PROGRAM", str(ROOT / "build" / "examples" / "lora"))
    with tempfile.TemporaryDirectory() as folder:
        model, rows = f"{folder}/model", f"{folder}/rows.jsonl"
        make_model(options.shape, model)
        make_rows(SHAPES[options.shape]["vocab_size"], rows, options.steps * BATCH)
        peft = [sys.executable, __file__, "--peft", model, rows, "--steps", str(options.steps), "--threads", str(options.threads)]
        tuned = {"MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_MMAP_MAX_": "0"}  # glibc keeps freed memory: PEFT's best case
        contenders = {"PEFT": lambda: measure(peft), "PEFT, tuned malloc": lambda: measure(peft, tuned)}

        def ours():
            return measure([program, "train", model, "--data", rows, "--output", f"{folder}/out", "--force", "--quiet", "--json",
                            "--max-steps", str(options.steps), "--dropout", "0", "--shuffle", "false", "--max-length", str(LENGTH),
                            "--batch-size", str(BATCH), "--threads", str(options.threads), "--save-steps", "1000000"])
        contenders["liblora"] = ours
        figures = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, run in contenders.items():
                figures[name].append(run())
    table = {name: {key: statistics.median(f[key] for f in found) for key in ("tokens_per_second", "peak_memory_bytes", "ready_seconds", "loss")}
             for name, found in figures.items()}
    base = table["PEFT"]
    print(f"{options.shape}, f32, batch {BATCH}x{LENGTH}, q,v r=8, {options.threads} threads, medians of {options.rounds} rounds")
    print(f"{'':20}{'tokens/s':>10}{'ratio':>7}{'peak MB':>9}{'ratio':>7}{'ready s':>9}{'loss':>9}")
    for name, t in table.items():
        print(f"{name:20}{t['tokens_per_second']:10.0f}{t['tokens_per_second'] / base['tokens_per_second']:7.2f}"
              f"{t['peak_memory_bytes'] / 2**20:9.0f}{t['peak_memory_bytes'] / base['peak_memory_bytes']:7.2f}"
              f"{t['ready_seconds']:9.2f}{t['loss']:9.4f}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"shape": options.shape, "table": table, "rounds": figures}, indent=1))


if __name__ == "__main__":
    main()
