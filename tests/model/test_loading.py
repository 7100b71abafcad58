"""Directories, GGUF and llama2.c files: what loads gives transformers' numbers, what is wrong is said in one line."""
import json
import pathlib
import struct

import gguf
import numpy
import pytest
import safetensors.torch
import torch
import transformers

import reference
from reference import (LLAMA3, SHARED, log_softmax, make_model, random_spans, read, reference_logits, run_tool,
                       save_model)

SPANS = random_spans([20, 6], seed=20)


def assert_same_logits(model, tmp_path, path, bound=1e-4, **request):
    output = run_tool(tmp_path, model=str(path), command="logits", spans=SPANS, **request)
    ours = log_softmax(read(output, "logits", -1, model.config.vocab_size))
    assert numpy.abs(ours - log_softmax(reference_logits(model, SPANS))).max() < bound


def info(tmp_path, path, **request):
    return json.loads((run_tool(tmp_path, model=str(path), command="tensors", spans=[],
                                **request) / "info.json").read_text())


def edit_config(directory, **changes):
    path = pathlib.Path(directory) / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


def edit_tensors(directory, change):
    path = pathlib.Path(directory) / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path)


def refusal(tmp_path, path, **request):
    return run_tool(tmp_path, expect_failure=True, model=str(path), command="logits", spans=SPANS, **request)


# ---- Hugging Face directories ----------------------------------------------------------------------------------------


def test_tensors_and_modules_are_those_of_transformers(tmp_path):
    model = make_model("qwen2")
    path = save_model(model, tmp_path / "model")
    said = info(tmp_path, path)
    assert said["family"] == "qwen2" and said["tied"] and said["type"] == "f32"
    assert said["parameters"] == sum(p.numel() for p in model.parameters())
    assert said["bytes"] == 4 * said["parameters"]
    assert said["modules"] == [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for name, parameter in model.named_parameters():
        assert (read(tmp_path / "output", name, *parameter.shape) == parameter.detach().numpy()).all()


def test_shards(tmp_path):
    model = make_model("qwen3")
    save_model(model, tmp_path / "model", max_shard_size="60KB")
    assert len(list((tmp_path / "model").glob("model-*.safetensors"))) > 2
    assert_same_logits(model, tmp_path, tmp_path / "model")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("load_as", ["keep", "f32"])
def test_half_precision_weights(dtype, load_as, tmp_path):
    model = make_model("llama-biases").to(dtype)
    path = save_model(model, tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    assert_same_logits(model, tmp_path, path, type=load_as)
    said = info(tmp_path, path, type=load_as)
    assert said["type"] == ("f32" if load_as == "f32" else {torch.float16: "f16", torch.bfloat16: "bf16"}[dtype])
    # Widening is exact.
    for name, parameter in model.named_parameters():
        assert (read(tmp_path / "output", name, *parameter.shape) == parameter.detach().numpy()).all()


@pytest.mark.parametrize("load_as", ["f16", "bf16"])
def test_narrowing_rounds_as_torch_does(load_as, tmp_path):
    model = make_model("llama")
    path = save_model(model, tmp_path / "model")
    run_tool(tmp_path, model=path, command="tensors", spans=[], type=load_as)
    for name, parameter in model.named_parameters():
        dtype = {"f16": torch.float16, "bf16": torch.bfloat16}[load_as]
        expected = parameter.to(dtype).float() if parameter.ndim == 2 else parameter
        assert (read(tmp_path / "output", name, *parameter.shape) == expected.detach().numpy()).all(), name


def test_configs_of_transformers_4(tmp_path):
    model = make_model("llama-3")
    path = save_model(model, tmp_path / "model")
    scaling = {key: value for key, value in LLAMA3.items() if key != "rope_theta"}
    edit_config(path, rope_parameters="absent", dtype="absent", rope_theta=LLAMA3["rope_theta"], rope_scaling=scaling,
                torch_dtype="float32")
    assert_same_logits(model, tmp_path, path)
    linear = make_model("llama-linear")
    path = save_model(linear, tmp_path / "linear")
    edit_config(path, rope_parameters="absent", rope_theta=20000.0, rope_scaling={"type": "linear", "factor": 2.5})
    assert_same_logits(linear, tmp_path, path)


def test_tied_head_that_is_in_the_file(tmp_path):
    model = make_model("llama-tied")
    path = save_model(model, tmp_path / "model")
    edit_tensors(path, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))
    assert info(tmp_path, path)["tied"]
    assert_same_logits(model, tmp_path, path)
    # Another head than the embedding: transformers keeps both.
    edit_tensors(path, lambda tensors: tensors.update({"lm_head.weight": tensors["lm_head.weight"] * 2}))
    assert not info(tmp_path, path)["tied"]
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight * 2)
    assert_same_logits(model, tmp_path, path)


def test_end_tokens_of_both_configs(tmp_path):
    path = save_model(make_model("llama"), tmp_path / "model")
    edit_config(path, eos_token_id=[7, 9])
    (pathlib.Path(path) / "generation_config.json").write_text('{"eos_token_id": [9, 11]}')
    assert info(tmp_path, path)["end_tokens"] == [7, 9, 11]


def test_fingerprint_tells_models_apart(tmp_path):
    path = save_model(make_model("llama"), tmp_path / "model")
    first = info(tmp_path, path)["fingerprint"]
    assert info(tmp_path, path)["fingerprint"] == first
    edit_tensors(path, lambda tensors: tensors["model.norm.weight"].add_(1e-3))
    assert info(tmp_path, path)["fingerprint"] != first


def test_random_initialization(tmp_path):
    model = make_model("qwen3-tied")
    (tmp_path / "model").mkdir()
    model.config.save_pretrained(tmp_path / "model")
    request = dict(model=str(tmp_path / "model"), command="tensors", spans=[], initialize=True)
    output = run_tool(tmp_path, **request, seed=1)
    matrices = []
    for name, parameter in model.named_parameters():
        values = read(output, name, *parameter.shape)
        if parameter.ndim == 2:
            matrices.append(values.ravel())
        else:
            assert (values == (0 if name.endswith("bias") else 1)).all()
    values = numpy.concatenate(matrices)
    assert abs(values.mean()) < 5 * 0.2 / numpy.sqrt(values.size)
    assert abs(values.std() / 0.2 - 1) < 5 / numpy.sqrt(2 * values.size)
    assert abs((values ** 4).mean() / 0.2 ** 4 - 3) < 0.2  # of a normal distribution
    assert abs(numpy.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    first = (output / "lm_head.weight.f32").exists(), (output / "model.embed_tokens.weight.f32").read_bytes()
    assert not first[0]
    again = run_tool(tmp_path, **request, seed=1)
    assert (again / "model.embed_tokens.weight.f32").read_bytes() == first[1]
    other = run_tool(tmp_path, **request, seed=2)
    assert (other / "model.embed_tokens.weight.f32").read_bytes() != first[1]


@pytest.mark.parametrize("name", ["tiny_llama3", "tiny_qwen3"])
def test_shared_models(name, tmp_path):
    path = SHARED / "data" / "models" / name
    if not path.exists():
        pytest.skip("LIBLORA_SHARED is not here; other tests cover these families with models made on the spot")
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    assert_same_logits(model.eval(), tmp_path, path)


# ---- refusals --------------------------------------------------------------------------------------------------------


def remove(name):
    return lambda tensors: tensors.pop(name)


def put(name, value):
    return lambda tensors: tensors.update({name: value})


Q = "model.layers.1.self_attn.q_proj.weight"
REFUSED_TENSORS = {
    "missing": (remove(Q), ["LORA_ERROR_FORMAT", Q, "is missing"]),
    "extra": (put("model.layers.1.self_attn.q_proj.bias", torch.zeros(48)),
              ["LORA_ERROR_MISMATCH", "model.safetensors", "q_proj.bias", "no place"]),
    "a layer too many": (put("model.layers.3.mlp.up_proj.weight", torch.zeros(80, 48)),
                         ["LORA_ERROR_MISMATCH", "layers.3.mlp.up_proj", "3 layers"]),
    "shape": (put(Q, torch.zeros(48, 40)), ["LORA_ERROR_MISMATCH", "model.safetensors", Q, "[48, 40]", "[48, 48]"]),
    "dimensions": (put("model.norm.weight", torch.zeros(1, 48)),
                   ["LORA_ERROR_MISMATCH", "model.norm.weight", "[1, 48]", "[48]"]),
    "type": (put(Q, torch.zeros(48, 48, dtype=torch.float64)), ["LORA_ERROR_UNSUPPORTED", Q, "f64"]),
    "integers": (put(Q, torch.zeros(48, 48, dtype=torch.int32)), ["LORA_ERROR_UNSUPPORTED", Q, "i32"]),
}


@pytest.mark.parametrize("case", REFUSED_TENSORS)
def test_refused_tensors(case, tmp_path):
    change, expected = REFUSED_TENSORS[case]
    path = save_model(make_model("llama"), tmp_path / "model")
    edit_tensors(path, change)
    message = refusal(tmp_path, path)
    assert "\n" not in message
    for part in expected:
        assert part.lower() in message.lower(), message


REFUSED_CONFIGS = {
    "family": (dict(model_type="gpt_oss"), ["LORA_ERROR_UNSUPPORTED", "gpt_oss", "llama, mistral, qwen2, qwen3"]),
    "no family": (dict(model_type="absent"), ["LORA_ERROR_UNSUPPORTED", "model_type"]),
    "heads": (dict(num_key_value_heads=3), ["LORA_ERROR_FORMAT", "4 heads", "3 key/value heads"]),
    "no heads": (dict(num_attention_heads=0), ["LORA_ERROR_FORMAT", "config.json", "heads is 0"]),
    "layers": (dict(num_hidden_layers=10 ** 9), ["LORA_ERROR_FORMAT", "layers is 1000000000"]),
    "negative": (dict(hidden_size=-4), ["LORA_ERROR_FORMAT", "hidden size is -4"]),
    "huge": (dict(vocab_size=2 ** 62), ["LORA_ERROR_FORMAT", "vocabulary is 4611686018427387904"]),
    "odd head": (dict(head_dim=7), ["LORA_ERROR_FORMAT", "rotary dimension is 7"]),
    "word": (dict(hidden_size="48"), ["LORA_ERROR_FORMAT", "config.json", "hidden_size"]),
    "activation": (dict(hidden_act="relu2"), ["LORA_ERROR_UNSUPPORTED", "relu2"]),
    "rope": (dict(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}),
             ["LORA_ERROR_UNSUPPORTED", "yarn"]),
    "llama3": (dict(rope_parameters={"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0}),
               ["LORA_ERROR_FORMAT", "low_freq_factor"]),
    "quantized": (dict(quantization_config={"quant_method": "gptq"}), ["LORA_ERROR_UNSUPPORTED", "gptq"]),
    "width": (dict(intermediate_size=96), ["LORA_ERROR_MISMATCH", "gate_proj.weight", "[80, 48]", "[96, 48]"]),
}


@pytest.mark.parametrize("case", REFUSED_CONFIGS)
def test_refused_configs(case, tmp_path):
    changes, expected = REFUSED_CONFIGS[case]
    path = save_model(make_model("llama"), tmp_path / "model")
    edit_config(path, **changes)
    message = refusal(tmp_path, path)
    assert "\n" not in message
    for part in expected:
        assert part in message, message


def test_refused_directories(tmp_path):
    path = pathlib.Path(save_model(make_model("llama"), tmp_path / "model"))
    assert "LORA_ERROR_NOT_FOUND" in refusal(tmp_path, tmp_path / "nothing")
    (path / "config.json").write_text('{"model_type": "llama"')
    assert "LORA_ERROR_FORMAT" in refusal(tmp_path, path)
    (path / "config.json").write_text('["llama"]')
    assert "expected a JSON object" in refusal(tmp_path, path)
    path = pathlib.Path(save_model(make_model("llama"), tmp_path / "bare"))
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    message = refusal(tmp_path, path)
    assert "LORA_ERROR_NOT_FOUND" in message and "saved as safetensors" in message


def test_refused_indices(tmp_path):
    path = tmp_path / "model"
    save_model(make_model("llama"), path, max_shard_size="60KB")
    index = path / "model.safetensors.index.json"
    original = json.loads(index.read_text())

    def with_map(change):
        weight_map = dict(original["weight_map"])
        change(weight_map)
        index.write_text(json.dumps({"weight_map": weight_map}))
        return refusal(tmp_path, path)

    names = sorted(set(original["weight_map"].values()))
    for bad in ("../outside.safetensors", "/etc/passwd", "a/../../b.safetensors"):
        message = with_map(lambda weight_map: weight_map.update({Q: bad}))
        assert "LORA_ERROR_FORMAT" in message and bad in message and "inside the directory" in message
    other = [name for name in names if name != original["weight_map"][Q]][0]
    message = with_map(lambda weight_map: weight_map.update({Q: other}))
    assert "LORA_ERROR_FORMAT" in message and Q in message and other in message
    assert "LORA_ERROR_FORMAT" in with_map(lambda weight_map: weight_map.clear())
    assert "no text" in with_map(lambda weight_map: weight_map.update({Q: 3}))
    assert "is missing" in with_map(lambda weight_map: weight_map.update({"model.extra.weight": names[0]}))
    index.write_text("{}")
    assert "weight_map" in refusal(tmp_path, path)
    index.write_text(json.dumps(original))
    (path / names[1]).unlink()
    message = refusal(tmp_path, path)
    assert "LORA_ERROR_NOT_FOUND" in message and names[1] in message


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite(bad, dtype, tmp_path):
    path = save_model(make_model("llama").to(dtype), tmp_path / "model")
    edit_tensors(path, lambda tensors: tensors[Q].view(-1)[-1].fill_(bad))
    for request in (dict(check_finite=2), dict(type="f32" if dtype != torch.float32 else "bf16")):
        message = refusal(tmp_path, path, **request)
        assert "LORA_ERROR_NOT_FINITE" in message and Q in message
    run_tool(tmp_path, model=path, command="tensors", spans=[], check_finite=0, type="f32")


# ---- GGUF ------------------------------------------------------------------------------------------------------------

GGUF_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
              "input_layernorm": "attn_norm",
              "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
              "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
              "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    module, kind = name.rsplit(".", 1)
    if module.startswith("model.layers."):
        _, _, layer, slot = module.split(".", 3)
        return f"blk.{layer}.{GGUF_NAMES[slot]}.{kind}"
    return f"{GGUF_NAMES[module]}.{kind}"


def interleave(values, heads):
    """The order of rows in which llama.cpp's converter stores q and k of the llama architecture."""
    return values.reshape(heads, 2, values.shape[0] // heads // 2,
                          *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def save_gguf(model, path, architecture, kind="F32", factors=None, change=None):
    config = model.config
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    if config.rope_parameters["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])
    if change:
        change(writer)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", numpy.asarray(factors, dtype=numpy.float32))
    quantization = gguf.GGMLQuantizationType[kind]
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        if architecture == "llama" and ".q_proj." in name:
            values = interleave(values, config.num_attention_heads)
        if architecture == "llama" and ".k_proj." in name:
            values = interleave(values, config.num_key_value_heads)
        if values.ndim == 1 or kind == "F32":
            writer.add_tensor(gguf_name(name), values)
        else:
            writer.add_tensor(gguf_name(name), gguf.quantize(values, quantization), raw_dtype=quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", ["llama", "llama-biases", "llama-tied", "llama-linear", "mistral", "qwen2", "qwen3",
                                  "qwen3-tied"])
def test_gguf(name, tmp_path):
    model = make_model(name)
    save_gguf(model, tmp_path / "model.gguf", {"m": "llama", "l": "llama"}.get(name[0], name.split("-")[0]))
    assert_same_logits(model, tmp_path, tmp_path / "model.gguf")
    # Tensors are in the order and by the names of the Hugging Face model, so that its adapters fit.
    for key, parameter in model.named_parameters():
        run_tool(tmp_path, model=str(tmp_path / "model.gguf"), command="tensors", spans=[])
        assert (read(tmp_path / "output", key, *parameter.shape) == parameter.detach().numpy()).all()


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0"])
@pytest.mark.parametrize("name", ["llama-biases", "qwen3"])
def test_gguf_types(name, kind, tmp_path):
    sizes = dict(hidden_size=64, intermediate_size=96, head_dim=32)  # whole blocks of 32
    reference.MODELS["blocks"] = (reference.MODELS[name][0], {**reference.MODELS[name][1], **sizes})
    model = make_model("blocks")
    path = tmp_path / "model.gguf"
    save_gguf(model, path, name.split("-")[0], kind)
    quantization = gguf.GGMLQuantizationType[kind]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                values = gguf.dequantize(gguf.quantize(parameter.numpy(), quantization), quantization)
                parameter.copy_(torch.tensor(values.reshape(parameter.shape)))
    assert_same_logits(model, tmp_path, path)
    assert_same_logits(model, tmp_path, path, type="f32")
    assert info(tmp_path, path)["type"] == kind.lower()


def llama3_factors(head_dim, theta, factor, low, high, context):
    frequencies = 1.0 / theta ** (numpy.arange(0, head_dim, 2) / head_dim)
    wavelengths = 2 * numpy.pi / frequencies
    smooth = (context / wavelengths - low) / (high - low)
    blended = 1 / ((1 - smooth) / factor + smooth)
    return numpy.where(wavelengths < context / high, 1, numpy.where(wavelengths > context / low, factor, blended))


def test_gguf_rotary_factors(tmp_path):
    model = make_model("llama-3")
    values = [LLAMA3[key] for key in ("rope_theta", "factor", "low_freq_factor", "high_freq_factor",
                                      "original_max_position_embeddings")]
    path = tmp_path / "model.gguf"
    save_gguf(model, path, "llama", factors=llama3_factors(20, *values))
    assert_same_logits(model, tmp_path, path)
    assert info(tmp_path, path)["rope"] == 3  # factors of no published setting
    # Those of the published settings are recognised.
    published = {**LLAMA3, "rope_theta": 500000.0, "factor": 32.0, "original_max_position_embeddings": 8192}
    reference.MODELS["published"] = ("LlamaConfig", dict(rope_parameters=published, head_dim=64))
    model = make_model("published")
    save_gguf(model, path, "llama", factors=llama3_factors(64, 500000.0, 32.0, 1.0, 4.0, 8192))
    assert_same_logits(model, tmp_path, path)
    assert info(tmp_path, path)["rope"] == 2


def test_refused_gguf(tmp_path):
    model = make_model("llama")
    path = tmp_path / "model.gguf"
    save_gguf(model, path, "mamba")
    message = refusal(tmp_path, path)
    assert "LORA_ERROR_UNSUPPORTED" in message and "mamba" in message and "llama, mistral" in message
    save_gguf(model, path, "llama", factors=[1.0, 2.0])
    assert "rope_freqs.weight" in refusal(tmp_path, path)
    save_gguf(model, path, "llama", factors=[0.0] * 6)
    assert "LORA_ERROR_NOT_FINITE" in refusal(tmp_path, path)
    save_gguf(model, path, "llama", change=lambda writer: writer.add_rope_scaling_type(gguf.RopeScalingType.YARN))
    assert "yarn" in refusal(tmp_path, path)
    del model.lm_head, model.model.layers[2]
    save_gguf(model, path, "llama")
    assert "blk.2.attn_norm.weight' is missing" in refusal(tmp_path, path)


# ---- llama2.c --------------------------------------------------------------------------------------------------------


def save_llama2c(model, path, shared=True):
    config = model.config
    state = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    parts = [state["model.embed_tokens.weight"]]
    for slot in ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                 "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"):
        for layer in range(config.num_hidden_layers):
            values = state[f"model.layers.{layer}.{slot}.weight"]
            heads = {"self_attn.q_proj": config.num_attention_heads,
                     "self_attn.k_proj": config.num_key_value_heads}.get(slot)
            parts.append(interleave(values, heads) if heads else values)
    parts.append(state["model.norm.weight"])
    parts.append(numpy.zeros(config.max_position_embeddings * config.hidden_size // config.num_attention_heads,
                             numpy.float32))
    if not shared:
        parts.append(state["lm_head.weight"])
    vocabulary = config.vocab_size if shared else -config.vocab_size
    header = struct.pack("7i", config.hidden_size, config.intermediate_size, config.num_hidden_layers,
                         config.num_attention_heads, config.num_key_value_heads, vocabulary,
                         config.max_position_embeddings)
    pathlib.Path(path).write_bytes(header + b"".join(part.tobytes() for part in parts))


@pytest.mark.parametrize("name", ["llama", "llama-tied"])
def test_llama2c(name, tmp_path):
    model = make_model(name)
    path = tmp_path / "model.bin"
    save_llama2c(model, path, shared=name == "llama-tied")
    assert_same_logits(model, tmp_path, path)
    content = path.read_bytes()
    for cut in (3, 27, 28, 1000, len(content) - 1):
        path.write_bytes(content[:cut])
        assert "LORA_ERROR_FORMAT" in refusal(tmp_path, path)
    path.write_bytes(content + b"\0")
    assert "header calls for" in refusal(tmp_path, path)
    path.write_bytes(struct.pack("7i", 0x616B3432, 2, 1, 1, 1, 1, 1))
    assert "version 2" in refusal(tmp_path, path)


@pytest.mark.parametrize("file", ["stories260K.bin", "stories260K.gguf"])
def test_stories260k_tells_its_story(file, tmp_path):
    folder = SHARED / "data" / "models" / "stories260K"
    if not folder.exists():
        pytest.skip("LIBLORA_SHARED is not here; the two formats are covered by models made on the spot")
    expected = (folder / "expected_greedy_200.txt").read_text().rstrip("\n")
    output = run_tool(tmp_path, model=str(folder / file), command="generate", spans=[[1]], count=200)
    assert (output / "text").read_text().strip() == expected
