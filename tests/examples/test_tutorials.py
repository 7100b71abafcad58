"""The tutorials run as written: the `sh` blocks of each, one after another, in a folder that has `examples` and
`build`. A block that starts the server runs in the background until the end; its port is one that is free."""
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TUTORIALS = sorted((ROOT / "examples" / "tutorials").glob("*.md"))


def blocks(path):
    return re.findall(r"^```sh\n(.*?)^```$", path.read_text(), flags=re.S | re.M)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    for _ in range(200):
        assert process.poll() is None, "the server ended"
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server does not listen")


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_runs_as_written(path, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "examples").symlink_to(pathlib.Path(os.environ["LORA_PROGRAM"]).parent)
    language = {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}[path.stem.rsplit(".", 1)[1]]
    environment = {**os.environ, "LC_ALL": language, "PATH": f"{tmp_path}/build/examples:{os.environ['PATH']}"}
    port, server = free_port(), None
    settings = {"cwd": tmp_path, "env": environment, "text": True}
    try:
        for block in blocks(path):
            script = block.replace("8080", str(port))
            if script.startswith("lora serve"):
                server = subprocess.Popen(["sh", "-euc", "exec " + script], stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL, **settings)
                wait_for(port, server)
                continue
            found = subprocess.run(["sh", "-eu"], input=script, capture_output=True, timeout=300, **settings)
            assert found.returncode == 0, f"{block}\n{found.stdout}{found.stderr}"
            assert found.stdout.strip() or not script.startswith("lora"), f"no output: {block}"
    finally:
        if server:
            server.terminate()
            assert server.wait(20) in (0, 130)


def test_each_in_both_languages_with_the_same_commands():
    """The commands differ in the texts inside quotes alone."""
    def commands(path):
        return [re.sub(r'("[^"]*"|\'[^\']*\')', '""', block, flags=re.S) for block in blocks(path)]
    names = {path.stem.rsplit(".", 1)[0] for path in TUTORIALS}
    assert len(names) == 4 and len(TUTORIALS) == 8
    for name in names:
        english, chinese = (ROOT / "examples" / "tutorials" / f"{name}.{language}.md" for language in ("en", "zh"))
        assert commands(english) == commands(chinese) != []
