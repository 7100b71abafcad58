"""`cache_quantized`: weights quantized once, kept in the model's folder, and mapped from there at later loads. What is
compared with is the same model quantized at load."""
import fcntl
import json
import os
import pathlib
import resource
import signal
import subprocess
import time

import pytest
import torch
import transformers

import liblora
from liblora import Adapter, Context, Dataset, LoraError, Model, Session
from liblora import _c as types
from fault.child import give_up_root, in_child
from parity import reference

from . import models

KINDS = {"nf4": types.TYPE_NF4, "int8": types.TYPE_INT8}


@pytest.fixture
def directory(tmp_path):
    return pathlib.Path(models.save(models.small().to(torch.bfloat16), tmp_path / "model"))


def load(directory, kind="nf4", cached=True):
    """The model, and what its load warned of."""
    warnings = []
    context = Context(threads=2, log=lambda level, line: warnings.append(line))
    return Model(context, directory, type=KINDS[kind], cache_quantized=int(cached)), warnings


def cache_of(directory, kind="nf4"):
    return directory / f"quantized-{kind}.cache"


def assert_same(model, want):
    assert model.info == want.info  # with path and fingerprint
    for name in want.tensors:
        assert (model.tensors[name] == want.tensors[name]).all(), name


def spoil(path):
    """Other bytes in a file of the same size and time."""
    info = path.stat()
    path.write_bytes(bytes(info.st_size))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


# ---- the same bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", ["100GB", "400KB"])
@pytest.mark.parametrize("sizes", [{}, dict(intermediate_size=144, attention_bias=True, tie_word_embeddings=True)],
                         ids=["plain", "odd"])
def test_later_loads_read_the_cache_alone(tmp_path, kind, shards, sizes):
    models.small(**sizes).to(torch.bfloat16).save_pretrained(tmp_path / "model", max_shard_size=shards)
    want, _ = load(tmp_path / "model", kind, cached=False)
    first, warnings = load(tmp_path / "model", kind)
    assert_same(first, want)
    assert warnings == []
    shards = list((tmp_path / "model").glob("*.safetensors"))
    assert (len(shards) > 1) == (tmp_path / "model" / "model.safetensors.index.json").exists()
    values = {name: want.tensors[name] for name in want.tensors}
    info = want.info
    del want, first
    for shard in shards:
        spoil(shard)
    later, warnings = load(tmp_path / "model", kind)
    assert later.info == info and warnings == []
    for name, value in values.items():
        assert (later.tensors[name] == value).all(), name
    mapped = pathlib.Path("/proc/self/maps").read_text()
    assert all(str(cache_of(tmp_path / "model", kind) / shard.name) in mapped
               and str(shard) not in mapped for shard in shards)


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_answers_have_the_same_bits(directory, tmp_path, kind):
    def run(cached, output):
        model, warnings = load(directory, kind, cached)
        adapter = Adapter.create(model, r=4, lora_alpha=8.0, seed=3)
        rows = Dataset.create(model._keep, reference.make_rows())
        with liblora.Trainer(adapter, rows, max_steps=5, batch_size=4, learning_rate=5e-3, seed=3) as trainer:
            losses = [step.loss for step in trainer]
        adapter.save(output)
        answer, _ = Session(model, [adapter]).generate([1, 5, 9, 12], max_new_tokens=12, ignore_end=1)
        merged, _ = model.merge([adapter])
        merged.save(output / "merged")
        assert warnings == []
        return losses, answer

    runs = {name: run(name != "at load", tmp_path / name) for name in ("at load", "written", "mapped")}
    files = [path.relative_to(tmp_path / "at load") for path in (tmp_path / "at load").rglob("*") if path.is_file()]
    assert len(files) >= 5
    for name in ("written", "mapped"):
        assert runs[name] == runs["at load"]
        for file in files:
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "at load" / file).read_bytes(), file


def test_adapters_name_the_model_itself(directory, tmp_path):
    load(directory)
    mapped, _ = load(directory)
    assert mapped.info["path"] == str(directory)
    Adapter.create(mapped, r=4).save(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(directory)
    Adapter.load(Model(Context(threads=2), directory), tmp_path / "adapter", allow_unchanged=True)


def test_the_cache_is_a_model_that_transformers_reads(directory):
    import bitsandbytes
    want, _ = load(directory)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(cache_of(directory), device_map="cpu")
    weight = theirs.model.layers[1].mlp.down_proj.weight
    weight.quant_state.dtype = torch.float32
    values = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
    assert (values.numpy() == want.tensors["model.layers.1.mlp.down_proj.weight"]).all()


# ---- a model that changed --------------------------------------------------------------------------------------------


def test_a_model_that_changed_is_quantized_anew(directory, tmp_path):
    load(directory)
    torch.manual_seed(8)
    other = models.small()
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight.normal_(0, 0.1)
    models.save(other.to(torch.bfloat16), directory)
    want, _ = load(directory, cached=False)
    for _ in range(2):
        model, warnings = load(directory)
        assert_same(model, want)
        assert warnings == []


def test_one_change_of_time_is_a_change(directory):
    load(directory)
    weights = directory / "model.safetensors"
    before = (cache_of(directory) / "quantized_from.json").read_text()
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    load(directory)
    after = (cache_of(directory) / "quantized_from.json").read_text()
    assert before != after and f'"modified": {weights.stat().st_mtime_ns}' in after


def test_fewer_shards_leave_none_of_the_old(directory):
    models.small().save_pretrained(directory, max_shard_size="400KB")
    (directory / "model.safetensors").unlink()
    load(directory)
    for file in directory.glob("model-*"):
        file.unlink()
    (directory / "model.safetensors.index.json").unlink()
    models.save(models.small(), directory)
    load(directory)
    assert [path.name for path in cache_of(directory).glob("model*")] == ["model.safetensors"]
    assert load(directory)[1] == []


# ---- what can go wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_made_anew(directory, damage):
    want, _ = load(directory)
    weights = cache_of(directory) / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    if damage == "cut":
        weights.write_bytes(whole[:-1000])
    model, warnings = load(directory)
    assert_same(model, want)
    assert len(warnings) == 1 and "damaged and made anew" in warnings[0] and str(cache_of(directory)) in warnings[0]
    assert weights.read_bytes() == whole and load(directory)[1] == []


def loaded_by_child(directory, limit):
    """[fingerprint, warnings] of a load in a process that `limit` was called in first."""
    def work():
        limit()
        model, warnings = load(directory)
        return json.dumps([model.info["fingerprint"], warnings])
    return json.loads(in_child(work))


def assert_goes_on_without(directory, limit, reason):
    want, _ = load(directory, cached=False)
    before = sorted(path.name for path in directory.iterdir())
    fingerprint, warnings = loaded_by_child(directory, limit)
    assert fingerprint == want.info["fingerprint"]
    assert len(warnings) == 1 and "not kept for the next load" in warnings[0] and reason in warnings[0]
    assert sorted(path.name for path in directory.iterdir()) == before


def test_a_full_disk(directory):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert_goes_on_without(directory, limit, "File too large")


def test_a_read_only_folder(directory):
    (directory / "model.safetensors").chmod(0o644)
    directory.chmod(0o555)
    assert_goes_on_without(directory, lambda: give_up_root(directory), "Permission denied")
    directory.chmod(0o755)
    want, _ = load(directory)
    directory.chmod(0o555)
    assert loaded_by_child(directory, lambda: give_up_root(directory)) == [want.info["fingerprint"], []]


def test_two_processes_at_once(directory):
    lock = directory / "quantized-nf4.cache.lock"
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert_goes_on_without(directory, lambda: None, "another run is writing to it")
    lock.unlink()
    assert load(directory)[1] == [] and cache_of(directory).is_dir()


def test_a_kill_in_the_middle(tmp_path):
    large = models.small(hidden_size=1024, intermediate_size=4096, num_hidden_layers=4)
    directory = pathlib.Path(models.save(large, tmp_path / "model"))
    process = subprocess.Popen([os.environ["LORA_PROGRAM"], "plan", directory, "--max-length", "8", "--quantize", "nf4",
                                "--cache-quantized"], stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(directory.glob("quantized-nf4.cache.tmp*")):
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not cache_of(directory).exists()
    model, warnings = load(directory)
    assert warnings == []
    assert_same(model, load(directory, cached=False)[0])
    assert sorted(path.name for path in directory.iterdir()
                  if path.name.startswith("quantized")) == ["quantized-nf4.cache"]


def test_layers_of_another_quantized_type_are_not_kept(directory, tmp_path):
    """Rows of 144 numbers fit int8, but not nf4: a directory would hold them as f16."""
    plain = models.save(models.small(intermediate_size=144), tmp_path / "plain")
    Model(Context(threads=2), plain).quantize(tmp_path / "int8", type=types.TYPE_INT8)
    _, warnings = load(tmp_path / "int8")
    assert len(warnings) == 1 and "mlp.down_proj.weight' stays int8" in warnings[0]
    assert not cache_of(tmp_path / "int8").exists()


def test_what_has_no_cache_is_refused(directory, tmp_path):
    context = Context(threads=2)
    Model(context, directory).save(tmp_path / "model.gguf")
    with pytest.raises(LoraError, match="`cache_quantized` is for directories"):
        Model(context, tmp_path / "model.gguf", type=types.TYPE_NF4, cache_quantized=1)
    for kind in types.TYPE_KEEP, types.TYPE_BF16, types.TYPE_Q4_K:
        with pytest.raises(LoraError, match="cache_quantized is for the types int8 and nf4"):
            Model(context, directory, type=kind, cache_quantized=1)
    with pytest.raises(LoraError, match="initialize"):
        Model(context, directory, type=types.TYPE_NF4, initialize=1, cache_quantized=1)
    with pytest.raises(LoraError, match="config.json: there is no such file"):
        Model(context, tmp_path / "nothing", type=types.TYPE_NF4, cache_quantized=1)
    assert not list(tmp_path.rglob("*.cache*"))
