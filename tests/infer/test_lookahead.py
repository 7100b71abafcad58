"""Lookahead changes no bit: every log-probability is the one without it, for every storage type and instruction set."""
import json

import numpy
import pytest

import liblora
from liblora import _c as types

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300, "hidden_size": 256,
          "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "max_position_embeddings": 1024, "rms_norm_eps": 1e-6,
          "rope_theta": 10000.0, "hidden_act": "silu", "initializer_range": 0.1, "tie_word_embeddings": False,
          "bos_token_id": 1, "eos_token_id": 2}
STORED = {name: getattr(types, f"TYPE_{name}")
          for name in ("INT8", "NF4", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A random model in every type that can be written."""
    directory = tmp_path_factory.mktemp("models")
    (directory / "F32").mkdir()
    (directory / "F32" / "config.json").write_text(json.dumps(CONFIG))
    model = liblora.Model(liblora.Context(threads=1), directory / "F32", initialize=1, seed=4)
    found = {"F32": directory / "F32"}
    for name in STORED:
        found[name] = directory / (name + ".gguf" if name.startswith("Q") else name)
        model.quantize(found[name], type=STORED[name])
    return found


def steps(model, adapters, lookahead):
    """Ids and log-probabilities of an answer to a prompt that repeats itself."""
    session = liblora.Session(model, adapters, context_length=600)
    ids = [3 + (i * i * 31 + 7 * i) % 290 for i in range(40)] * 3
    session.prompt(ids, temperature=0, repetition_penalty=0.6, max_new_tokens=48, ignore_end=1, lookahead=lookahead)
    found = []
    while True:
        values = session.log_probabilities()
        piece = session.next()
        found.append((piece.id, values))
        if piece.finish:
            return found


@pytest.mark.parametrize("features", [0, 1, -1])  # plain C, AVX2, all
@pytest.mark.parametrize("name", ["F32", *STORED])
def test_the_same_bits(paths, name, features):
    context = liblora.Context(threads=2, cpu_features=features)
    model = liblora.Model(context, paths[name], **({"initialize": 1, "seed": 4} if name == "F32" else {}))
    adapter = liblora.Adapter.create(model, r=8, target_modules=["all-linear"], seed=1)
    for key, values in adapter.tensors.items():
        adapter.tensors[key] = numpy.random.default_rng(5).normal(0, 0.05, values.shape)
    for adapters in ((), (adapter,)):
        plain = steps(model, adapters, 0)
        for lookahead in (1, 6, 15):
            ahead = steps(model, adapters, lookahead)
            assert [i for i, _ in ahead] == [i for i, _ in plain]
            assert all((a == b).all() for (_, a), (_, b) in zip(ahead, plain))
