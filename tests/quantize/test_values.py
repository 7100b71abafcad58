"""Weights in every storage type, held against the packages that define them: bitsandbytes (nf4 with and without double
quantization, int8) and gguf-py (GGUF's blocks), number by number."""
import gguf
import numpy
import pytest
import torch

from . import models
from liblora import Context, LoraError, Model
from liblora import _c as types

BLOCKS = {"q8_0": types.TYPE_Q8_0, "q4_0": types.TYPE_Q4_0, "q4_1": types.TYPE_Q4_1, "q5_0": types.TYPE_Q5_0,
          "q5_1": types.TYPE_Q5_1, "q4_k": types.TYPE_Q4_K, "q5_k": types.TYPE_Q5_K, "q6_k": types.TYPE_Q6_K}


@pytest.fixture(scope="module")
def context():
    return Context(threads=2)


def quantized(model, path, **settings):
    """A model's directory as transformers with bitsandbytes writes it, and the model."""
    return models.load_quantized(models.save(model, path / "plain"), path / "quantized", **settings)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nf4_checkpoints_have_the_values_of_bitsandbytes(tmp_path, context, nested, dtype):
    import bitsandbytes
    directory, theirs = quantized(models.small(), tmp_path, nf4=True, nested=nested, dtype=dtype)
    ours = Model(context, directory)
    assert ours.info["type"] == types.TYPE_NF4
    count = 0
    for name, module in theirs.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            state = module.weight.quant_state
            state.dtype = torch.float32  # before it is rounded to what they compute with
            want = bitsandbytes.functional.dequantize_4bit(module.weight.data, state).numpy()
            assert (ours.tensors[name + ".weight"] == want).all(), name
            count += 1
    assert count == 14
    head = theirs.lm_head.weight.detach().float().numpy()
    assert (ours.tensors["lm_head.weight"] == head).all()


def test_int8_checkpoints_have_the_values_of_bitsandbytes(tmp_path, context):
    import bitsandbytes
    directory, theirs = quantized(models.small(), tmp_path, dtype=torch.float16)
    ours = Model(context, directory)
    assert ours.info["type"] == types.TYPE_INT8
    count = 0
    for name, module in theirs.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            want = bitsandbytes.functional.int8_vectorwise_dequant(module.weight.data, module.weight.SCB).numpy()
            assert (ours.tensors[name + ".weight"] == want).all(), name
            count += 1
    assert count == 14


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nf4_made_at_load_is_bitsandbytes_own(tmp_path, context, dtype):
    import bitsandbytes
    model = models.small().to(dtype)
    ours = Model(context, models.save(model, tmp_path / "plain"), type=types.TYPE_NF4)
    assert ours.info["type"] == types.TYPE_NF4
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            packed, state = bitsandbytes.functional.quantize_4bit(module.weight.detach(), quant_type="nf4")
            state.dtype = torch.float32
            want = bitsandbytes.functional.dequantize_4bit(packed, state).numpy()
            assert (ours.tensors[name + ".weight"] == want).all(), name


def test_int8_made_at_load_is_bitsandbytes_own(tmp_path, context):
    import bitsandbytes
    model = models.small().half()
    ours = Model(context, models.save(model, tmp_path / "plain"), type=types.TYPE_INT8)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            codes, scales, _ = bitsandbytes.functional.int8_vectorwise_quant(module.weight.detach())
            want = bitsandbytes.functional.int8_vectorwise_dequant(codes, scales).numpy()
            assert (ours.tensors[name + ".weight"] == want).all(), name


@pytest.mark.parametrize("name", [n for n in BLOCKS if not n.endswith("k")])
def test_blocks_made_at_load_are_those_of_gguf(tmp_path, context, name):
    model = models.small()
    with torch.no_grad():  # a step of 1 for q8_0, and what rounding must tell apart
        model.model.layers[0].mlp.up_proj.weight[0, :8] = torch.tensor([127, 0.5, 0.49999997, 1.5, 2.5,
                                                                        -0.5, -0.49999997, -2.5])
    ours = Model(context, models.save(model, tmp_path / "plain"), type=BLOCKS[name])
    kind = gguf.GGMLQuantizationType[name.upper()]
    for module_name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module_name != "lm_head":
            want = gguf.quants.dequantize(gguf.quants.quantize(module.weight.detach().numpy(), kind), kind)
            assert (ours.tensors[module_name + ".weight"] == want).all(), module_name


@pytest.mark.parametrize("name", BLOCKS)
def test_gguf_blocks_have_the_values_of_gguf(tmp_path, context, name):
    kind = gguf.GGMLQuantizationType[name.upper()]
    path, want = models.random_gguf(context, tmp_path, kind)
    ours = Model(context, path)
    assert ours.info["type"] == BLOCKS[name]
    for tensor, values in want.items():
        assert (ours.tensors[tensor] == values).all(), tensor


@pytest.mark.parametrize("name", [*BLOCKS, "nf4", "int8"])
def test_every_instruction_set_makes_the_same_numbers(tmp_path, name):
    model = models.small()
    weight = model.model.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        weight[0] = 0
        weight[1] = -0.25
        weight[2, :32] *= 1e-20
        weight[3, ::7] *= 1e4
    directory = models.save(model, tmp_path / "plain")
    plain, avx2, avx512 = (Model(Context(cpu_features=features), directory, type=getattr(types, "TYPE_" + name.upper()))
                           for features in (0, 1, 3))
    for module in plain.modules:
        want = plain.tensors[module + ".weight"]
        assert numpy.isfinite(want).all() and numpy.abs(want).max() > 0.1
        assert ((avx2.tensors[module + ".weight"] == want).all() and
                (avx512.tensors[module + ".weight"] == want).all()), module
