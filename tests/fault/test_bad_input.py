"""Bad input, one case each: the code, and a message that names the file, the tensor or key, and what was found. Nothing
crashes, nothing is left half written."""
import fcntl
import gzip
import json
import random
import resource
import shutil
import signal

import numpy
import pytest
from safetensors.numpy import load_file, save_file

import liblora
from fault.child import give_up_root, in_child
from liblora import LoraError, _c

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 104, "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu", "initializer_range": 0.1,
    "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}
VOCABULARY = {"<s>": 1, "</s>": 2, "\u0120": 3, "\u010a": 4, **{chr(33 + i): 5 + i for i in range(94)}}
TOKENIZER = {
    "added_tokens": [{"id": i, "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False} for text, i in (("<s>", 1), ("</s>", 2))],
    "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                                          "use_regex": True},
    "post_processor": None, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "merges": [], "vocab": VOCABULARY},
}
ROWS = [[1, 5, 6, 7, 2], [1, 9, 10, 2], [1, 30, 31, 32, 33, 2], [1, 44, 2]]


@pytest.fixture(scope="module")
def context():
    return liblora.Context(threads=1)  # no threads: tests below fork


@pytest.fixture(scope="module")
def base(context, tmp_path_factory):
    drawn = tmp_path_factory.mktemp("drawn")
    (drawn / "config.json").write_text(json.dumps(CONFIG))
    (drawn / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    path = tmp_path_factory.mktemp("models") / "base"
    model = liblora.Model(context, drawn, initialize=1, seed=7)
    model.save(path)
    model.save(path.parent / "base.gguf")
    return path


@pytest.fixture(scope="module")
def model(context, base):
    return liblora.Model(context, base)


@pytest.fixture
def adapter(model):
    found = liblora.Adapter.create(model, r=2)
    for name in found.tensors:
        if "lora_B" in name:
            found.tensors[name] = numpy.full(found.tensors.shape(name), 0.01)
    return found


def refused(status, *parts):
    class Check:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            assert kind is LoraError, f"expected a refusal, found {error!r}"
            assert error.status == status, f"{error.status}: {error}"
            for part in parts:
                assert str(part) in str(error)
            assert "\n" not in str(error)
            return True
    return Check()


# ---- models ---------------------------------------------------------------------------------------------------------

def copy(base, tmp_path):
    shutil.copytree(base, tmp_path / "copy")
    return tmp_path / "copy"


def change_tensors(path, change):
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def change_config(path, **values):
    (path / "config.json").write_text(json.dumps({**CONFIG, **values}))


DAMAGED = ["base/model.safetensors", "base/config.json", "base/tokenizer.json", "base.gguf"]


def damaged(base, tmp_path, name):
    """(a copy of the model, its file `name`, that file's bytes)"""
    if name.endswith(".gguf"):
        path = tmp_path / name
        shutil.copy(base.parent / name, path)
        return path, path, path.read_bytes()
    path = copy(base, tmp_path)
    file = path / name.split("/")[1]
    return path, file, file.read_bytes()


@pytest.mark.parametrize("name", DAMAGED)
def test_truncated(name, context, base, tmp_path):
    path, file, whole = damaged(base, tmp_path, name)
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        file.write_bytes(whole[:length])
        with refused(_c.ERROR_FORMAT, file):
            liblora.Model(context, path)


@pytest.mark.parametrize("name", DAMAGED)
def test_flipped_bits(name, context, base, tmp_path):
    """A flip that still reads as a model is one (in a number, say); any other is refused with the name of the file or
    tensor."""
    path, file, whole = damaged(base, tmp_path, name)
    numbers = random.Random(name)
    head = min(len(whole), 3000)  # most of the structure; the rest is numbers
    refusals = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(numbers.choice((1, 1, 3))):
            changed[numbers.randrange(head)] ^= 1 << numbers.randrange(8)
        file.write_bytes(changed)
        try:
            liblora.Model(context, path).close()
        except LoraError as error:
            refusals += 1
            assert error.status in (_c.ERROR_FORMAT, _c.ERROR_UNSUPPORTED, _c.ERROR_MISMATCH,
                                    _c.ERROR_NOT_FINITE), str(error)
            assert (str(path) in str(error) or "model.safetensors: tensor" in str(error) or
                    "base.gguf: tensor" in str(error)), str(error)
    assert refusals > 30


def test_wrong_shape(context, base, tmp_path):
    path = copy(base, tmp_path)
    name = "model.layers.1.self_attn.q_proj.weight"
    change_tensors(path, lambda tensors: tensors.update({name: tensors[name][:, :8].copy()}))
    with refused(_c.ERROR_MISMATCH, "model.safetensors", name, "16", "8"):
        liblora.Model(context, path)
    path = copy(base, tmp_path / "again")
    change_config(path, hidden_size=32)
    with refused(_c.ERROR_MISMATCH, "model.safetensors", "embed_tokens", "32", "16"):
        liblora.Model(context, path)


def test_missing_tensor(context, base, tmp_path):
    path = copy(base, tmp_path)
    change_tensors(path, lambda tensors: tensors.pop("model.norm.weight"))
    with refused(_c.ERROR_FORMAT, path, "model.norm.weight"):
        liblora.Model(context, path)


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
def test_weights_that_are_not_numbers(value, context, base, tmp_path):
    path = copy(base, tmp_path)
    name = "model.layers.0.mlp.up_proj.weight"

    def spoil(tensors):
        tensors[name][3, 5] = value
    change_tensors(path, spoil)
    with refused(_c.ERROR_NOT_FINITE, name):
        liblora.Model(context, path, check_finite=2)
    model = liblora.Model(context, path)  # mapped: found at the first use
    adapter = liblora.Adapter.create(model, r=2)
    with refused(_c.ERROR_NOT_FINITE, name):
        liblora.Trainer(adapter, liblora.Dataset.create(context, ROWS))


def test_unknown_family(context, base, tmp_path):
    path = copy(base, tmp_path)
    change_config(path, model_type="perceiver")
    with refused(_c.ERROR_UNSUPPORTED, "config.json", "perceiver", "llama"):
        liblora.Model(context, path)


def test_a_directory_may_not_name_files_outside_itself(context, base, tmp_path):
    path = copy(base, tmp_path)
    (path / "model.safetensors").rename(tmp_path / "model.safetensors")
    names = load_file(tmp_path / "model.safetensors")
    (path / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {name: "../model.safetensors" for name in names}}))
    with refused(_c.ERROR_FORMAT, "../model.safetensors", "index.json"):
        liblora.Model(context, path)


# ---- data -----------------------------------------------------------------------------------------------------------

GOOD = '{"instruction": "a", "input": "", "output": "b"}\n'


@pytest.mark.parametrize("name, content, status, parts", [
    ("empty.jsonl", b"", _c.ERROR_DATA, ["empty.jsonl", "no rows"]),
    ("empty.json", b"[]", _c.ERROR_DATA, ["empty.json", "no rows"]),
    ("row.jsonl", (GOOD + '{"instruction": "a", "input": "b"}\n').encode(), _c.ERROR_DATA, ["row.jsonl:2", "output"]),
    ("utf8.jsonl", GOOD.encode() + b'{"instruction": "\xff\xfe", "input": "", "output": "b"}\n', _c.ERROR_DATA,
     ["utf8.jsonl:2", "UTF-8"]),
    ("latin.csv", b"instruction,output\nca\xe9,b\n", _c.ERROR_DATA, ["latin.csv:2", "UTF-8"]),
    ("broken.jsonl", (GOOD + '{"instruction": \n').encode(), _c.ERROR_FORMAT, ["broken.jsonl:2"]),
    ("broken.json", b'[{"instruction": "a", "output": "b"},\n {"instruction"]', _c.ERROR_FORMAT,
     ["broken.json", "line 2, column 16"]),
    ("large.jsonl", b'{"input_ids": [1, 5, 104]}\n', _c.ERROR_DATA, ["large.jsonl:1", "104"]),
    ("label.jsonl", b'{"input_ids": [1, 5, 6], "labels": [-100, 5, 777]}\n', _c.ERROR_DATA, ["label.jsonl:1", "777"]),
    ("fewer.jsonl", b'{"input_ids": [1, 5, 6], "labels": [-100, 5]}\n', _c.ERROR_DATA, ["fewer.jsonl:1", "labels"]),
    ("keys.jsonl", b'{"colour": "red"}\n', _c.ERROR_DATA, ["keys.jsonl:1", "colour"]),
    ("cut.jsonl.gz", gzip.compress(GOOD.encode() * 50)[:40], _c.ERROR_FORMAT, ["cut.jsonl.gz"]),
    ("data.xlsx", b"PK", _c.ERROR_UNSUPPORTED, ["data.xlsx", ".jsonl"]),
])
def test_data(name, content, status, parts, context, model, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with refused(status, *parts):
        liblora.Dataset.load(context, path, model.tokenizer)


def test_data_that_is_not_there(context, model, tmp_path):
    with refused(_c.ERROR_NOT_FOUND, tmp_path / "none.jsonl"):
        liblora.Dataset.load(context, tmp_path / "none.jsonl", model.tokenizer)


@pytest.mark.parametrize("row, parts", [
    (([1, 5, 104, 2], None), ["104"]),
    (([1, 5, 6, 2], [-100, 5, 500, 2]), ["500"]),
    (([1] * 65, None), ["65", "64"]),
    (([1, 5, 6], [-100, -100, -100]), ["label"]),
])
def test_rows_that_the_model_cannot_learn(row, parts, context, adapter):
    data = liblora.Dataset.create(context, [row])
    with refused(_c.ERROR_DATA, *parts):
        liblora.Trainer(adapter, data)


def test_an_empty_data_set(context, adapter):
    with refused(_c.ERROR_DATA, "row"):
        liblora.Trainer(adapter, liblora.Dataset.create(context))


# ---- outputs --------------------------------------------------------------------------------------------------------

def outputs(model, adapter):
    return [lambda path: adapter.save(path / "out"), lambda path: model.save(path / "out"),
            lambda path: model.save(path / "out.gguf")]


@pytest.mark.parametrize("which", range(3))
def test_full_disk(which, model, adapter, tmp_path):
    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        outputs(model, adapter)[which](tmp_path)
    answer = in_child(work)
    assert answer.startswith(f"{_c.ERROR_IO} ") and "File too large" in answer and str(tmp_path / "out") in answer
    assert list(tmp_path.iterdir()) == []


def test_full_disk_during_training(context, model, adapter, tmp_path):
    """The step stands although its checkpoint could not be written, the next one goes on, and no half checkpoint
    stays."""
    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        trainer = liblora.Trainer(adapter, liblora.Dataset.create(context, ROWS), output=tmp_path / "run", max_steps=3,
                                  save_steps=1)
        failures = 0
        for _ in range(3):
            try:
                trainer.step()
            except LoraError as error:
                assert error.status == _c.ERROR_IO and "File too large" in str(error)
                failures += 1
        try:
            trainer.step()
        except LoraError as error:
            return failures, error.status, sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    assert in_child(work) == str((3, _c.ERROR_STATE, []))


@pytest.mark.parametrize("which", range(3))
def test_read_only_output(which, model, adapter, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o555)

    def work():
        give_up_root(place)
        outputs(model, adapter)[which](place)
    answer = in_child(work)
    assert answer.startswith(f"{_c.ERROR_IO} ") and "Permission denied" in answer and str(place / "out") in answer
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("which, name", [(0, "out"), (1, "out"), (2, "out.gguf")])
def test_two_processes_that_write_to_one_output(which, name, model, adapter, tmp_path):
    with open(tmp_path / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = in_child(lambda: outputs(model, adapter)[which](tmp_path))
        assert answer.startswith(f"{_c.ERROR_BUSY} ") and name in answer
    outputs(model, adapter)[which](tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_trainers_that_write_to_one_output(context, model, adapter, tmp_path):
    data = liblora.Dataset.create(context, ROWS)
    trainer = liblora.Trainer(adapter, data, output=tmp_path / "run", max_steps=2)
    trainer.step()
    other = liblora.Adapter.create(model, r=2)
    with refused(_c.ERROR_BUSY, tmp_path / "run"):
        liblora.Trainer(other, data, output=tmp_path / "run", max_steps=2)
    answer = in_child(lambda: liblora.Trainer(other, data, output=tmp_path / "run", max_steps=2))
    assert answer.startswith(f"{_c.ERROR_BUSY} ")
    trainer.step()
    trainer.close()
    with refused(_c.ERROR_EXISTS, tmp_path / "run"):  # another run's checkpoints are never overwritten unasked
        liblora.Trainer(other, data, output=tmp_path / "run", max_steps=1, save_steps=1).step()


@pytest.mark.parametrize("which, name", [(0, "out"), (1, "out"), (2, "out.gguf")])
def test_outputs_that_are_there_stay(which, name, model, adapter, tmp_path):
    outputs(model, adapter)[which](tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with refused(_c.ERROR_EXISTS, tmp_path / name):
        outputs(model, adapter)[which](tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_overwriting_leaves_other_files_alone(context, model, adapter, tmp_path):
    run = tmp_path / "run"
    data = liblora.Dataset.create(context, ROWS)
    with liblora.Trainer(adapter, data, output=run, max_steps=2, save_steps=1) as trainer:
        trainer.run()
    (run / "notes.txt").write_text("mine")
    adapter.save(run, overwrite=True)
    assert (run / "notes.txt").read_text() == "mine" and (run / "checkpoint-2").is_dir()
    liblora.Adapter.load(model, run)
    # A model takes the place of another: nothing of the old one is read as the new one's.
    place = tmp_path / "model"
    model.save(place)
    (place / "tokenizer.model").write_bytes(b"of another model")
    (place / "notes.txt").write_text("mine")
    model.save(place, overwrite=True)
    assert not (place / "tokenizer.model").exists() and (place / "notes.txt").read_text() == "mine"
