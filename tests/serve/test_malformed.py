"""A thousand malformed requests and uploads, drawn from a seed: each gets a clear 4xx, or a closed connection where
HTTP itself is broken, and the server answers as before. LIBLORA_SEED chooses another thousand; a build with sanitizers
makes it sharper."""
import io
import json
import os
import random
import stat
import zipfile

import pytest

from .conftest import ROWS

COUNT = 1000
SEED = int(os.environ.get("LIBLORA_SEED", 1))
WRONG = [None, True, -1, 0, 1.5, 1e308, 10 ** 30, "", "x" * 5000, "\u0000", "../../etc/passwd", [],
         [[]], {}, {"a": {}}, [None], ["x"] * 500, {"": 1}, "\ud7ff\uffff"]


def request(method, path, body=b"", headers=(), version="HTTP/1.1"):
    lines = [f"{method} {path} {version}", "Host: localhost", "Connection: close", *headers]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def json_request(method, path, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(method, path, data, ["Content-Type: application/json"])


# ---- kinds: each gives (bytes, HTTP itself is broken) ----------------------------------------------------------------

def broken_http(r):
    good = request("GET", "/api/state")
    choices = [
        lambda: r.randbytes(r.randrange(1, 300)) + b"\r\n\r\n",
        lambda: good.replace(b"HTTP/1.1", r.choice([b"HTTP/", b"HTP/1.1", b"HTTP/1.1.1", b"", b"http/x"])),
        lambda: good.replace(b"GET", r.choice([b"", b"G T", b"\x00GET", b"GET\t\t", b"GE\nT"])),
        lambda: good.replace(b"Host: localhost", r.choice([b"Host localhost", b"Host", b": localhost",
                                                           b"Host: local\x00host", b"Hos\xfft"])),
        lambda: good.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * r.randrange(40000, 200000) + b"\r\n\r\n"),
        lambda: good.replace(b"/api/state", b"/" + b"a" * r.randrange(40000, 200000)),
        lambda: request("POST", "/v1/completions", b"", [
            "Transfer-Encoding: chunked", "Content-Type: application/json"]).replace(b"Content-Length: 0\r\n", b"") +
                r.choice([b"zz\r\n{}\r\n", b"-5\r\n", b"ffffffffffffffffff\r\n", b"5\r\n{}\r\n0\r\n\r\n"]),
        lambda: request("POST", "/v1/completions", b"{}", ["Content-Type: application/json"]).replace(
            b"Content-Length: 2", b"Content-Length: " + r.choice([b"-2", b"2x", b"99999999999999999999999", b"1e3"])),
        lambda: good[:r.randrange(1, len(good) - 4)],
    ]
    return r.choice(choices)(), True


def parses(data):
    try:
        json.loads(data, parse_constant=lambda name: 1 / 0)
        return True
    except (ValueError, UnicodeDecodeError, ZeroDivisionError, RecursionError):
        return False


def broken_json(r):
    path = r.choice(["/v1/chat/completions", "/v1/completions", "/api/jobs", "/api/plan"])
    good = json.dumps({"model": "base", "messages": [{"role": "user", "content": "hi ✓"}],
                       "max_tokens": 2, "kind": "train", "name": "x", "settings": {"rank": 1}}).encode()
    while True:
        data = r.choice([
            lambda: good[:r.randrange(1, len(good))],
            lambda: good[:(i := r.randrange(len(good)))] + r.randbytes(1) + good[i + 1:],
            lambda: good.replace(b"2", r.choice([b"NaN", b"Infinity", b"1e999", b"9" * 400, b"0x10", b"01",
                                                 b"+1", b".5"])),
            lambda: good.replace(b"hi", r.choice([b"\xff\xfe", b"\xc0\xaf", b"\\ud800", b"\xed\xa0\x80",
                                                  b"\\x41", b"\n"])),
            lambda: b"[" * r.randrange(65, 100000),
            lambda: b'{"a":' * r.randrange(65, 5000) + b"1" + b"}" * 5000,
            lambda: r.choice([b"nul", b"{}{}", b"'x'", b"{,}", b'{"a":1,"a":2}', b"\xef\xbb\xbf{", b"\x00",
                              b"[1]", b"5", b'"x"']),
        ])()
        value = json.loads(data) if parses(data) else None
        if not isinstance(value, dict) or "nested" in data.decode("latin-1"):
            return json_request("POST", path, data), False


def wrong_types(r):
    chat = {"model": "base", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    fields = {  # values that are right for each, so as not to count those as wrong
        "model": (str,), "messages": (), "max_tokens": (), "temperature": (), "top_p": (), "n": (), "stop": (list, str),
        "seed": (int,), "stream": (bool,), "top_k": (int,), "repetition_penalty": (), "adapters": (list,),
        "logprobs": (bool,), "top_logprobs": (), "stream_options": (dict,)}
    if r.random() < 0.5:
        while True:
            name, value = r.choice(list(fields)), r.choice(WRONG)
            fits = (value is None and name != "messages" or
                    isinstance(value, fields[name]) and not (isinstance(value, bool) and bool not in fields[name]))
            fits |= name in ("max_tokens", "n", "top_k") and value in (0, 1.5) and name == "top_k"
            fits |= (name in ("temperature", "top_p", "top_logprobs", "repetition_penalty") and value in (0, 1.5) and
                     not isinstance(value, bool))
            if (name == "model" and isinstance(value, str) and value != "base" or
                name in ("stop", "adapters") and value not in ([], None) and not fits):
                return json_request("POST", "/v1/chat/completions", {**chat, name: value}), False
            if not fits:
                return json_request("POST", "/v1/chat/completions", {**chat, name: value}), False
    path, body = r.choice([
        ("/api/jobs", {"kind": r.choice(WRONG), "name": "x", "settings": {}}),
        ("/api/jobs", {"kind": "train", "name": r.choice(WRONG), "settings": {}}),
        ("/api/jobs", {"kind": "train", "name": "x", "settings": r.choice([None, 5, "x", [], True])}),
        ("/api/jobs", {"kind": r.choice(["train", "merge", "compare"]), "name": "x",
                       "settings": {r.choice(["dataset", "adapters", "rank", "adapter"]): r.choice(WRONG)}}),
        ("/api/plan", {"dataset": r.choice(WRONG)}),
        ("/api/plan", {"dataset": "rows", r.choice(["rank", "epochs", "target-modules", "lr-schedule"]):
                       r.choice([True, {}, [5, {}], "\u0001"])}),
        ("/api/datasets/rows/rows", {"items": r.choice([None, 5, "x", [], [5], {}])}),
        ("/api/datasets/rows/split", {"fraction": r.choice(["x", -1, 2, [], True]), "to": "y"}),
        ("/api/datasets/rows/split", {"fraction": 0.5, "to": r.choice(WRONG)}),
        ("/api/datasets/rows/check", {"max_length": r.choice(["x", -1, 1e300, []])}),
        ("/api/datasets/rows/fix", {"to": r.choice(WRONG)}), ("/api/adapters/none/load", {})])
    return json_request("POST", path, body), False


def traversal(r):
    name = "".join(r.choice(["..", "%2e%2e", "%2f", "/", "\\", "%5c", "%00", "a", "%ff", "%c0%af", ".", "~", "%", "%zz",
                             "etc", "passwd", "%20", "*", "|"]) for _ in range(r.randrange(2, 9)))
    kind = r.choice(["datasets", "adapters", "jobs", "conversations", "exports", "tutorials"])
    tail = r.choice(["", "/download", "/log", "/events"])
    path = r.choice([f"/api/{kind}/..%2f{name}{tail}", f"/api/{kind}/%2e%2e%2f{name}", f"/assets/..%2f{name}",
                     f"/{name}/../../x", f"/api/{kind}/.{name}", f"/api/{kind}/x%00{name}"])
    method = r.choice(["GET", "DELETE", "GET"])
    return request(method, path), False


def oversized(r):
    path, limit, type = r.choice([("/v1/completions", 4 << 20, "application/json"),
                                  ("/api/jobs", 1 << 20, "application/json"),
                                  ("/api/datasets/rows/split", 65536, "application/json")])
    if r.random() < 0.7:
        head = request("POST", path, b"", [f"Content-Type: {type}"]).replace(
            b"Content-Length: 0", b"Content-Length: %d" % r.choice([1 << 28, 1 << 40, 1 << 62]))
        return head + b"{", False
    return json_request("POST", path, b'{"prompt": "' + b"x" * (limit + r.randrange(1, 100000)) + b'"}'), False


def wrong_methods(r):
    path = r.choice(["/", "/api/state", "/api/jobs", "/v1/models", "/v1/completions",
                     "/api/datasets/rows/rows/1", "/assets/app.js"])
    method = r.choice(["PATCH", "OPTIONS", "TRACE", "PROPFIND", "LOCK", "CONNECT", "get"])
    return request(method, path), False


def wrong_headers(r):
    return r.choice([
        lambda: request("GET", "/api/state").replace(
            b"Host: localhost", b"Host: " + r.choice([b"evil.example", b"[::", b"127.0.0.1.x", b"\xff", b"a" * 5000])),
        lambda: request("POST", "/v1/completions", b"{}", [
            "Content-Type: "
            f"{r.choice(['text/plain', 'multipart/form-data', 'application/xml', 'application/jsonx', ''])}"]),
        lambda: request("POST", "/v1/completions", b"{}", [
            "Content-Type: application/json",
            f"Origin: {r.choice(['null', 'http://evil.example', 'file://', 'http://localhost.evil'])}"]),
        lambda: request("GET", "/api/datasets/rows?" + r.choice(["offset=-1", "limit=x", "offset=1e9", "limit=%00",
                                                                 "offset=%zz", "limit=99999999999999999999"])),
        lambda: request("PUT", f"/api/datasets/fresh?type={r.choice(['exe', '', '%00', '../csv', 'csv%2f'])}",
                        b"a,b\n1,2\n"),
    ])(), False


def zipped(r):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        kind = r.randrange(7)
        if kind == 0:
            z.writestr(r.choice(["../x", "/etc/x", "a/../../x", "a/b/c/d", "..\\x", "C:\\x", "a\x01b",
                                 ".hidden", "x" * 300]), b"data")
        elif kind == 1:
            info = zipfile.ZipInfo("adapter_config.json")
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            z.writestr(info, "/etc/passwd")
        elif kind == 2:
            z.writestr("adapter_model.safetensors", bytes(r.randrange(20, 60) << 20))  # a bomb: zeros
        elif kind == 3:
            for i in range(200):
                z.writestr(f"file{i}", b"")
        elif kind == 4:
            z.writestr("adapter_config.json",
                       r.choice(['{"r": 8}', "{", "[]", '{"peft_type": "LORA", "r": 1e9}', '{"peft_type": 5}']))
            z.writestr("adapter_model.safetensors",
                       r.choice([b"", b"\xff" * 8, (1 << 40).to_bytes(8, "little") + b"{}", r.randbytes(200)]))
        elif kind == 5:
            z.writestr("readme.txt", b"nothing here")
    return out.getvalue()


def bad_zips(r):
    data = r.choice([lambda: zipped(r), lambda: zipped(r)[:-r.randrange(1, 60)],
                     lambda: r.randbytes(r.randrange(0, 2000)), lambda: b"PK\x03\x04" + r.randbytes(200)])()
    return request("PUT", "/api/adapters/uploaded", data, ["Content-Type: application/zip"]), False


def bad_data(r):
    type = r.choice(["json", "jsonl"])
    data = r.choice([lambda: b'{"a": ' * r.randrange(1, 4000), lambda: b"[1, 2, 3]",
                     lambda: b"\xff\xfe" + r.randbytes(101), lambda: b"", lambda: b'[{"a": 1}, ' * 3,
                     lambda: b'{"a": "\xff\xff"}', lambda: b"\x00" * 99, lambda: b"[" * 100000])()
    return request("PUT", f"/api/datasets/uploaded?type={type}", data,
                   ["Content-Type: application/octet-stream"]), False


KINDS = [broken_http, broken_json, wrong_types, traversal, oversized, wrong_methods, wrong_headers, bad_zips, bad_data]


def test_a_thousand_malformed_requests(server):
    r = random.Random(SEED)
    server.put_rows("rows", ROWS[:5])
    before = server.ask("GET", "/api/datasets/rows")
    for i in range(COUNT):
        kind = KINDS[i % len(KINDS)]
        data, broken = kind(r)
        answer = server.raw(data)
        what = (SEED, i, kind.__name__, data[:300], answer[:400])
        if broken and not answer:
            continue
        assert answer.startswith(b"HTTP/1.") and answer[9:10] == b"4", what
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"application/json" in head:
            assert json.loads(body)["error"]["message"], what
        else:
            # what the HTTP library itself refuses
            assert broken or kind in (wrong_headers, wrong_methods, traversal), what
    assert server.process.poll() is None
    assert server.ask("GET", "/api/datasets/rows") == before
    state = server.ask("GET", "/api/state")
    assert [d["name"] for d in state["datasets"]] == ["rows"] and state["adapters"] == [] and state["jobs"] == []
    assert list((server.workspace / "uploads").iterdir()) == []
    assert server.client().chat.completions.create(model="base", messages=[{"role": "user", "content": "Hello"}],
                                                   max_tokens=3).usage.completion_tokens == 3
