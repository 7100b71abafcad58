"""Kills a training run (SIGKILL) at random moments, resumes it each time, and compares what it ends with, bit for bit,
with a run that was never stopped.

    kill_and_resume.py TRAIN_TOOL [KILLS] [SEED]
"""
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 96, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
    "initializer_range": 0.1, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
}
SETTINGS = ["init=1", "seed=5", "steps=40", "batch=2", "accumulation=2", "lr=0.02", "schedule=2", "warmup=4",
            "dropout=0.1", "targets=all-linear", "eval=8", "save=2", "threads=2", "quiet=1000"]


def write_inputs(folder, numbers):
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(CONFIG))
    for name, rows in (("train.jsonl", 30), ("validation.jsonl", 4)):
        with open(folder / name, "w") as file:
            for _ in range(rows):
                ids = [numbers.randrange(3, 96) for _ in range(numbers.randrange(4, 30))]
                file.write(json.dumps({"input_ids": ids}) + "\n")


def start(tool, folder, name, *more):
    command = [tool, folder / "model", folder / "train.jsonl", folder / name, f"validation={folder}/validation.jsonl",
               f"checkpoints={folder}/{name}-checkpoints", *SETTINGS, *more]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)


def finish(process):
    output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"the run failed with {process.returncode}:\n{output}")


def remove(path):
    subprocess.run(["rm", "-rf", "--", str(path)], check=True)


def main():
    tool, kills_wanted = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 50
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    numbers = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, numbers)
        begin = time.monotonic()
        finish(start(tool, folder, "straight"))
        whole = time.monotonic() - begin
        expected = (folder / "straight" / "adapter_model.safetensors").read_bytes()
        kills = runs = in_this_run = 0
        while kills < kills_wanted or in_this_run:
            process = start(tool, folder, "killed", "resume=1")
            try:
                if kills < kills_wanted:
                    process.wait(numbers.uniform(0, 0.5) * whole)
                else:
                    finish(process)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                in_this_run += 1
                continue
            if process.returncode != 0:
                sys.exit(f"after {kills} kills (seed {seed}) the run failed:\n{process.stdout.read()}")
            found = (folder / "killed" / "adapter_model.safetensors").read_bytes()
            if found != expected:
                sys.exit(f"after {in_this_run} kills (seed {seed}) the adapter is not that of a run never stopped")
            left = [path.name for path in (folder / "killed-checkpoints").iterdir() if ".tmp-" in path.name]
            if left:
                sys.exit(f"leftovers: {left}")
            remove(folder / "killed")
            remove(folder / "killed-checkpoints")
            runs, in_this_run = runs + 1, 0
        print(f"{kills} kills in {runs} runs of {whole:.2f} s: the same bits each time")


main()
