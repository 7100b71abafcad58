"""Prompts and answers side by side with llama.cpp and transformers: tokens a second, peak memory and start-up, on one
machine in one run. liblora and llama.cpp read the very same GGUF file of a random model, transformers the Hugging Face
directory it was made from (f32 and bf16 only). Each contender runs in a process of its own, taking turns; medians of
the rounds.

    python tests/bench/inference.py [CASE ...] [--rounds 3] [--threads 2] [--prompt 512] [--tokens 64] [--priority N]
        [--cpu-features MASK] [--json FILE]

A case is SHAPE-TYPE, for example 135m-q8_0 or 1b-q4_k; without any, those of CASES. "Weights" is the file's size, which
the token of an answer reads once (the embedding is the head), times tokens a second, as a fraction of the memory
bandwidth that the build's `roofline` measures. --priority N runs all alike under `chrt -f N`, for machines that are not
quiet. llama.cpp comes with the package llama-cpp-python, built for this machine (CMAKE_ARGS=-DGGML_NATIVE=ON pip
install llama-cpp-python); it is left out where it is missing. On a processor with AMX its quantized products, as gcc 12
builds them, end in an illegal instruction; BENCH_NO_REPACK=1 in the environment turns them off. --cpu-features keeps
liblora to some of what the processor has: 1 is AVX2 (257 on Intel's), as on most personal computers, to be compared
with a llama.cpp built with "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON".
"""
import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import training

ROOT = training.ROOT
CASES = ["135m-f32", "135m-bf16", "135m-q8_0", "135m-q4_0", "1b-f32", "1b-bf16", "1b-q8_0", "1b-q4_0", "1b-q4_k"]
SHORT = 16  # prompt tokens before an answer


def load_binding():
    os.environ.setdefault("LIBLORA_LIBRARY", str(training.BUILD / "src" / "liblora.so"))
    sys.path.insert(0, str(ROOT / "bindings" / "python"))
    import liblora
    return liblora


def write_tokenizer(path, vocabulary):
    """llama.cpp wants one: the bytes, and words that no text has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = letters + [f"<{i}>" for i in range(vocabulary - len(letters))]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.save(str(path / "tokenizer.json"))


def make_files(shape, kind, folder):
    """The directory, and the GGUF file of it in the type."""
    liblora = load_binding()
    plain = "f32" if kind == "f32" else "bf16"
    directory, file = folder / plain, folder / f"{kind}.gguf"
    if not directory.exists():
        training.make_model(training.Case(f"{shape}-{plain}"), directory)
        write_tokenizer(directory, training.SHAPES[shape]["vocab_size"])
    model = liblora.Model(liblora.Context(threads=2), directory)
    if kind == plain:
        model.save(file)
    else:
        model.quantize(file, type=getattr(liblora._c, "TYPE_" + kind.upper()))
    return directory, file


def prompt_of(length):
    return [(37 * i + 11) % 30000 for i in range(length)]


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


class Ours:
    def __init__(self, options, directory, file):
        liblora = load_binding()
        self.liblora, self.length = liblora, options.prompt + options.tokens + 8
        self.model = liblora.Model(liblora.Context(threads=options.threads, cpu_features=options.cpu_features), file)
        self.session = None

    def start(self):
        if self.session:
            self.session.close()
        self.session = self.liblora.Session(self.model, [], context_length=self.length, prefill_batch=512)

    def prefill(self, ids, tokens=1):
        self.session.prompt(ids, max_new_tokens=tokens, temperature=0, ignore_end=1)

    def answer(self, ids, count):
        self.prefill(ids, count)
        first = self.session.next().id
        seconds, rest = timed(lambda: [self.session.next().id for _ in range(count - 1)])
        return seconds, [first, *rest]


class LlamaCpp:
    def __init__(self, options, directory, file):
        import llama_cpp
        from llama_cpp import llama_cpp as low
        self.low, self.length = low, options.prompt + options.tokens + 8
        if os.environ.get("BENCH_NO_REPACK"):
            defaults = low.llama_model_default_params

            def without():
                parameters = defaults()
                parameters.use_extra_bufts = False
                return parameters
            low.llama_model_default_params = without
        self.model = llama_cpp.Llama(str(file), n_ctx=self.length, n_batch=512, n_ubatch=512, n_threads=options.threads,
                                     n_threads_batch=options.threads, verbose=False)
        self.vocabulary = self.model.n_vocab()

    def start(self):
        self.model._ctx.kv_cache_clear()

    def prefill(self, ids):
        import ctypes

        import numpy
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        if self.low.llama_decode(self.model._ctx.ctx, self.low.llama_batch_get_one(tokens, len(ids))):
            sys.exit("llama_decode failed")
        logits = self.low.llama_get_logits(self.model._ctx.ctx)
        return int(numpy.ctypeslib.as_array(logits, (self.vocabulary,)).argmax())

    def answer(self, ids, count):
        found = [self.prefill(ids)]
        start = time.perf_counter()
        while len(found) < count:
            found.append(self.prefill(found[-1:]))
        return time.perf_counter() - start, found


class Transformers:
    def __init__(self, options, directory, file):
        import torch
        import transformers
        torch.set_num_threads(options.threads)
        self.torch = torch
        self.model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype="auto")

    def start(self):
        self.past = None

    def prefill(self, ids):
        with self.torch.inference_mode():
            found = self.model(self.torch.tensor([ids]), past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = found.past_key_values
        return int(found.logits[0, -1].argmax())

    answer = LlamaCpp.answer


CONTENDERS = {"liblora": Ours, "llama.cpp": LlamaCpp, "transformers": Transformers}


def run_contender(name, options, directory, file):
    """In its own process: prints one JSON line."""
    contender = CONTENDERS[name](options, directory, file)
    contender.start()
    contender.prefill(prompt_of(4))
    ready = time.time() - float(os.environ["BENCH_START"])
    prefills, answers = [], []
    for turn in range(options.turns + 1):  # the first is not counted
        contender.start()
        seconds, _ = timed(contender.prefill, prompt_of(options.prompt))
        prefills.append(options.prompt / seconds)
        contender.start()
        seconds, ids = contender.answer(prompt_of(SHORT), options.tokens)
        answers.append((options.tokens - 1) / seconds)
    print(json.dumps({"prefill": statistics.median(prefills[1:]), "decode": statistics.median(answers[1:]),
                      "ready": ready, "memory": training.peak_memory(), "ids": ids}))


def measure(case, options, folder, peaks):
    shape, kind = case.split("-")
    directory, file = make_files(shape, kind, folder)
    names = ["liblora"] + ["llama.cpp"] * (importlib.util.find_spec("llama_cpp") is not None)
    names += ["transformers"] * (kind in ("f32", "bf16"))
    rounds = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, __file__, "--contender", name, str(directory), str(file)]
            for key in ("threads", "prompt", "tokens", "turns", "cpu_features"):
                command += [f"--{key.replace('_', '-')}={getattr(options, key)}"]
            rounds[name].append(training.run(command, options.priority))
    table = {name: {key: statistics.median(r[key] for r in found) for key in ("prefill", "decode", "ready", "memory")}
             for name, found in rounds.items()}
    for name, row in table.items():
        row["of_bandwidth"] = row["decode"] * file.stat().st_size / peaks["bytes"]
        same = zip(rounds[name][0]["ids"], rounds["liblora"][0]["ids"])
        row["same_tokens"] = next((i for i, (a, b) in enumerate(same) if a != b), options.tokens)
    return {"case": case, "file_bytes": file.stat().st_size, "table": table, "rounds": rounds}


def show(found, options):
    ours = found["table"]["liblora"]
    print(f"\n{found['case']}: prompt of {options.prompt}, answer of {options.tokens} tokens, "
          f"{options.threads} threads, medians of {options.rounds} rounds")
    print(f"{'':14}{'prompt/s':>10}{'ratio':>7}{'answer/s':>10}"
          f"{'ratio':>7}{'weights':>9}{'peak MB':>9}{'ready s':>9}{'same':>6}")
    for name, row in found["table"].items():
        print(f"{name:14}{row['prefill']:10.1f}{ours['prefill'] / row['prefill']:7.2f}{row['decode']:10.2f}"
              f"{ours['decode'] / row['decode']:7.2f}{row['of_bandwidth']:9.2f}{row['memory'] / 2**20:9.0f}"
              f"{row['ready']:9.2f}{row['same_tokens']:6d}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", default=CASES)
    for name, default in (("rounds", 3), ("threads", 2), ("prompt", 512), ("tokens", 64),
                          ("turns", 2), ("priority", 0), ("cpu-features", -1)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--contender", nargs=3, metavar=("NAME", "DIRECTORY", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        return run_contender(options.contender[0], options, *options.contender[1:])
    peaks = training.run([str(training.BUILD / "tests" / "bench" / "roofline"), str(options.threads), "peaks"],
                         options.priority)
    print(f"memory {peaks['bytes'] / 1e9:.1f} GB/s; ratio: liblora over the line's; "
          "same: tokens until an answer differs from liblora's")
    if importlib.util.find_spec("llama_cpp") is None:
        print("llama.cpp is left out: the package llama-cpp-python is not installed")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases:
            place = pathlib.Path(folder) / case.split("-")[0]
            place.mkdir(exist_ok=True)
            found.append(measure(case, options, place, peaks))
            show(found[-1], options)
            next(place.glob("*.gguf")).unlink()
    if options.json:
        options.json.write_text(json.dumps({"peaks": peaks, "cases": found}, indent=1))


if __name__ == "__main__":
    main()
