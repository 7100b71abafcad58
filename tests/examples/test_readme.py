"""The C block of the README is examples/embed.c, of at most 40 lines; what the embed program saves is a PEFT adapter;
the commands of the README are commands of the program."""
import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
READMES = ["README.md", "README.zh.md"]


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / name).read_text(), flags=re.S | re.M)


def test_c_block_is_embed():
    source = (ROOT / "examples" / "embed.c").read_text()
    assert blocks("README.md", "c") == [source]
    assert all(block == source for block in blocks("README.zh.md", "c"))


def test_embed_is_short():
    lines = [line for line in (ROOT / "examples" / "embed.c").read_text().splitlines() if line.strip()]
    assert len(lines) <= 40


def test_embed_trains_an_adapter(tmp_path):
    program = pathlib.Path(os.environ["LORA_PROGRAM"]).with_name("embed")
    data = ROOT / "examples" / "data" / "weekly_report.train.jsonl"
    found = subprocess.run([program, ROOT / "examples" / "base", data, tmp_path / "adapter"], capture_output=True,
                           text=True, check=True)
    losses = [float(x) for x in re.findall(r"^step \d+ loss ([\d.]+)$", found.stdout, flags=re.M)]
    assert len(losses) == 20 and sum(losses[10:]) < sum(losses[:10])
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 8, 32)
    assert subprocess.run([program], capture_output=True).returncode == 1


@pytest.mark.parametrize("name", READMES)
def test_commands_of_the_readme_are_known(name):
    """Every `lora ...` line, with an option that does not exist put at its end: that one alone is complained of."""
    lines = [line.split("#")[0].strip()
             for block in blocks(name, "sh") for line in block.splitlines() if line.startswith("lora ")]
    assert lines
    for line in lines:
        words = line.split()[1:]
        found = subprocess.run([os.environ["LORA_PROGRAM"], *words, "--no-such-option-at-all"], capture_output=True,
                               text=True)
        assert found.returncode == 2 and "no-such-option-at-all" in found.stderr, line
