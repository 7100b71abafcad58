"""Finds what the Python tests need, below the build folder LIBLORA_BUILD (default: build): the library, the program,
the tools that do one room's work for a test. LIBLORA_SHARED is the folder of the developers' data; tests that need it
are skipped where it is not."""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("LIBLORA_BUILD", ROOT / "build")).resolve()
for name, path in {
    "LIBLORA_LIBRARY": "src/liblora.so",
    "LORA_PROGRAM": "examples/lora",
    "LIBLORA_ADAPTER_TOOL": "tests/adapter/adapter_tool",
    "LIBLORA_DATA_TOOL": "tests/data/data_tool",
    "LIBLORA_PASS_TOOL": "tests/model/pass_tool",
    "LIBLORA_RENDER_TOOL": "tests/text/render_tool",
    "LIBLORA_SAMPLER_TOOL": "tests/infer/sampler_tool",
    "LIBLORA_TOKENIZE_TOOL": "tests/text/tokenize_tool",
    "TENSOR_FILE_TOOL": "tests/lib/tensor_file_tool",
}.items():
    os.environ.setdefault(name, str(BUILD / path))
os.environ.setdefault("LIBLORA_SHARED", str(ROOT.parent / "shared"))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(ROOT / "bindings" / "python"))
