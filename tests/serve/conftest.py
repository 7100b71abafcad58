"""`lora serve` on the example base model, asked over HTTP."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import httpx
import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BASE = ROOT / "examples" / "base"
ROWS = [json.loads(line) for line in (ROOT / "examples/data/weekly_report.train.jsonl").read_text().splitlines()]
PATIENCE = 120  # seconds that a wait may take on a busy machine; nothing is measured by it
SMALL = {"max-steps": 3, "rank": 2, "alpha": 4, "batch-size": 2, "max-length": 96, "learning-rate": 0.05}


class Server:
    """The program with a workspace; can be stopped, killed and started again."""

    def __init__(self, workspace, *words, env=None, base=BASE):
        self.workspace, self.words, self.env, self.base, self.process = pathlib.Path(workspace), words, env, base, None

    def start(self):
        command = [os.environ["LORA_PROGRAM"], "serve", self.base, "--workspace", self.workspace, "--port", "0",
                   "--json", "--quiet", *self.words]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, "LC_ALL": "C.UTF-8", **(self.env or {})})
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.said = json.loads(line)
        self.port = self.said["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def stop(self, number=signal.SIGTERM):
        """The exit status and what was said on standard error."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        errors = self.process.communicate(timeout=PATIENCE)[1]
        status, self.process = self.process.returncode, None
        return status, errors

    def ask(self, method, path, value=None, status=200, **more):
        answer = (httpx.request(method, self.url + path, json=value, timeout=PATIENCE, **more) if value is not None else
                  httpx.request(method, self.url + path, timeout=PATIENCE, **more))
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.headers.get("content-type") == "application/json" else answer

    def put_rows(self, name, rows):
        return self.ask("PUT", f"/api/datasets/{name}?type=jsonl", content="\n".join(map(json.dumps, rows)), status=201)

    def raw(self, data):
        """All that the server says to these bytes; it may answer, and close, before it has read them all."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as s:
            with contextlib.suppress(OSError):
                s.sendall(data if isinstance(data, bytes) else data.encode())
                s.shutdown(socket.SHUT_WR)
            parts = []
            with contextlib.suppress(ConnectionResetError):
                while part := s.recv(65536):
                    parts.append(part)
            return b"".join(parts)

    def wait(self, job, *states):
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.ask("GET", f"/api/jobs/{job['id']}")
            if found["state"] in states:
                return found
            assert time.monotonic() < deadline and found["state"] not in ("done", "failed", "stopped"), found
            time.sleep(0.05)

    def job(self, kind, name, settings, state="done"):
        return self.wait(self.ask("POST", "/api/jobs", {"kind": kind, "name": name, "settings": settings}, status=202),
                         state)

    def client(self):
        return openai.OpenAI(base_url=self.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE)


@pytest.fixture
def serve(tmp_path):
    """serve(*words) starts a server in the test's own workspace."""
    started = []

    def make(*words, **more):
        started.append(Server(tmp_path / "workspace", *words, **more).start())
        return started[-1]
    yield make
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def tall(tmp_path_factory):
    """A model with random weights whose answers take a while: a context of 16,384 tokens."""
    folder = tmp_path_factory.mktemp("tall")
    shutil.copytree(ROOT / "examples/base_model/config", folder / "config")
    shape = json.loads((folder / "config/config.json").read_text())
    shape.update(hidden_size=512, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=8,
                 num_key_value_heads=8, head_dim=64, max_position_embeddings=16384)
    (folder / "config/config.json").write_text(json.dumps(shape))
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS[:4])))
    subprocess.run([os.environ["LORA_PROGRAM"], "train", folder / "config", "--initialize", "--full", "--data",
                    folder / "rows.jsonl", "--output", folder / "tall", "--max-steps", "1", "--quiet"], check=True)
    return folder / "tall"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("workspace")).start()
    yield one
    status, errors = one.stop()
    assert status == 130 and "ERROR" not in errors, errors
