"""Quantizing a model beside llama.cpp, from the same GGUF file (bf16) to the same types. Each contender runs in a
process of its own, taking turns; medians of the rounds. "Error" is that of a layer's weights, root mean squares,
relative.

    python tests/bench/quantizing.py [TYPE ...] [--shape 1b] [--rounds 3] [--threads 2] [--priority N] [--json FILE]

--priority N runs all alike under `chrt -f N`. llama.cpp comes with the package llama-cpp-python; it is left out where
it is missing.
"""
import argparse
import ctypes
import importlib.util
import json
import pathlib
import statistics
import sys
import tempfile

import inference
import training

TYPES = ["q8_0", "q6_k", "q5_k", "q4_k", "q4_0"]
LAYER = "blk.0.ffn_down.weight"


def ours(source, target, kind, threads):
    liblora = inference.load_binding()
    model = liblora.Model(liblora.Context(threads=threads), source)
    model.quantize(target, type=getattr(liblora._c, "TYPE_" + kind.upper()), overwrite=1)


def theirs(source, target, kind, threads):
    from llama_cpp import llama_cpp as low
    quiet = low.llama_log_callback(lambda *_: None)
    low.llama_log_set(quiet, None)
    settings = low.llama_model_quantize_default_params()
    name = kind.upper() + ("_S" if kind in ("q4_k", "q5_k") else "")
    settings.ftype, settings.nthread, settings.pure = getattr(low, "LLAMA_FTYPE_MOSTLY_" + name), threads, True
    if low.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(settings)):
        sys.exit("llama_model_quantize failed")


CONTENDERS = {"liblora": ours, "llama.cpp": theirs}


def run_contender(name, *arguments, threads):
    """In its own process: prints one JSON line."""
    seconds, _ = inference.timed(CONTENDERS[name], *arguments, threads)
    print(json.dumps({"seconds": seconds, "memory": training.peak_memory()}))


def weights(path):
    import gguf
    tensor = next(tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == LAYER)
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def error(source, target):
    plain = weights(source)
    return float((((weights(target) - plain) ** 2).mean() / (plain ** 2).mean()) ** 0.5)


def measure(kind, options, source):
    names = [name for name in CONTENDERS if name == "liblora" or importlib.util.find_spec("llama_cpp")]
    rounds, rows = {name: [] for name in names}, {}
    target = source.with_name("small.gguf")
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, __file__, "--contender", name, str(source), str(target), kind,
                       "--threads", str(options.threads)]
            rounds[name].append(training.run(command, options.priority))
            rows[name] = {"error": error(source, target), "bytes": target.stat().st_size}
            target.unlink()
    for name, found in rounds.items():
        rows[name] |= {key: statistics.median(r[key] for r in found) for key in ("seconds", "memory")}
    return {"type": kind, "table": rows, "rounds": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*", metavar="TYPE", default=TYPES)
    parser.add_argument("--shape", default="1b", choices=training.SHAPES)
    for name, default in (("rounds", 3), ("threads", 2), ("priority", 0)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--contender", nargs=4, metavar=("NAME", "SOURCE", "TARGET", "TYPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        return run_contender(*options.contender, threads=options.threads)
    print(f"{options.shape}, {options.threads} threads, medians of {options.rounds} rounds; "
          "ratio: the line's over liblora")
    print(f"{'':8}{'':12}{'seconds':>9}{'ratio':>7}{'peak MB':>9}{'file MB':>9}{'error':>10}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        _, source = inference.make_files(options.shape, "bf16", pathlib.Path(folder))
        for kind in options.types:
            found.append(measure(kind, options, source))
            for name, row in found[-1]["table"].items():
                ratio = row["seconds"] / found[-1]["table"]["liblora"]["seconds"]
                print(f"{kind:8}{name:12}{row['seconds']:9.2f}{ratio:7.2f}{row['memory'] / 2**20:9.0f}"
                      f"{row['bytes'] / 1e6:9.0f}{row['error']:10.5f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
