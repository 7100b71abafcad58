"""Training side by side with PEFT: speed, peak memory and start-up, on one machine in one run. The same model file and
the same rows, each contender in processes of its own, taking turns; medians of the rounds. PEFT runs twice: as it
comes, and with glibc told to keep freed memory, which is its best case. Prints tables and, with --json FILE, every
figure.

    python tests/bench/training.py [CASE ...] [--rounds 3] [--steps 5] [--threads 2] [--priority N] [--json FILE]

A case is SHAPE-DTYPE[-all][-dropout][-ragged], for example 135m-f32 or 1b-bf16-all; without any, those of CASES. `all`
adapts every linear layer instead of q and v, `dropout` is 0.1, `ragged` is instruction data of log-normal lengths
around 90 tokens, a third of each row a prompt that is not learnt, for which PEFT pads each batch to its longest row.
DTYPE nf4 or int8: a bf16 model that liblora quantizes, beside liblora and PEFT on bf16 as it is. --priority N runs both
sides alike under `chrt -f N`, for machines that are not quiet. Peaks of the machine come from the `roofline` program of
the build; that of f32 is of FMA alone, above which a product can get whose additions run beside it.
"""
import argparse
import json
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("LIBLORA_BUILD", ROOT / "build"))
SHAPES = {
    "tiny": dict(hidden_size=288, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6,
                 intermediate_size=768, vocab_size=32000, tie_word_embeddings=True),
    "135m": dict(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                 intermediate_size=1536, vocab_size=49152, tie_word_embeddings=True),
    "1b": dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
               intermediate_size=8192, vocab_size=32768, tie_word_embeddings=True),
}
BATCH = {"tiny": 4, "135m": 4, "1b": 1}
LENGTH, LONGEST, MEDIAN, SPREAD = 256, 512, 90, 0.7
CASES = ["tiny-f32", "135m-f32", "135m-f32-all", "135m-f32-dropout", "135m-f32-ragged", "135m-bf16", "135m-bf16-all",
         "135m-bf16-dropout", "1b-bf16", "1b-bf16-all", "1b-nf4", "1b-int8"]
KEPT = {"MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_MMAP_MAX_": "0"}
WARM = 1  # steps that are not counted


class Case:
    def __init__(self, name):
        self.name = name
        self.shape, self.dtype, *extras = name.split("-")
        self.all, self.ragged, self.dropout = "all" in extras, "ragged" in extras, 0.1 if "dropout" in extras else 0.0
        self.batch = BATCH[self.shape]
        if set(extras) - {"all", "dropout", "ragged"} or self.dtype not in ("f32", "bf16", "nf4", "int8"):
            sys.exit(f"unknown case {name}")
        self.stored = "f32" if self.dtype == "f32" else "bf16"

    def flops_per_token(self):
        """Forward and the gradient of inputs through every frozen matrix: 4 for each weight. Attention and the pairs
        are left out."""
        s = SHAPES[self.shape]
        hidden, head = s["hidden_size"], s["hidden_size"] // s["num_attention_heads"]
        layer = hidden * (2 * hidden + 2 * head * s["num_key_value_heads"] + 3 * s["intermediate_size"])
        return 4 * (s["num_hidden_layers"] * layer + s["vocab_size"] * hidden)


def make_model(case, path):
    import torch
    import transformers
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SHAPES[case.shape], max_position_embeddings=2048)
    model = transformers.LlamaForCausalLM(config)
    (model.to(torch.bfloat16) if case.stored == "bf16" else model).save_pretrained(path)


def make_rows(case, path, count):
    r = random.Random(0)
    with open(path, "w") as file:
        for _ in range(count):
            length = min(LONGEST, max(16, round(r.lognormvariate(math.log(MEDIAN), SPREAD)))) if case.ragged else LENGTH
            ids = [r.randrange(SHAPES[case.shape]["vocab_size"]) for _ in range(length)]
            labels = [-100] * (length // 3) + ids[length // 3:] if case.ragged else ids
            file.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")


def peak_memory():
    """Of this program alone: getrusage counts what the process held before exec, too."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def run_peft(name, model_path, rows_path, threads):
    """In its own process: prints one JSON line."""
    start = float(os.environ["BENCH_START"])
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model
    case = Case(name)
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_path, dtype={"f32": torch.float32,
                                                                                 "bf16": torch.bfloat16}[case.stored])
    targets = "all-linear" if case.all else ["q_proj", "v_proj"]
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets,
                                             lora_dropout=case.dropout, task_type="CAUSAL_LM"))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    rows = [json.loads(line) for line in open(rows_path)]
    ready, rates, loss = time.time() - start, [], None
    for begin in range(0, len(rows), case.batch):
        some = rows[begin:begin + case.batch]
        longest = max(len(row["input_ids"]) for row in some)

        def padded(key, filler):
            return torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in some])
        mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in some])
        extra = {} if bool(mask.all()) else {"attention_mask": mask}
        clock = time.perf_counter()
        loss = model(input_ids=padded("input_ids", 0), labels=padded("labels", -100), **extra).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rates.append((sum(len(row["input_ids"]) for row in some), time.perf_counter() - clock))
    print(json.dumps({"tokens_per_second": rate(rates), "loss": loss.item(), "ready_seconds": ready,
                      "peak_memory_bytes": peak_memory()}))


def rate(steps):
    """Tokens a second over all steps but the first; with equal steps the median's, which one disturbed step does not
    move."""
    steps = steps[WARM:]
    if len({tokens for tokens, _ in steps}) == 1:
        return steps[0][0] / statistics.median(seconds for _, seconds in steps)
    return sum(tokens for tokens, _ in steps) / sum(seconds for _, seconds in steps)


def run(command, priority, environment=None):
    prefix = ["chrt", "-f", str(priority)] if priority else []
    result = subprocess.run(prefix + command, capture_output=True, text=True,
                            env={**os.environ, "BENCH_START": str(time.time()), **(environment or {})})
    if result.returncode != 0:
        sys.exit(result.stderr[-2000:])
    return json.loads(result.stdout[result.stdout.index("{"):])


def run_liblora(case, dtype, folder, model, rows, options):
    log = f"{folder}/steps.jsonl"
    program = os.environ.get("LORA_PROGRAM", str(BUILD / "examples" / "lora"))
    command = [program, "train", model, "--data", rows, "--output", f"{folder}/out", "--force", "--quiet", "--json",
               "--log", log, "--epochs", "1", "--dropout", str(case.dropout), "--shuffle", "false",
               "--max-length", str(LONGEST), "--rank", "8", "--alpha", "16", "--batch-size", str(case.batch),
               "--threads", str(options.threads), "--save-steps", "1000000"]
    quantize = [] if dtype == case.stored else ["--quantize", dtype]
    found = run(command + (["--target-modules", "all-linear"] if case.all else []) + quantize, options.priority)
    steps, before = [], 0  # the log's seconds are since the start
    for step in map(json.loads, open(log)):
        if "loss" not in step:
            continue
        steps.append((step["tokens"], step["seconds"] - before))
        before = step["seconds"]
    found["tokens_per_second"] = rate(steps)
    return found


def measure(case, options, peaks):
    with tempfile.TemporaryDirectory() as folder:
        model, rows = f"{folder}/model", f"{folder}/rows.jsonl"
        make_model(case, model)
        make_rows(case, rows, (options.steps * 4 if case.ragged else options.steps) * case.batch)
        peft = [sys.executable, __file__, "--threads", str(options.threads), "--peft", case.name, model, rows]
        def ours(dtype):
            return lambda: run_liblora(case, dtype, folder, model, rows, options)
        contenders = {} if options.only_ours else {
            "PEFT": lambda: run(peft, options.priority),
            "PEFT, tuned malloc": lambda: run(peft, options.priority, KEPT)}
        if case.dtype != case.stored:
            contenders[f"liblora {case.stored}"] = ours(case.stored)
        contenders["liblora"] = ours(case.dtype)
        rounds = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, contender in contenders.items():
                rounds[name].append(contender())
    keys = ("tokens_per_second", "peak_memory_bytes", "ready_seconds", "loss")
    table = {name: {key: statistics.median(f[key] for f in found) for key in keys} for name, found in rounds.items()}
    for row in table.values():
        row["flops_of_f32_peak"] = row["tokens_per_second"] * case.flops_per_token() / peaks["f32"]
        row["flops_of_bf16_peak"] = (row["tokens_per_second"] * case.flops_per_token() /
                                     max(peaks["bf16_tile"], peaks["bf16_dot"], peaks["f32"]))
    return table, rounds


def show(case, table, options):
    base = next(iter(table.values()))
    print(f"\n{case.name}: batch {case.batch}x{'ragged' if case.ragged else LENGTH}, r=8, {options.threads} threads, "
          f"medians of {options.rounds} rounds")
    print(f"{'':20}{'tokens/s':>10}{'ratio':>7}{'peak MB':>9}{'ratio':>7}"
          f"{'ready s':>9}{'loss':>9}{'of f32 peak':>13}{'of bf16':>9}")
    for name, t in table.items():
        print(f"{name:20}{t['tokens_per_second']:10.0f}{t['tokens_per_second'] / base['tokens_per_second']:7.2f}"
              f"{t['peak_memory_bytes'] / 2**20:9.0f}{t['peak_memory_bytes'] / base['peak_memory_bytes']:7.2f}"
              f"{t['ready_seconds']:9.2f}{t['loss']:9.4f}{t['flops_of_f32_peak']:13.2f}"
              f"{t['flops_of_bf16_peak']:9.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--priority", type=int, default=0)
    parser.add_argument("--only-ours", action="store_true", help="without PEFT")
    parser.add_argument("--json")
    parser.add_argument("--peft", nargs=3, metavar=("CASE", "MODEL", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peft:
        return run_peft(*options.peft, options.threads)
    cases = [Case(name) for name in options.cases or CASES]
    peaks = run([str(BUILD / "tests" / "bench" / "roofline"), str(options.threads), "peaks"], options.priority)
    print(f"peaks: f32 {peaks['f32'] / 1e9:.0f} GFLOP/s, "
          f"bf16 {max(peaks['bf16_tile'], peaks['bf16_dot']) / 1e9:.0f} GFLOP/s, "
          f"memory {peaks['bytes'] / 1e9:.1f} GB/s")
    found = {}
    for case in cases:
        table, rounds = measure(case, options, peaks)
        show(case, table, options)
        found[case.name] = {"table": table, "rounds": rounds}
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"peaks": peaks, "cases": found}, indent=1))


if __name__ == "__main__":
    main()
