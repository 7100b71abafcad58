"""What each storage type of the base costs in quality: perplexity, and the mean KL divergence of its next-token
distributions from those of the f32 weights, on real text; beside llama.cpp's figures on the very same GGUF file where
its Python package is installed.

    python tests/bench/quality.py [MODEL] [--text FILE] [--tokens 2000] [--types nf4,q4_0,...] [--json]

MODEL: a Hugging Face directory or GGUF file (default: the example base). Types that are no GGUF types have no figure of
llama.cpp."""
import argparse
import json
import os
import pathlib
import sys
import tempfile

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings" / "python"))
os.environ.setdefault("LIBLORA_LIBRARY",
                      str(pathlib.Path(os.environ.get("LIBLORA_BUILD", ROOT / "build")) / "src" / "liblora.so"))

import liblora  # noqa: E402
from liblora import _c as types  # noqa: E402

NAMES = ["f32", "bf16", "f16", "int8", "nf4", "nf4+double",
         "q8_0", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1", "q4_0"]
CONTEXT = 256


def example_rows(model):
    """Held-out conversations, as the model's template renders them."""
    rows = []
    for line in (ROOT / "examples" / "data" / "weekly_report.heldout.jsonl").read_text().splitlines():
        row = json.loads(line)
        prompt = "\n\n".join(row[key] for key in ("instruction", "input") if row.get(key))
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": row["output"]}]
        rows.append(model.tokenizer.encode(model.tokenizer.render_chat(messages,
                                                                       add_generation_prompt=False))[:CONTEXT])
    return rows


def text_rows(model, path):
    ids = model.tokenizer.encode(pathlib.Path(path).read_text())
    return [ids[i:i + CONTEXT] for i in range(0, len(ids) - CONTEXT + 1, CONTEXT)]


def first_tokens(rows, count):
    chosen = []
    for row in rows:
        if sum(map(len, chosen)) >= count:
            break
        chosen.append(numpy.array(row))
    return chosen


def compare(reference, logs, rows):
    """(perplexity, mean KL) over all positions that have a next token; arguments are lists of [tokens, vocabulary]."""
    nll = divergence = count = 0
    for base, log, ids in zip(reference, logs, rows):
        nll -= log[numpy.arange(len(ids) - 1), ids[1:]].sum()
        divergence += (numpy.exp(base) * (base - log)).sum()
        count += len(ids) - 1
    return float(numpy.exp(nll / count)), float(divergence / sum(len(ids) for ids in rows))


def our_logs(model, rows):
    return [liblora.log_probabilities(model, row).astype(float) for row in rows]


def their_logs(path, rows):
    import llama_cpp
    from llama_cpp import llama_cpp as low
    defaults = low.llama_model_default_params

    def without_repacking():  # into AMX tiles, which ends in a segmentation fault on some virtual machines
        parameters = defaults()
        parameters.use_extra_bufts = False
        return parameters
    low.llama_model_default_params = without_repacking
    model = llama_cpp.Llama(str(path), n_ctx=CONTEXT, n_batch=CONTEXT, n_threads=2, logits_all=True, verbose=False)
    logs = []
    for row in rows:
        model.reset()
        model.eval(list(map(int, row)))
        scores = model.scores[:len(row)].astype(float)
        scores -= scores.max(1, keepdims=True)
        logs.append(scores - numpy.log(numpy.exp(scores).sum(1, keepdims=True)))
    model.close()
    low.llama_model_default_params = defaults
    return logs


def measure(context, source, name, folder):
    """The model in a type, and the file that llama.cpp can read, or None."""
    kind = getattr(types, "TYPE_" + name.split("+")[0].upper())
    base = liblora.Model(context, source)
    if name in ("int8", "nf4", "nf4+double"):
        path = folder / name
        base.quantize(path, type=kind, double_quantization=int("+" in name))
        return liblora.Model(context, path), None
    path = folder / f"{name}.gguf"
    if name in ("f32", "bf16", "f16"):
        liblora.Model(context, source, type=kind).save(path)
    else:
        base.quantize(path, type=kind)
    return liblora.Model(context, path), path


def has_llama_cpp():
    try:
        import llama_cpp  # noqa: F401
        return True
    except ImportError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default=str(ROOT / "examples" / "base"))
    parser.add_argument("--text")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--types", default=",".join(NAMES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    context = liblora.Context(threads=2)
    plain = liblora.Model(context, options.model, type=types.TYPE_F32)
    rows = first_tokens(text_rows(plain, options.text) if options.text else example_rows(plain), options.tokens)
    reference = our_logs(plain, rows)
    results, beside = [], has_llama_cpp()
    theirs_plain = None
    for name in options.types.split(","):
        with tempfile.TemporaryDirectory() as folder:
            model, path = measure(context, options.model, name, pathlib.Path(folder))
            perplexity, divergence = compare(reference, our_logs(model, rows), rows)
            result = {"type": name, "megabytes": model.info["bytes"] / 1e6, "perplexity": perplexity, "kl": divergence}
            if path and beside:
                logs = their_logs(path, rows)
                theirs_plain = theirs_plain or logs  # f32 comes first
                result["llama_cpp_perplexity"], result["llama_cpp_kl"] = compare(theirs_plain, logs, rows)
            results.append(result)
    if options.json:
        print(json.dumps({"model": options.model, "positions": sum(len(row) for row in rows), "results": results}))
        return
    print(f"{sum(len(row) for row in rows)} positions of {options.model}; llama.cpp on the same file")
    print(f"{'type':12}{'MB':>8}{'perplexity':>12}{'mean KL':>11}{'llama.cpp':>12}{'mean KL':>11}")
    for r in results:
        theirs = (f"{r['llama_cpp_perplexity']:12.4f}{r['llama_cpp_kl']:11.2e}" if "llama_cpp_kl" in r else
                  f"{'-':>12}{'-':>11}")
        print(f"{r['type']:12}{r['megabytes']:8.1f}{r['perplexity']:12.4f}{r['kl']:11.2e}{theirs}")


if __name__ == "__main__":
    main()
