"""Load on `lora serve`: many clients stream at once, one of them reads slowly, another is cut off every second.

    python tests/bench/serve_load.py [--model DIR] [--clients 64] [--minutes 5] [--tokens 128] [--json]

One client alone comes first; all of them then. Printed are errors, the tokens that each client got, tokens a second of
all against the one, the time to the first token, and the server's memory before and after. Tokens are events of the
stream with text."""
import argparse
import asyncio
import json
import os
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = "Please write a short mail about the survey and the meeting on Friday with the design team 请 写 一封 邮件".split()


class Client:
    def __init__(self, port, model, tokens, seed, pause=0.0):
        self.port, self.model, self.tokens, self.random, self.pause = port, model, tokens, random.Random(seed), pause
        self.got, self.answers, self.firsts, self.errors = 0, 0, [], []

    def body(self):
        words = self.random.choices(WORDS, k=self.random.randrange(5, 60))
        return json.dumps({"model": self.model, "messages": [{"role": "user", "content": " ".join(words)}],
                           "max_tokens": self.tokens, "stream": True, "ignore_eos": True,
                           "seed": self.random.randrange(1 << 30)}).encode()

    async def ask(self, deadline):
        """One answer, or as much of it as comes before the deadline."""
        begin, first = time.monotonic(), None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            body = self.body()
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                         b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            status = await reader.readline()
            if b" 200 " not in status:
                self.errors.append(status.decode(errors="replace").strip())
                return
            while time.monotonic() < deadline:
                line = await asyncio.wait_for(reader.readline(), max(0.001, deadline - time.monotonic()))
                if not line:
                    self.errors.append("the stream broke off")
                    return
                if line.startswith(b"data: [DONE]"):
                    self.answers += 1
                    return
                if b'"error"' in line:
                    self.errors.append(line.decode(errors="replace").strip())
                    return
                if b'"delta":{"content"' in line:
                    first = first or time.monotonic() - begin
                    self.got += 1
                    if self.pause:
                        await asyncio.sleep(self.pause)
        except (asyncio.TimeoutError, TimeoutError):
            pass
        except OSError as error:
            self.errors.append(repr(error))
        finally:
            if first:
                self.firsts.append(first)
            writer.transport.abort()

    async def run(self, deadline, longest=1e9):
        while time.monotonic() < deadline:
            await self.ask(min(deadline, time.monotonic() + longest))


def resident(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")) / 1024


def processor_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def measure(server, port, model, options):
    alone_seconds = min(30.0, options.minutes * 20)
    alone, spent = Client(port, model, options.tokens, 1), processor_seconds(server.pid)
    await alone.run(time.monotonic() + alone_seconds)
    alone_spent, spent = processor_seconds(server.pid) - spent, processor_seconds(server.pid)
    clients = [Client(port, model, options.tokens, 100 + i) for i in range(options.clients - 2)]
    slow, cut = Client(port, model, options.tokens, 2, pause=0.5), Client(port, model, options.tokens, 3)
    before, begin = resident(server.pid), time.monotonic()
    deadline = begin + options.minutes * 60
    await asyncio.gather(*(c.run(deadline) for c in [*clients, slow]), cut.run(deadline, longest=1.0))
    seconds = time.monotonic() - begin
    spent = processor_seconds(server.pid) - spent
    await asyncio.sleep(2)
    got = sorted(c.got for c in clients)
    firsts = [t for c in clients for t in c.firsts]
    tokens = sum(got) + slow.got + cut.got
    rate, one = tokens / seconds, alone.got / alone_seconds
    return {
        "errors": sum((c.errors for c in [alone, *clients, slow, cut]), []), "clients": options.clients,
        "seconds": seconds, "answers": sum(c.answers for c in clients), "tokens_per_second": rate,
        "tokens_per_second_alone": one, "times_one_client": rate / one if one else float("nan"),
        "tokens_of_a_client": {"least": got[0], "median": statistics.median(got), "most": got[-1]},
        "tokens_of_the_slow_one": slow.got, "cut_off": len(cut.firsts),
        "first_token_seconds": {"p50": percentile(firsts, 0.5), "p99": percentile(firsts, 0.99)},
        "first_token_seconds_alone": percentile(alone.firsts, 0.5),
        "processor_milliseconds_per_token": spent / tokens * 1000,
        "processor_milliseconds_per_token_alone": alone_spent / max(1, alone.got) * 1000,
        "resident_megabytes": {"before": before, "after": resident(server.pid)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "examples" / "base"))
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    program = os.environ.get("LORA_PROGRAM",
                             str(pathlib.Path(os.environ.get("LIBLORA_BUILD", ROOT / "build")) / "examples" / "lora"))
    with tempfile.TemporaryDirectory() as workspace:
        server = subprocess.Popen([program, "serve", options.model, "--workspace", workspace, "--port", "0",
                                   "--json", "--quiet"], stdout=subprocess.PIPE, text=True)
        try:
            said = json.loads(server.stdout.readline())
            model = pathlib.Path(options.model).resolve().name.removesuffix(".gguf")
            result = asyncio.run(measure(server, said["port"], model, options))
            result["alive"] = server.poll() is None
        finally:
            server.terminate()
            server.wait()
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['clients']} clients for {result['seconds']:.0f} s: {len(result['errors'])} errors, "
          f"{result['answers']} whole answers, {result['cut_off']} cut off")
    for error in result["errors"][:5]:
        print("   ", error)
    print(f"{result['tokens_per_second']:.0f} tokens/s, one client alone {result['tokens_per_second_alone']:.0f}: "
          f"{result['times_one_client']:.2f} times")
    print(f"processor time for a token: {result['processor_milliseconds_per_token']:.2f} ms, "
          f"alone {result['processor_milliseconds_per_token_alone']:.2f} ms")
    share = result["tokens_of_a_client"]
    print(f"tokens of a client: {share['least']} to {share['most']}, median {share['median']:.0f}; "
          f"the slow one {result['tokens_of_the_slow_one']}")
    first = result["first_token_seconds"]
    print(f"first token after {first['p50']:.3f} s (median), {first['p99']:.3f} s (p99); "
          f"alone {result['first_token_seconds_alone']:.3f} s")
    print(f"resident memory {result['resident_megabytes']['before']:.1f} MB before, "
          f"{result['resident_megabytes']['after']:.1f} MB after")


if __name__ == "__main__":
    main()
