"""safetensors, GGUF and JSON against Python's own packages, both ways (through tensor_file_tool)."""
import json
import os
import pathlib
import random
import struct
import subprocess
import zlib

import gguf
import numpy
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

TOOL = os.environ["TENSOR_FILE_TOOL"]
DATA = pathlib.Path(os.environ.get("LIBLORA_SHARED", "../shared")) / "data"


def tool(*arguments, text=None):
    done = subprocess.run([TOOL, *map(str, arguments)], input=text, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def crc(tensor):
    return zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


# ---- safetensors ---------------------------------------------------------------------------------------------------

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32", torch.float64: "F64",
         torch.int64: "I64", torch.uint8: "U8", torch.bool: "BOOL", torch.int16: "I16", torch.int8: "I8",
         torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"}
WRITTEN = ("F32", "F16", "BF16", "I32")


def check_safetensors(path):
    dumped = json.loads(tool("dump", path))
    with safe_open(path, framework="pt") as file:
        assert dumped["format"] == (file.metadata() or {}).get("format")
        assert sorted(t["name"] for t in dumped["tensors"]) == sorted(file.keys())
        for entry in dumped["tensors"]:
            tensor = file.get_tensor(entry["name"])
            assert entry["type"] == NAMES[tensor.dtype]
            assert entry["shape"] == list(tensor.shape)
            assert entry["crc"] == crc(tensor)
    return dumped


def test_safetensors_of_every_type(tmp_path):
    torch.manual_seed(1)
    for kinds, name in ((NAMES, "all"), ([k for k in NAMES if NAMES[k] in WRITTEN], "written")):
        tensors = {}
        for i, kind in enumerate(kinds):
            for shape in ((), (3,), (2, 5), (1, 2, 3), (2, 1, 3, 2), (0, 4)):
                tensors[f"层.{i}.{len(shape)}.{sum(shape)} \"x\""] = (torch.randn(shape) * 50).to(kind)
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path, metadata={"format": "pt", "other": "é"})
        ours = check_safetensors(path)
        if name == "written":
            copy = tmp_path / "copy.safetensors"
            tool("copy", path, copy)
            assert check_safetensors(copy) == ours


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data here")
def test_real_safetensors(tmp_path):
    paths = sorted(DATA.glob("**/*.safetensors"))
    assert paths
    for path in paths:
        ours = check_safetensors(path)
        tool("copy", path, tmp_path / "copy.safetensors")
        assert check_safetensors(tmp_path / "copy.safetensors") == ours


# ---- GGUF ----------------------------------------------------------------------------------------------------------

def key_value(field):
    kind = field.types[0]
    if kind != gguf.GGUFValueType.ARRAY:
        return field.contents()
    if field.types[1] == gguf.GGUFValueType.STRING:
        return field.contents()
    if field.types[1] in (gguf.GGUFValueType.FLOAT32, gguf.GGUFValueType.INT32):
        raw = b"".join(field.parts[i].tobytes() for i in field.data)
        return [len(field.data), zlib.crc32(raw)]
    return []


def check_gguf(path):
    dumped = json.loads(tool("dump", path))
    reader = gguf.GGUFReader(path)
    expected = {key: key_value(field) for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert dumped["keys"] == json.loads(json.dumps(expected, default=float))
    assert [t["name"] for t in dumped["tensors"]] == [t.name for t in reader.tensors]
    for entry, tensor in zip(dumped["tensors"], reader.tensors, strict=True):
        assert entry["type"] == tensor.tensor_type.name.lower()
        assert entry["shape"] == [int(n) for n in reversed(tensor.shape)]
        assert entry["crc"] == zlib.crc32(tensor.data.tobytes())
    return dumped


def test_gguf_of_every_type(tmp_path):
    path = tmp_path / "all.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("k.u8", 200), writer.add_int8("k.i8", -100), writer.add_uint16("k.u16", 60000)
    writer.add_int16("k.i16", -30000), writer.add_uint32("k.u32", 4000000000), writer.add_int32("k.i32", -5)
    writer.add_uint64("k.u64", 1 << 50), writer.add_int64("k.i64", -(1 << 50)), writer.add_float32("k.f32", 0.1)
    writer.add_float64("k.f64", 0.1), writer.add_bool("k.bool", True), writer.add_string("k.text", "你好 \"x\"\n")
    (writer.add_array("k.texts", ["a", "", "é"]), writer.add_array("k.reals", [0.5, -1.0]),
     writer.add_array("k.ints", [1, -2]))
    random_numbers = numpy.random.default_rng(1)
    for i, kind in enumerate((numpy.float32, numpy.float16, numpy.int32, numpy.int8, numpy.int64, numpy.float64)):
        writer.add_tensor(f"t{i}", (random_numbers.standard_normal((3, 1, 32)) * 50).astype(kind))
    quants = gguf.GGMLQuantizationType
    for kind in (quants.Q8_0, quants.Q4_0, quants.Q5_1, quants.BF16):
        rows = gguf.quantize(random_numbers.standard_normal((4, 64)).astype(numpy.float32), kind)
        writer.add_tensor(kind.name, rows, raw_dtype=kind)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    check_gguf(path)


def test_gguf_copy(tmp_path):
    path, copy = tmp_path / "x.gguf", tmp_path / "copy.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("k.texts", ["a", "", "é"]), writer.add_float64("k.f64", 0.1), writer.add_int16("k.i16", -3)
    for n in (1, 5, 32, 33):
        writer.add_tensor(f"t{n}", numpy.arange(n, dtype=numpy.float32))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    ours = check_gguf(path)
    tool("copy", path, copy)
    assert check_gguf(copy) == ours


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data here")
def test_real_gguf(tmp_path):
    model = DATA / "models" / "stories260K" / "stories260K.gguf"
    ours = check_gguf(model)
    assert len(ours["tensors"]) > 40
    tool("copy", model, tmp_path / "copy.gguf")
    assert check_gguf(tmp_path / "copy.gguf") == ours
    check_gguf(DATA / "tokenizers" / "llama.cpp-vocab" / "ggml-vocab-gpt-2.gguf")


# ---- JSON ----------------------------------------------------------------------------------------------------------

def random_value(draw, depth):
    kind = draw.randrange(8 if depth < 4 else 6)
    if kind == 0:
        return draw.choice([None, True, False])
    if kind == 1:
        return draw.randrange(-(1 << 62), 1 << 62)
    if kind == 2:
        bits = struct.unpack("<d", draw.randbytes(8))[0]
        return bits if bits - bits == 0 else 0.5
    if kind == 3:
        return round(draw.uniform(-1e6, 1e6), draw.randrange(8))
    if kind in (4, 5):
        return "".join(chr(draw.choice([draw.randrange(1, 128), draw.randrange(160, 0xD800), 0x1F600]))
                       for _ in range(draw.randrange(8)))
    if kind == 6:
        return [random_value(draw, depth + 1) for _ in range(draw.randrange(5))]
    return {f"k{draw.randrange(99)}\n": random_value(draw, depth + 1)
            for _ in range(draw.randrange(5))}


def test_json_is_written_as_python_writes_it():
    value = [random_value(random.Random(seed), 0) for seed in range(2000)]
    expected = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    assert tool("json", text=json.dumps(value).encode()) == expected
