"""What `lora_model_quantize` writes, read by the packages that define the formats: transformers with bitsandbytes,
gguf-py; and what llama.cpp's own quantizers make, as the measure for the k types."""
import json
import os
import signal
import subprocess
import time

import gguf
import numpy
import pytest
import torch
import transformers

from . import k_reference, models
from liblora import Adapter, Context, LoraError, Model
from liblora import _c as types


@pytest.fixture(scope="module")
def context():
    return Context(threads=2)


@pytest.fixture(scope="module")
def plain(context, tmp_path_factory):
    return Model(context, models.save(models.small().to(torch.bfloat16), tmp_path_factory.mktemp("plain")))


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


# ---- directories -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_nf4_directories_load_in_transformers(context, plain, tmp_path, nested):
    import bitsandbytes
    report = plain.quantize(tmp_path / "nf4", type=types.TYPE_NF4, double_quantization=int(nested))
    assert report["quantized_tensors"] == 14 and report["other_tensors"] == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "nf4", device_map="cpu")
    ours = Model(context, tmp_path / "nf4")
    for name, module in theirs.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            assert isinstance(module, bitsandbytes.nn.Linear4bit)
            state = module.weight.quant_state
            assert state.nested == nested and state.dtype == torch.bfloat16
            state.dtype = torch.float32
            got = bitsandbytes.functional.dequantize_4bit(module.weight.data, state).numpy()
            assert (ours.tensors[name + ".weight"] == got).all(), name
            state.dtype = torch.bfloat16
    assert abs(os.path.getsize(tmp_path / "nf4" / "model.safetensors") -
               report["bytes"]) < 40_000  # header, maps, states


def test_double_quantization_loses_what_bitsandbytes_loses(context, plain, tmp_path):
    import bitsandbytes
    plain.quantize(tmp_path / "nf4", type=types.TYPE_NF4)
    plain.quantize(tmp_path / "nested", type=types.TYPE_NF4, double_quantization=1)
    once, twice = Model(context, tmp_path / "nf4"), Model(context, tmp_path / "nested")
    for name in plain.modules:
        if name == "lm_head":
            continue
        weight = torch.tensor(plain.tensors[name + ".weight"])
        packed, state = bitsandbytes.functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        theirs = bitsandbytes.functional.dequantize_4bit(packed, state).numpy()
        step = numpy.abs(theirs - once.tensors[name + ".weight"]).max()
        # The offset is a mean, added up in another order: an absmax in a hundred falls on the neighbouring code.
        assert (twice.tensors[name + ".weight"] != theirs).mean() < 0.05
        assert numpy.abs(twice.tensors[name + ".weight"] - once.tensors[name + ".weight"]).max() <= 1.01 * step


def test_int8_directories_load_in_transformers(context, plain, tmp_path):
    import bitsandbytes
    plain.quantize(tmp_path / "int8", type=types.TYPE_INT8)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "int8", device_map="cpu")
    ours = Model(context, tmp_path / "int8")
    for name, module in theirs.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            got = bitsandbytes.functional.int8_vectorwise_dequant(module.weight.data, module.weight.SCB).numpy()
            assert (ours.tensors[name + ".weight"] == got).all(), name


def test_layers_that_do_not_fit_stay(context, tmp_path):
    odd = Model(context, models.save(models.small(intermediate_size=144), tmp_path / "odd"))  # 144 is no multiple of 64
    report = odd.quantize(tmp_path / "nf4", type=types.TYPE_NF4)
    assert report["quantized_tensors"] == 12
    assert report["unquantized_tensors"] == 2 and report["unquantized_bytes"] == 2 * 256 * 144 * 4
    skipped = json.loads((tmp_path / "nf4" / "config.json").read_text())["quantization_config"]["llm_int8_skip_modules"]
    assert skipped == ["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "lm_head"]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "nf4", device_map="cpu")
    ours = Model(context, tmp_path / "nf4")
    name = "model.layers.0.mlp.down_proj.weight"
    assert (ours.tensors[name] == theirs.get_parameter(name).detach().float().numpy()).all()


def test_what_stays_in_a_gguf_file_is_counted(context, tmp_path):
    """Rows of 144 numbers: all but the down projections, which have 256; head and embedding are one tensor."""
    sizes = dict(hidden_size=144, intermediate_size=256, num_key_value_heads=4, tie_word_embeddings=True)
    models.save(models.small(**sizes), tmp_path / "odd")
    code, said = quantize(tmp_path / "odd", "--type", "q4_k", "--output", tmp_path / "m.gguf")
    weights = [tensor for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors if len(tensor.shape) == 2]
    stayed = [tensor for tensor in weights if tensor.tensor_type.name == "F32"]
    assert code == 0 and f"{len(weights) - len(stayed)} tensors quantized" in said
    size = sum(tensor.n_bytes for tensor in stayed) / 2**20
    assert f"{len(stayed)} more ({size:.1f} MB) stay as they are: their rows are no whole blocks of q4_k" in said


def test_sharded_models_keep_their_shards(context, tmp_path):
    models.small().save_pretrained(tmp_path / "plain", max_shard_size="2MB")
    sharded = Model(context, tmp_path / "plain")
    sharded.quantize(tmp_path / "nf4", type=types.TYPE_NF4, double_quantization=1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "nf4", device_map="cpu")
    ours = Model(context, tmp_path / "nf4")
    assert ours.info["type"] == types.TYPE_NF4 and theirs is not None
    index = json.loads((tmp_path / "nf4" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2


def test_saving_a_quantized_model_gives_plain_weights(context, plain, tmp_path):
    plain.quantize(tmp_path / "nf4", type=types.TYPE_NF4)
    quantized = Model(context, tmp_path / "nf4")
    quantized.save(tmp_path / "again")
    assert "quantization_config" not in json.loads((tmp_path / "again" / "config.json").read_text())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again", dtype=torch.float32)
    for name in quantized.modules:
        if name != "lm_head":
            want = torch.tensor(quantized.tensors[name + ".weight"]).half().float()
            assert torch.equal(theirs.get_parameter(name + ".weight"), want), name


def test_merging_unpacks(context, plain, tmp_path):
    plain.quantize(tmp_path / "nf4", type=types.TYPE_NF4)
    base = Model(context, tmp_path / "nf4")
    adapter = Adapter.create(base, r=4, lora_alpha=8.0)
    random = numpy.random.default_rng(5)
    for name in list(adapter.tensors):
        adapter.tensors[name] = random.normal(0, 0.1, adapter.tensors[name].shape).astype(numpy.float32)
    merged, _ = base.merge([adapter], type=types.TYPE_F32)
    name = "model.layers.0.self_attn.q_proj"
    a, b = (adapter.tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    want = base.tensors[name + ".weight"].astype(float) + 2.0 * b.astype(float) @ a.astype(float)
    assert numpy.abs(merged.tensors[name + ".weight"] - want).max() < 1e-6


# ---- GGUF ------------------------------------------------------------------------------------------------------------

KINDS = ["q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"]


@pytest.mark.parametrize("name", KINDS)
def test_gguf_files_read_in_gguf_py(context, plain, tmp_path, name):
    path = tmp_path / "model.gguf"
    report = plain.quantize(path, type=getattr(types, "TYPE_" + name.upper()))
    assert report["quantized_tensors"] == 16
    ours = Model(context, path)
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name.startswith("blk.") and "norm" not in tensor.name:
            assert tensor.tensor_type.name == name.upper()
            values = models.in_halves(gguf.quants.dequantize(tensor.data, tensor.tensor_type), tensor.name)
            assert (ours.tensors[models.huggingface_name(tensor.name)] == values).all(), tensor.name
        elif tensor.name in ("token_embd.weight", "output.weight"):
            assert tensor.tensor_type.name == ("Q8_0" if name == "q8_0" else "Q6_K")


def down_proj_in(context, path, name, numbers):
    """Numbers as the library quantizes them to a type, in the first rows of a matrix."""
    model = models.small()
    weight = model.model.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        weight[:len(numbers)] = torch.tensor(numbers)
    ours = Model(context, models.save(model, path), type=getattr(types, "TYPE_" + name.upper()))
    return ours.tensors["model.layers.0.mlp.down_proj.weight"][:len(numbers)]


@pytest.mark.parametrize("name", k_reference.NAMES)
def test_k_types_lose_no_more_than_llama_cpp(context, tmp_path, name):
    numbers, theirs = k_reference.load(name)
    ours = down_proj_in(context, tmp_path / "plain", name, numbers)
    lost = [(numpy.abs(numbers) * (values - numbers).astype(float) ** 2).sum() for values in (ours, theirs)]
    assert lost[0] <= lost[1], lost


@pytest.mark.parametrize("name", k_reference.NAMES)
def test_k_types_keep_to_their_step(context, tmp_path, name):
    """Evenly distributed numbers are off by a step / sqrt(12) in the root mean square, and by a tenth more for the
    groups' scales that are themselves rounded."""
    numbers = numpy.random.default_rng(9).uniform(-1, 1, (256, 512)).astype(numpy.float32)
    off = down_proj_in(context, tmp_path / "plain", name, numbers) - numbers
    step = {"q4_k": 2 / 15, "q5_k": 2 / 31, "q6_k": 1 / 32}[name]
    assert numpy.sqrt((off ** 2).mean()) <= 1.1 * step / numpy.sqrt(12)


def test_kinds_of_output(context, plain, tmp_path):
    with pytest.raises(LoraError, match="GGUF files have no nf4"):
        plain.quantize(tmp_path / "m.gguf", type=types.TYPE_NF4)
    with pytest.raises(LoraError, match="q4_0 is a type of GGUF files"):
        plain.quantize(tmp_path / "m", type=types.TYPE_Q4_0)
    with pytest.raises(LoraError, match="double_quantization is for nf4"):
        plain.quantize(tmp_path / "m", type=types.TYPE_INT8, double_quantization=1)
    with pytest.raises(LoraError, match="cancelled"):
        plain.quantize(tmp_path / "m", type=types.TYPE_NF4, progress=lambda fraction: True)
    assert not list(tmp_path.iterdir())


# ---- what can go wrong -----------------------------------------------------------------------------------------------


def quantize(*words):
    """The program's status and what it said."""
    done = subprocess.run([os.environ["LORA_PROGRAM"], "quantize", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
@pytest.mark.parametrize("name, output", [("nf4", "m"), ("q4_k", "m.gguf"), ("q8_0", "m.gguf")])
def test_numbers_that_are_not_finite_are_refused(context, tmp_path, value, name, output):
    model = models.small()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] = value
    damaged = Model(context, models.save(model, tmp_path / "damaged"))
    with pytest.raises(LoraError, match="model.layers.1.mlp.up_proj.weight' holds a NaN or infinite number"):
        damaged.quantize(tmp_path / output, type=getattr(types, "TYPE_" + name.upper()))
    assert os.listdir(tmp_path) == ["damaged"]


@pytest.mark.parametrize("name, output, block", [("nf4", "m", 64), ("q4_0", "m.gguf", 32), ("q4_k", "m.gguf", 256)])
def test_a_model_without_a_row_of_whole_blocks_is_refused(context, tmp_path, name, output, block):
    odd = models.small(hidden_size=136, intermediate_size=272, num_attention_heads=4, num_key_value_heads=4)
    odd = Model(context, models.save(odd, tmp_path / "odd"))
    with pytest.raises(LoraError, match=f"no layer can be {name}: their rows are no whole blocks of {block} numbers"):
        odd.quantize(tmp_path / output, type=getattr(types, "TYPE_" + name.upper()))
    assert os.listdir(tmp_path) == ["odd"]


def test_the_model_itself_is_not_overwritten(plain, tmp_path):
    plain.save(tmp_path / "m")
    plain.save(tmp_path / "m.gguf")
    (tmp_path / "link").symlink_to("m")
    for model, kind, output in ("m", "nf4", "m"), ("m/", "nf4", "link"), ("m.gguf", "q4_k", "m.gguf"):
        before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        code, complaint = quantize(tmp_path / model, "--type", kind, "--output", tmp_path / output, "--force")
        assert code == 1 and "is the model itself" in complaint
        assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_file_that_is_cut_off_is_refused(plain, tmp_path):
    plain.save(tmp_path / "m.gguf")
    whole = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[:-1000])
    code, complaint = quantize(tmp_path / "m.gguf", "--type", "q4_k", "--output", tmp_path / "small.gguf")
    assert code == 1 and "cut off" in complaint and os.listdir(tmp_path) == ["m.gguf"]


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    models.save(models.small(hidden_size=1024, intermediate_size=4096, num_hidden_layers=8), tmp_path / "m")
    process = subprocess.Popen([os.environ["LORA_PROGRAM"], "quantize", tmp_path / "m", "--type", "q4_k", "--output",
                                tmp_path / "s.gguf"])
    while process.poll() is None and not list(tmp_path.glob("s.gguf.tmp*")):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130 and os.listdir(tmp_path) == ["m"]


# ---- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, output", [("nf4", "small"), ("q4_0", "small.gguf")])
def test_quantizing_takes_a_few_tensors_of_memory(tmp_path, name, output):
    """240 MB of weights; the largest tensor has 8 MB."""
    config = transformers.LlamaConfig(**{**models.SIZES, "hidden_size": 1024, "intermediate_size": 2048,
                                         "num_hidden_layers": 7,
                                         "num_attention_heads": 16, "num_key_value_heads": 16})
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "large")
    size = os.path.getsize(tmp_path / "large" / "model.safetensors")
    result = subprocess.run([os.environ["LORA_PROGRAM"], "quantize", tmp_path / "large", "--type", name, "--output",
                             tmp_path / output, "--json"], capture_output=True, text=True, check=True)
    report = json.loads(result.stdout)
    assert size > 200e6 and report["peak_memory_bytes"] < 60e6
