"""Numbers in the k types as llama.cpp's own quantizers make them, stored in k_reference.npz.

    python tests/quantize/k_reference.py      writes it anew; needs the package llama-cpp-python (0.3.36 wrote what is
    stored)
"""
import ctypes
import pathlib

import gguf
import numpy

STORED = pathlib.Path(__file__).with_suffix(".npz")
NAMES = ["q4_k", "q5_k", "q6_k"]


def load(name):
    """The numbers, [rows, cols], and their values after llama.cpp's quantizing."""
    stored = numpy.load(STORED)
    return (stored["numbers"].astype(numpy.float32),
            gguf.quants.dequantize(stored[name], gguf.GGMLQuantizationType[name.upper()]))


def quantize(numbers, name):
    import llama_cpp
    library = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name.upper()]]
    numbers = numpy.ascontiguousarray(numbers, numpy.float32)
    out = numpy.empty((len(numbers), numbers.shape[1] // block * size), numpy.uint8)
    getattr(library, f"quantize_row_{name[:2]}_K_ref")(numbers.ctypes.data_as(ctypes.c_void_p),
                                                       out.ctypes.data_as(ctypes.c_void_p),
                                                       ctypes.c_int64(numbers.size))
    return out


if __name__ == "__main__":
    random = numpy.random.default_rng(11)
    numbers = random.normal(0, 0.02, (8, 512))
    numbers[4:] *= numpy.exp(random.normal(0, 0.5, (4, 512)))  # heavier tails, as trained weights have them
    numbers = numbers.astype(numpy.float16)
    numpy.savez(STORED, numbers=numbers, **{name: quantize(numbers, name) for name in NAMES})
