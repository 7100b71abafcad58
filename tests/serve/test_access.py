"""Who may ask: token, Host, Origin, headers; slow and vanished clients; limits."""
import os
import re
import socket
import subprocess
import threading
import time

import httpx
import openai
import pytest

from .conftest import BASE, PATIENCE, ROOT, ROWS

TOKEN = "correct-horse-battery"
CHAT = {"model": "tall", "messages": [{"role": "user", "content": "Tell me a long story."}], "max_tokens": 16000,
        "extra_body": {"ignore_eos": True}}
STORY = {**{k: v for k, v in CHAT.items() if k != "extra_body"}, "ignore_eos": True}


def status(server, path="/api/state", method="GET", **headers):
    return httpx.request(method, server.url + path, headers=headers, content=b"{}" if method != "GET" else None,
                         timeout=PATIENCE).status_code


def test_the_page_and_its_headers(server):
    answer = server.ask("GET", "/")
    assert answer.headers["content-type"].startswith("text/html") and answer.headers["content-encoding"] == "gzip"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
    assert httpx.get(server.url + "/", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    plain = httpx.get(server.url + "/", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.text == answer.text
    assert httpx.head(server.url + "/").status_code == 200
    for path in ("/assets/none.js", "/assets/..%2f..%2fetc%2fpasswd", "/../etc/passwd", "/nothing", "/assets/"):
        assert status(server, path) in (400, 404)


def test_every_file_that_the_page_asks_for_is_there(server):
    folder = ROOT / "examples/lora/serve/page"
    for path in folder.iterdir():
        assert server.ask("GET", f"/assets/{path.name}").content == path.read_bytes(), path.name
    assert (set(re.findall(r'/assets/([\w.]+)', (folder / "index.html").read_text())) <=
            {p.name for p in folder.iterdir()})


def test_other_hosts_are_refused(server):
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "",
                 "localhost:abc", "localhost.evil.example"):
        assert status(server, Host=host) in (400, 403), host
    for host in ("localhost", f"localhost:{server.port}", "127.0.0.1:1", "[::1]:5", "LOCALHOST"):
        assert status(server, Host=host) == 200, host


def test_pages_of_other_sites_are_refused(server):
    own = f"127.0.0.1:{server.port}"
    json_type = {"Content-Type": "application/json"}
    for origin in ("http://evil.example", "null", f"http://{own}.evil.example", "http://127.0.0.1:1",
                   f"https://evil@{own}x"):
        assert status(server, "/v1/completions", "POST", Origin=origin, **json_type) == 403, origin
        assert status(server, Origin=origin) == 403
    assert status(server, "/v1/completions", "POST", Origin=f"http://{own}",
                  **json_type) == 400  # let in; there is no prompt
    assert status(server, **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert status(server, "/api/jobs", "POST", **{"Content-Type": "text/plain"}) == 415  # what a form can send
    assert status(server, "/api/datasets/x?type=csv", "PUT",
                  **{"Content-Type": "multipart/form-data; boundary=x"}) == 415


def test_methods(server):
    answer = httpx.request("PATCH", server.url + "/api/datasets/x", timeout=PATIENCE)
    assert answer.status_code == 405 and set(answer.headers["allow"].split(", ")) == {"GET", "PUT", "DELETE"}
    assert status(server, "/api/state", "OPTIONS") == 405


def test_a_token_is_asked_for(serve):
    server = serve("--token", TOKEN)
    assert server.said["url"].endswith(f"#token={TOKEN}")
    assert status(server, "/") == 200  # the page itself, which then asks with the token
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}x"},
                    {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": TOKEN}):
        assert status(server, **headers) == 401
    assert status(server, Authorization=f"Bearer {TOKEN}") == 200
    with pytest.raises(openai.AuthenticationError):
        server.client().models.list()
    assert openai.OpenAI(base_url=server.url + "/v1", api_key=TOKEN).models.list().data[0].id == "base"


def test_open_to_the_network_it_has_a_token_of_its_own(serve):
    first = serve("--host", "0.0.0.0")
    assert len(first.said["token"]) >= 32 and first.said["url"].endswith(first.said["token"])
    assert status(first) == 401
    assert status(first, Host="evil.example", Authorization=f"Bearer {first.said['token']}") == 403
    assert status(first, Host="192.168.1.5:8080", Authorization=f"Bearer {first.said['token']}") == 200


def test_too_many_are_told_to_wait(serve, tall):
    server = serve("--max-clients", "1", "--max-queue", "1", "--max-tokens", "20000", base=tall)
    client = server.client()
    streams = [client.chat.completions.create(**CHAT, stream=True)]
    next(iter(streams[0]))
    streams.append(client.chat.completions.create(**CHAT, stream=True))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**CHAT)
    assert int(caught.value.response.headers["retry-after"]) >= 1
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + PATIENCE
    while server.ask("GET", "/api/state")["load"]["active"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.chat.completions.create(**{**CHAT, "max_tokens": 2}).usage.completion_tokens == 2


def test_a_vanished_client_ends_its_answer(serve, tall):
    server = serve("--max-tokens", "20000", base=tall)
    stream = server.client().chat.completions.create(**CHAT, stream=True)
    next(iter(stream))
    assert server.ask("GET", "/api/state")["load"]["active"] == 1
    stream.close()
    deadline = time.monotonic() + 10  # all of the answer would take minutes
    while server.ask("GET", "/api/state")["load"]["active"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_waits_for_a_whole_answer_may_leave_too(serve, tall):
    server = serve("--max-clients", "1", "--max-tokens", "20000", base=tall)
    body = httpx.Request("POST", server.url, json=STORY).content
    head = ("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(head + body)
        deadline = time.monotonic() + PATIENCE
        while not server.ask("GET", "/api/state")["load"]["active"]:
            assert time.monotonic() < deadline
    while server.ask("GET", "/api/state")["load"]["active"]:
        assert time.monotonic() < deadline


def test_a_reader_who_does_not_read_holds_nobody_up(serve, tall):
    """One client takes nothing of a long stream of log-probabilities; another is served meanwhile."""
    server = serve("--max-clients", "2", "--max-tokens", "20000", base=tall)
    body = httpx.Request("POST", server.url, json={**STORY, "stream": True, "logprobs": True,
                                                   "top_logprobs": 20}).content
    head = ("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", server.port))
        s.sendall(head + body)
        for _ in range(3):
            assert server.client().chat.completions.create(**{**CHAT, "max_tokens": 20}).usage.completion_tokens == 20
        deadline = time.monotonic() + PATIENCE
        while server.ask("GET", "/api/state")["load"]["active"]:
            assert time.monotonic() < deadline  # dropped after a while
            time.sleep(0.2)


def test_half_a_request_is_not_waited_for(serve):
    server = serve("--idle-seconds", "1")
    for half in (b"GET /api/state HTTP/1.1\r\nHost: loc",
                 b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 b"Content-Length: 100\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as s:
            s.sendall(half)
            while s.recv(4096):  # an answer or none: in the end it is closed
                pass


def test_a_drip_of_header_bytes_is_not_waited_for(serve):
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as s:
        s.sendall(b"GET /api/state HTTP/1.1\r\nHost: localhost\r\n")
        begin = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begin < PATIENCE:
                s.sendall(b"X-A: b\r\n")
                time.sleep(0.5)
        assert time.monotonic() - begin < PATIENCE


def test_large_things_are_refused(server):
    head = ("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {1 << 40}\r\n\r\n")
    assert b" 413 " in server.raw(head).split(b"\r\n")[0]
    error = server.ask("POST", "/v1/completions", {"prompt": "x" * (5 << 20)}, status=413)["error"]
    assert "4194304" in error["message"]
    deep = '{"prompt": ' + "[" * 100000 + "]" * 100000 + "}"
    answer = httpx.post(server.url + "/v1/completions", content=deep, headers={"Content-Type": "application/json"},
                        timeout=PATIENCE)
    assert answer.status_code == 400 and "nested" in answer.json()["error"]["message"]
    assert (server.raw("GET /" + "x" * 100000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n").split(b" ")[1:2] in
            ([b"414"], [b"431"], [b"413"], []))


def test_many_at_once(server):
    """As many requests as places, all whole, all the same as alone."""
    ask = {"model": "base", "messages": [{"role": "user", "content": "Write a short mail about the survey."}],
           "max_tokens": 24, "temperature": 0}
    alone, got = server.client().chat.completions.create(**ask).choices[0].message.content, []

    def one():
        got.append(server.client().chat.completions.create(**ask).choices[0].message.content)
    threads = [threading.Thread(target=one) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE)
    assert got == [alone] * 24


def test_language(server):
    for language, word in (("zh-CN,zh;q=0.9", "没有"), ("en", "no data set")):
        assert word in httpx.get(server.url + "/api/datasets/none",
                                 headers={"Accept-Language": language}).json()["error"]["message"]


def test_wrong_words(tmp_path):
    def run(*words):
        done = subprocess.run([os.environ["LORA_PROGRAM"], "serve", *map(str, words)], capture_output=True, text=True,
                              timeout=PATIENCE, cwd=tmp_path, env={**os.environ, "LC_ALL": "C.UTF-8"})
        return done.returncode, done.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, errors = run(BASE, "--port", taken.getsockname()[1])
        assert code == 1 and "--port" in errors and errors.count("\n") == 1
    for words, wanted in (((BASE, "--port", "70000"), 2), ((BASE, "--host", "no.such.host.invalid", "--port", 0), 1),
                          ((BASE, "--adapter", "x=/nowhere", "--port", 0), 1), ((BASE, "--token", "short"), 2),
                          ((tmp_path / "none",), 1), ((BASE, "--adapter", "../x", "--port", 0), 1), ((), 2)):
        code, errors = run(*words)
        assert code == wanted and errors, words


def test_a_workspace_has_one_server(serve, tmp_path):
    server = serve()
    done = subprocess.run([os.environ["LORA_PROGRAM"], "serve", str(BASE), "--workspace", str(server.workspace),
                           "--port", "0"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "--workspace" in done.stderr
    server.put_rows("x", ROWS[:3])
