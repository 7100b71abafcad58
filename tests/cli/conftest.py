"""A small model with the example tokenizer, and the `lora` program."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "examples" / "base_model" / "config"
ROWS = [{"instruction": f"Say number {i}.", "input": "", "output": f"The number is {i}."} for i in range(12)]


def run(*words, code=0, input=None, env=None, cwd=None):
    """The program with these words: (standard output, standard error); its exit status must be `code`."""
    result = subprocess.run([os.environ["LORA_PROGRAM"], *map(str, words)], capture_output=True, text=True, input=input,
                            cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", **(env or {})},
                            timeout=120)
    assert result.returncode == code, (words, result.returncode, result.stdout, result.stderr)
    return result.stdout, result.stderr


def run_json(*words, **settings):
    return json.loads(run(*words, "--json", "--quiet", **settings)[0])


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Hidden size 32, two layers, random weights, by the program's own --initialize."""
    folder = tmp_path_factory.mktemp("model")
    config = folder / "config"
    shutil.copytree(CONFIG, config)
    shape = json.loads((config / "config.json").read_text())
    shape.update(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, head_dim=8, initializer_range=0.1)
    (config / "config.json").write_text(json.dumps(shape))
    data = folder / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)))
    run("train", config, "--initialize", "--full", "--data", data, "--output", folder / "base", "--max-steps", 2,
        "--quiet")
    return folder / "base"


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


@pytest.fixture(scope="session")
def adapter(base, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapter") / "adapter"
    run("train", base, "--data", data, "--output", path, "--epochs", 2, "--learning-rate", "1e-2", "--quiet")
    return path
