"""Small random models as transformers, bitsandbytes and gguf-py write them."""
import gguf
import numpy
import torch
import transformers
from liblora import Model

SIZES = dict(vocab_size=96, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.1)


def small(**settings):
    torch.manual_seed(7)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SIZES, **settings})).eval()


def save(model, path):
    model.save_pretrained(path)
    return str(path)


def load_quantized(directory, output, nf4=False, nested=False, dtype=torch.float32):
    if nf4:
        settings = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=nested,
                        bnb_4bit_compute_dtype=dtype)
    else:
        settings = dict(load_in_8bit=True)
    config = transformers.BitsAndBytesConfig(**settings)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, quantization_config=config, dtype=dtype,
                                                              device_map="cpu")
    return save(model, output), model.eval()


def random_gguf(context, path, kind):
    """A GGUF file whose matrices are random blocks, and gguf-py's values of them by their Hugging Face names. Rows of q
    and k come in rotary pairs there: (2i, 2i + 1) in the file are (i, i + half) here."""
    plain = path / "plain.gguf"
    Model(context, save(small(), path / "plain")).save(plain)
    reader = gguf.GGUFReader(plain)
    writer = gguf.GGUFWriter(path / "blocks.gguf", "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value, kind_of = field.contents(), field.types[0]
        writer.add_key_value(field.name, value, kind_of,
                             field.types[1] if kind_of == gguf.GGUFValueType.ARRAY else None)
    random, values = numpy.random.default_rng(3), {}
    block, size = gguf.GGML_QUANT_SIZES[kind]
    for tensor in reader.tensors:
        if not tensor.name.startswith("blk.") or "norm" in tensor.name:
            writer.add_tensor(tensor.name, tensor.data)
            continue
        cols, rows = tensor.shape
        data = random.integers(0, 256, (rows, cols // block, size), dtype=numpy.uint8)
        for at in halves(kind):
            data[..., at:at + 2] = random.uniform(-0.03, 0.03,
                                                  data.shape[:2]).astype(numpy.float16)[..., None].view(numpy.uint8)
        data = data.reshape(rows, -1)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
        values[huggingface_name(tensor.name)] = in_halves(gguf.quants.dequantize(data, kind), tensor.name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path / "blocks.gguf", values


def halves(kind):
    """Where a block's f16 numbers lie."""
    if kind == gguf.GGMLQuantizationType.Q6_K:
        return [208]
    return [0, 2] if kind.name in ("Q4_1", "Q5_1", "Q4_K", "Q5_K") else [0]


def huggingface_name(name):
    modules = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
               "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
               "ffn_down": "mlp.down_proj"}
    _, layer, module, _ = name.split(".")
    return f"model.layers.{layer}.{modules[module]}.weight"


def in_halves(values, name):
    if ".attn_q." not in name and ".attn_k." not in name:
        return values
    dim = SIZES["hidden_size"] // SIZES["num_attention_heads"]
    return values.reshape(-1, dim // 2, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
