"""Finds what the Python tests need: the built library (LIBLORA_LIBRARY), the program (LORA_PROGRAM) and the test data
(LIBLORA_SHARED). tests/run.sh sets them; by hand, the build folder `build` is taken."""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("LIBLORA_LIBRARY", str(ROOT / "build" / "src" / "liblora.so"))
os.environ.setdefault("LORA_PROGRAM", str(ROOT / "build" / "examples" / "lora"))
os.environ.setdefault("LIBLORA_SHARED", str(ROOT.parent / "shared"))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(ROOT / "bindings" / "python"))
