"""Forward, losses, gradients and caches of every family against transformers and torch autograd."""
import numpy
import pytest
import torch
import transformers

from reference import (LLAMA3, MODELS, SMALL, log_softmax, make_model, random_spans, read, reference_logits, run_tool,
                       save_model)

SPANS = [17, 1, 30, 4]


def random_labels(spans, seed=1):
    """Shifted labels: the next token, or -100 at the end of a span and at some other places."""
    generator = numpy.random.default_rng(seed)
    return [[token if generator.random() < 0.6 else -100 for token in span[1:]] + [-100] for span in spans]


def reference_losses(model, spans, labels):
    losses = []
    for span, targets in zip(spans, labels):
        logits = model(torch.tensor([span])).logits[0]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(targets), ignore_index=-100,
                                                        reduction="none"))
    return torch.cat(losses)


def relative(ours, theirs):
    """Distance relative to the reference's size, and to what is representable where that is zero."""
    theirs = numpy.asarray(theirs, dtype=numpy.float64)
    return numpy.linalg.norm(ours - theirs) / max(numpy.linalg.norm(theirs), 1e-6)


NONE, ALL, MLP = 0, 1, 2  # LORA_RECOMPUTE_


def recomputes_the_same_bits(directory, request):
    """Recomputation runs the same operations."""
    kept, blocks, mlp = ({path.name: path.read_bytes()
                          for path in run_tool(directory, **request, recompute=what).iterdir() if path.suffix == ".f32"}
                         for what in (NONE, ALL, MLP))
    assert len(kept) > 1 and kept == blocks and kept == mlp


@pytest.mark.parametrize("name", MODELS)
def test_log_probabilities(name, tmp_path):
    model = make_model(name)
    spans = random_spans(SPANS)
    output = run_tool(tmp_path, model=save_model(model, tmp_path / "model"), command="logits", spans=spans)
    ours = log_softmax(read(output, "logits", -1, model.config.vocab_size))
    assert numpy.abs(ours - log_softmax(reference_logits(model, spans))).max() < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_log_probabilities_of_the_last_rows(name, tmp_path):
    """The last block then runs for fewer rows than the others, from the middle of a span on or for one alone."""
    model = make_model(name)
    directory = save_model(model, tmp_path / "model")
    spans = random_spans(SPANS, seed=6)
    pairs, leaves = make_pairs(model, tmp_path / "pairs", linear_names(model))
    attach(model, leaves)
    expected = log_softmax(reference_logits(model, spans))
    request = dict(model=directory, command="logits", spans=spans, pairs=pairs)
    for last in (1, SPANS[-1], 20):
        output = run_tool(tmp_path, **request, last=last)
        ours = read(output, "logits", -1, model.config.vocab_size)
        assert not ours[:-last].any()
        assert numpy.abs(log_softmax(ours[-last:]) - expected[-last:]).max() < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_every_tensor(name, tmp_path):
    model = make_model(name)
    spans = random_spans(SPANS, seed=2)
    labels = random_labels(spans)
    losses = reference_losses(model, spans, labels)
    (0.03 * losses.sum()).backward()
    request = dict(model=save_model(model, tmp_path / "model"), command="train", spans=spans, labels=labels, full=True,
                   grad_scale=0.03)
    output = run_tool(tmp_path, **request)
    assert numpy.abs(read(output, "losses") - losses.detach().numpy()).max() < 1e-4
    for key, parameter in model.named_parameters():
        assert relative(read(output, key + ".grad", *parameter.shape), parameter.grad) < 1e-4, key
    assert len(list(output.glob("*.grad.f32"))) == len(list(model.named_parameters()))
    recomputes_the_same_bits(tmp_path, request)


# ---- low-rank pairs --------------------------------------------------------------------------------------------------


def make_pairs(model, directory, modules, rank=3, scale=0.7, dropout=0.0, seed=3):
    """Pairs for pass_tool, and (module, A, B, scale) for torch."""
    directory.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    described, leaves = [], []
    for number, name in enumerate(modules):
        linear = model.get_submodule(name)
        a = torch.randn(rank, linear.in_features, generator=generator) * 0.2
        b = torch.randn(linear.out_features, rank, generator=generator) * 0.2
        files = [str(directory / f"{seed}-{number}-{side}") for side in "ab"]
        a.numpy().tofile(files[0])
        b.numpy().tofile(files[1])
        described.append(dict(module=name, rank=rank, scale=scale, dropout=dropout, a=files[0], b=files[1]))
        leaves.append((name, a.requires_grad_(), b.requires_grad_(), scale))
    return described, leaves


def attach(model, leaves):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name, a, b, scale in leaves:
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, a=a, b=b, scale=scale: output + scale * (inputs[0] @ a.T) @ b.T)


def linear_names(model, layers=None, kinds=None):
    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and
            (layers is None or any(f"layers.{i}." in name for i in layers)) and
            (kinds is None or name.split(".")[-1] in kinds)]


CHOICES = {
    "all linear layers": dict(),
    "q and v": dict(kinds=["q_proj", "v_proj"]),
    "the last layer": dict(layers=[2]),
    "o and down of layer 1": dict(layers=[1], kinds=["o_proj", "down_proj"]),
    "the head alone": dict(kinds=["lm_head"]),
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", ["llama", "mistral-window", "qwen2", "qwen3"])
def test_gradients_of_pairs(name, choice, tmp_path):
    model = make_model(name)
    directory = save_model(model, tmp_path / "model")
    pairs, leaves = make_pairs(model, tmp_path / "pairs", linear_names(model, **CHOICES[choice]))
    attach(model, leaves)
    spans = random_spans(SPANS, seed=4)
    labels = random_labels(spans)
    losses = reference_losses(model, spans, labels)
    losses.sum().backward()
    request = dict(model=directory, command="train", spans=spans, labels=labels, pairs=pairs)
    output = run_tool(tmp_path, **request)
    assert numpy.abs(read(output, "losses") - losses.detach().numpy()).max() < 1e-4
    for module, a, b, _ in leaves:
        assert relative(read(output, module + ".lora_A.grad", *a.shape), a.grad) < 1e-4, module
        assert relative(read(output, module + ".lora_B.grad", *b.shape), b.grad) < 1e-4, module
    recomputes_the_same_bits(tmp_path, request)
    # Losses without a backward, on both kinds of passes.
    for training_pass in (False, True):
        output = run_tool(tmp_path, **{**request, "command": "losses"}, training_pass=training_pass)
        assert numpy.abs(read(output, "losses") - losses.detach().numpy()).max() < 1e-4


@pytest.mark.parametrize("name", ["llama", "mistral-window", "qwen2", "qwen3"])
def test_gradients_from_activations_kept_in_bf16(name, tmp_path):
    """The forward is the same to the bit whatever is kept; gradients are within the rounding of bf16, half a unit in
    its 8 bits, of torch's."""
    model = make_model(name)
    directory = save_model(model, tmp_path / "model")
    pairs, leaves = make_pairs(model, tmp_path / "pairs", linear_names(model))
    attach(model, leaves)
    spans = random_spans([100, 30, 60], seed=4)
    labels = random_labels(spans)
    losses = reference_losses(model, spans, labels)
    losses.sum().backward()
    request = dict(model=directory, command="train", spans=spans, labels=labels, pairs=pairs)
    exact = read(run_tool(tmp_path, **request), "losses")
    assert numpy.abs(exact - losses.detach().numpy()).max() < 1e-4
    for recompute in (NONE, ALL, MLP):
        output = run_tool(tmp_path, **request, bf16=True, recompute=recompute)
        errors = [relative(read(output, module + side, *tensor.shape), tensor.grad) for module, a, b, _ in leaves
                  for side, tensor in ((".lora_A.grad", a), (".lora_B.grad", b))]
        assert numpy.median(errors) < 2 ** -8 and max(errors) < 1e-2
        assert max(errors) > 2 ** -11  # something was rounded
        assert (read(output, "losses") == exact).all()


def test_several_pairs_on_a_layer_add_up(tmp_path):
    model = make_model("llama")
    directory = save_model(model, tmp_path / "model")
    first, leaves = make_pairs(model, tmp_path / "pairs", linear_names(model), rank=3)
    second, more = make_pairs(model, tmp_path / "pairs", linear_names(model, kinds=["q_proj", "up_proj"]), rank=5,
                              scale=-0.4, seed=5)
    attach(model, leaves + more)
    spans = random_spans(SPANS, seed=6)
    output = run_tool(tmp_path, model=directory, command="logits", spans=spans, pairs=first + second)
    ours = log_softmax(read(output, "logits", -1, model.config.vocab_size))
    assert numpy.abs(ours - log_softmax(reference_logits(model, spans))).max() < 1e-4


def test_dropout(tmp_path):
    """On in training only; the backward and recomputation see the same mask; another seed is another mask."""
    model = make_model("llama")
    directory = save_model(model, tmp_path / "model")
    pairs, leaves = make_pairs(model, tmp_path / "pairs", linear_names(model), dropout=0.3)
    attach(model, leaves)
    spans = random_spans(SPANS, seed=7)
    labels = random_labels(spans)
    request = dict(model=directory, spans=spans, labels=labels, pairs=pairs)
    plain = reference_losses(model, spans, labels).detach().numpy()

    losses = read(run_tool(tmp_path, **request, command="losses"), "losses")
    assert numpy.abs(losses - plain).max() < 1e-4
    output = run_tool(tmp_path, **request, command="train", seed=1)
    first = read(output, "losses")
    assert numpy.abs(first - plain).max() > 1e-2
    recomputes_the_same_bits(tmp_path, dict(**request, command="train", seed=1))
    other = read(run_tool(tmp_path, **request, command="train", seed=2), "losses")
    assert numpy.abs(first - other).max() > 1e-2


def test_dropout_gradient_is_that_of_the_dropped_out_loss(tmp_path):
    """Finite differences along the gradient, the mask held by the seed."""
    model = make_model("qwen3")
    directory = save_model(model, tmp_path / "model")
    spans = random_spans([40], seed=8)
    labels = random_labels(spans)
    pairs, leaves = make_pairs(model, tmp_path / "pairs", linear_names(model), dropout=0.4)
    request = dict(model=directory, spans=spans, labels=labels, command="train", seed=9, pairs=pairs)
    output = run_tool(tmp_path, **request)
    gradients = [(read(output, m + ".lora_A.grad", *a.shape), read(output, m + ".lora_B.grad", *b.shape))
                 for m, a, b, _ in leaves]
    square = sum((a.astype(float) ** 2).sum() + (b.astype(float) ** 2).sum() for a, b in gradients)
    step = 2e-2 / numpy.sqrt(square)
    sums = []
    for sign in (1, -1):
        for pair, (_, a, b, _), (grad_a, grad_b) in zip(pairs, leaves, gradients):
            (a.detach().numpy() + numpy.float32(sign * step) * grad_a).tofile(pair["a"])
            (b.detach().numpy() + numpy.float32(sign * step) * grad_b).tofile(pair["b"])
        sums.append(read(run_tool(tmp_path, **request), "losses").astype(float).sum())
    assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(square, rel=1e-2)


# ---- caches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama-3", "mistral-window", "qwen2-window", "qwen3"])
def test_cached_decoding_equals_the_whole(name, tmp_path):
    model = make_model(name)
    spans = random_spans([25], seed=10)
    request = dict(model=save_model(model, tmp_path / "model"), spans=spans)
    expected = log_softmax(reference_logits(model, spans))
    for chunks in ([25], [1] * 25, [7, 1, 1, 10, 6]):
        output = run_tool(tmp_path, **request, command="cached", chunks=chunks)
        ours = log_softmax(read(output, "logits", -1, model.config.vocab_size))
        assert numpy.abs(ours - expected).max() < 1e-4
        output = run_tool(tmp_path, **request, command="cached", chunks=chunks, last=1)
        ours, ends = log_softmax(read(output, "logits", -1, model.config.vocab_size)), numpy.cumsum(chunks) - 1
        assert numpy.abs(ours[ends] - expected[ends]).max() < 1e-4


def test_full_cache_is_an_overflow(tmp_path):
    model = make_model("llama")
    message = run_tool(tmp_path, expect_failure=True, model=save_model(model, tmp_path / "model"),
                       spans=random_spans([10]), command="cached", chunks=[8, 3])
    assert message.startswith("LORA_ERROR_OVERFLOW")
    assert "holds 10 tokens and has room for 2; 3 more" in message


def test_ids_outside_the_vocabulary_are_refused(tmp_path):
    directory = save_model(make_model("llama"), tmp_path / "model")
    for bad in (-1, SMALL["vocab_size"]):
        message = run_tool(tmp_path, expect_failure=True, model=directory, spans=[[1, bad]], command="logits")
        assert message.startswith("LORA_ERROR_DATA") and f"id {bad} " in message
        message = run_tool(tmp_path, expect_failure=True, model=directory, spans=[[1, 2]], labels=[[bad, 1]],
                           command="losses")
        assert message.startswith("LORA_ERROR_DATA") and f"label {bad} " in message


def test_a_long_batch_is_cut_into_slices_of_rows(tmp_path):
    """A vocabulary of which 32 rows of logits are more than one slice holds."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{**SMALL, "vocab_size": 90000, "num_hidden_layers": 1,
                                         "rope_parameters": LLAMA3})
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    spans = random_spans([70, 50], seed=11, vocabulary=90000)
    labels = random_labels(spans)
    losses = reference_losses(model, spans, labels)
    losses.sum().backward()
    output = run_tool(tmp_path, model=save_model(model, tmp_path / "model"), command="train", spans=spans,
                      labels=labels, full=True)
    assert numpy.abs(read(output, "losses") - losses.detach().numpy()).max() < 1e-4
    for key, parameter in model.named_parameters():
        assert relative(read(output, key + ".grad", *parameter.shape), parameter.grad) < 1e-4, key
