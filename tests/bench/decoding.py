"""Decoding: many sessions in one batch against the same sessions one after another, and a session with an unmerged
adapter against the merged model, on a random model of a given shape. Contenders take turns in one process; medians of
the rounds.

    python tests/bench/decoding.py [SHAPE-DTYPE ...] [--sessions 16] [--adapters 8] [--tokens 24] [--prompt 32]
        [--rounds 3]
                                   [--threads 2] [--priority N] [--json FILE]

SHAPE-DTYPE is for example 135m-bf16; without any, 135m-f32 and 135m-bf16. Adapters are of rank 8 on every linear layer.
Seconds are of decoding alone, prompts apart. --priority N runs everything under `chrt -f N`, for machines that are not
quiet.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
os.environ.setdefault("LIBLORA_LIBRARY",
                      str(pathlib.Path(os.environ.get("LIBLORA_BUILD", ROOT / "build")) / "src" / "liblora.so"))
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import liblora  # noqa: E402
import training  # noqa: E402


def random_adapter(model, seed):
    import numpy
    adapter = liblora.Adapter.create(model, seed=seed, r=8, lora_alpha=8, target_modules=["all-linear"])
    generator = numpy.random.default_rng(seed)
    for name, values in adapter.tensors.items():
        if "lora_B" in name:
            adapter.tensors[name] = generator.normal(0, 0.01, values.shape)
    return adapter


class Bench:
    def __init__(self, model, adapters, options):
        self.model, self.options = model, options
        self.adapters = adapters
        self.prompts = [[(37 * i + 11 * k + 5) % 30000 for k in range(options.prompt)] for i in range(options.sessions)]

    def session(self, i, model=None, adapters=None):
        used = [self.adapters[i % len(self.adapters)]] if adapters is None else adapters
        return liblora.Session(model or self.model, used,
                               context_length=self.options.prompt + self.options.tokens + 1, prefill_batch=32)

    def ask(self, session, i, **settings):
        session.prompt(self.prompts[i], max_new_tokens=self.options.tokens, temperature=0, ignore_end=1, **settings)

    def alone(self, i=0, **which):
        """Seconds a token, and the ids."""
        session = self.session(i, **which)
        self.ask(session, i)
        start = time.perf_counter()
        ids = [session.next().id for _ in range(self.options.tokens)]
        return (time.perf_counter() - start) / self.options.tokens, ids

    def one_after_another(self):
        runs = [self.alone(i) for i in range(self.options.sessions)]
        return statistics.mean(seconds for seconds, _ in runs), [ids for _, ids in runs]

    def together(self):
        batch = liblora.Batch(self.model, max_sessions=self.options.sessions, prompt_tokens=256)
        sessions = [self.session(i) for i in range(self.options.sessions)]
        for i, session in enumerate(sessions):
            self.ask(session, i, later=True)
        while any(left for _, left in batch.run(sessions)):
            pass
        found = [[session.next().id] for session in sessions]
        start = time.perf_counter()
        for _ in range(self.options.tokens - 1):
            batch.run(sessions)
            for ids, session in zip(found, sessions):
                ids.append(session.next().id)
        return (time.perf_counter() - start) / (self.options.tokens - 1) / len(sessions), found


def measure(name, options, folder):
    path = pathlib.Path(folder) / name
    training.make_model(training.Case(name), path)
    model = liblora.Model(liblora.Context(threads=options.threads), path)
    adapters = [random_adapter(model, seed) for seed in range(options.adapters)]
    bench, (merged, _) = Bench(model, adapters, options), model.merge([adapters[0]])
    contenders = {
        "base": lambda: bench.alone(adapters=[]),
        "merged": lambda: bench.alone(model=merged, adapters=[]),
        "adapter": bench.alone,
        "one after another": bench.one_after_another,
        "together": bench.together,
    }
    seconds = {key: [] for key in contenders}
    for turn in range(options.rounds + 1):
        ids = {}
        for key, run in contenders.items():
            taken, ids[key] = run()
            if turn:  # the first is not counted
                seconds[key].append(taken)
    speeds = {key: 1 / statistics.median(values) for key, values in seconds.items()}
    same = sum(a == b for a, b in zip(ids["together"], ids["one after another"]))
    return {"case": name, "tokens_per_second": speeds,
            "together_over_alone": speeds["together"] / speeds["one after another"],
            "adapter_over_merged": speeds["adapter"] / speeds["merged"],
            "same_answers": f"{same} of {options.sessions}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["135m-f32", "135m-bf16"])
    for name, default in (("sessions", 16), ("adapters", 8), ("tokens", 24), ("prompt", 32), ("rounds", 3),
                          ("threads", 2), ("priority", 0)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    if options.priority and "LIBLORA_PRIORITY" not in os.environ:
        os.environ["LIBLORA_PRIORITY"] = "1"
        os.execvp("chrt", ["chrt", "-f", str(options.priority), sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(name, options, folder) for name in options.cases]
    for row in rows:
        print(f"{row['case']}: {options.sessions} sessions, {options.adapters} adapters, {options.threads} threads; "
              "tokens/s")
        for key, speed in row["tokens_per_second"].items():
            print(f"  {key:<18}{speed:9.1f}")
        print(f"  together / one after another {row['together_over_alone']:.2f}, "
              f"adapter / merged {row['adapter_over_merged']:.2f}, same answers: {row['same_answers']}")
    if options.json:
        options.json.write_text(json.dumps({"options": vars(options) | {"json": None}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
