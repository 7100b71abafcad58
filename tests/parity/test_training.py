"""Twenty training steps from the same adapter, here and in torch: the loss of each step to 1e-4, the tensors after them
to 1e-3."""
import liblora
import numpy
import pytest
import torch
from safetensors.numpy import load_file

from . import reference

STEPS = 20
# name: (PEFT settings, our adapter settings, trainer settings, reference settings)
CASES = {
    "plain": ({}, {}, {}, {}),
    "rslora": (dict(use_rslora=True), {}, {}, {}),
    "bias all": (dict(bias="all"), {}, {}, {}),
    "bias lora_only": (dict(bias="lora_only"), {}, {}, {}),
    "recompute": ({}, {}, dict(recompute=1), {}),
    "accumulation": ({}, {}, dict(batch_size=2, gradient_accumulation=3), dict(batch=2, accumulation=3)),
    "packing": ({}, {}, dict(packing=1, pack_length=64, batch_size=8), dict(batch=12, packed=True)),
    "cosine, warm-up, decay": ({}, {}, dict(schedule="cosine", warmup_steps=5, weight_decay=0.1, max_grad_norm=0.3),
                               dict(schedule="cosine", warmup=5, weight_decay=0.1, max_grad_norm=0.3)),
    "every linear layer": (dict(target_modules="all-linear"), {}, {}, {}),
    "patterns": (dict(rank_pattern={"q_proj": 3, "layers.1.self_attn.v_proj": 5}, alpha_pattern={"v_proj": 5}), {}, {},
                 {}),
    "head whole": (dict(modules_to_save=["lm_head"]), {}, {}, {}),
}


@pytest.fixture(scope="module")
def context():
    return liblora.Context(threads=2)


def base_of(family, tmp_path):
    model = reference.make_model(family)
    model.save_pretrained(tmp_path / "base")
    return model, tmp_path / "base"


def dataset(context, rows):
    return liblora.Dataset.create(context, rows)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", reference.FAMILIES)
def test_twenty_steps(family, case, context, tmp_path):
    peft_settings, _, trainer_settings, reference_settings = CASES[case]
    if case == "head whole" and family == "qwen2":  # its head is tied to the embedding: PEFT then trains a copy of its
                                                    # own
        peft_settings = dict(modules_to_save=["embed_tokens"], ensure_weight_tying=True)
    base, path = base_of(family, tmp_path)
    peft = reference.add_adapter(base, r=4, lora_alpha=8, **peft_settings)
    peft.save_pretrained(tmp_path / "start")
    rows = reference.make_rows()

    model = liblora.Model(context, path)
    adapter = liblora.Adapter.load(model, tmp_path / "start", allow_unchanged=True)
    settings = dict(max_steps=STEPS, batch_size=4, learning_rate=5e-3, shuffle=0)
    settings.update(trainer_settings)
    with liblora.Trainer(adapter, dataset(context, rows), **settings) as trainer:
        steps = [(s.loss, s.gradient_norm) for s in trainer]
    adapter.save(tmp_path / "ours")

    losses, norms = reference.train(peft, rows, STEPS, **{"batch": 4, **reference_settings})
    numpy.testing.assert_allclose([s[0] for s in steps], losses, rtol=1e-4)
    numpy.testing.assert_allclose([s[1] for s in steps], norms, rtol=1e-3)
    peft.save_pretrained(tmp_path / "theirs")
    ours, theirs = (load_file(tmp_path / "ours" / "adapter_model.safetensors"),
                    load_file(tmp_path / "theirs" / "adapter_model.safetensors"))
    assert set(ours) == set(theirs)
    for name in theirs:
        assert reference.relative(ours[name], theirs[name]) < 1e-3, name


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_full_training(family, context, tmp_path):
    base, path = base_of(family, tmp_path)
    rows = reference.make_rows()
    model = liblora.Model(context, path)
    adapter = liblora.Adapter.create(model, full=1)
    settings = dict(learning_rate=1e-3, weight_decay=0.05)
    with liblora.Trainer(adapter, dataset(context, rows), max_steps=STEPS, batch_size=4, shuffle=0,
                         **settings) as trainer:
        steps = [s.loss for s in trainer]
    trained, _ = model.merge([adapter])
    losses, _ = reference.train(base, rows, STEPS, batch=4, **settings)
    numpy.testing.assert_allclose(steps, losses, rtol=1e-4)
    expected = {n: p.detach().numpy() for n, p in base.named_parameters()}
    for name, values in trained.tensors.items():
        assert reference.relative(values, expected[name].reshape(values.shape)) < 1e-3, name


def uniform(seed, stream, index):
    """lib/random.h: Philox 4x32-10, the word of an index, as a multiple of 2^-24."""
    index = numpy.asarray(index, numpy.uint64)
    counter = index // 4
    low, mask = numpy.uint64(0xFFFFFFFF), numpy.uint64(32)
    c = [counter & low, counter >> mask, numpy.full_like(counter, stream), numpy.zeros_like(counter)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = numpy.uint64(0xD2511F53) * c[0], numpy.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> mask) ^ c[1] ^ numpy.uint64(k0), p1 & low, (p0 >> mask) ^ c[3] ^ numpy.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    words = numpy.choose((index % 4).astype(int), c)
    return (words >> numpy.uint64(8)).astype(numpy.float64) * 2.0**-24


def test_philox_matches_the_published_vector():
    """Salmon et al.'s known answer for key 0, counter 0."""
    first = uniform(0, 0, numpy.arange(4)) * 2**24
    assert [int(v) for v in first] == [w >> 8 for w in (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)]


def test_dropout_keeps_the_mean(context, tmp_path):
    """With dropout the loss differs from step to step of the same rows, but its mean over many masks is near the loss
    without: B is zero at first, so the first step's loss is exactly that of the base."""
    _, path = base_of("llama", tmp_path)
    model = liblora.Model(context, path)
    rows = reference.make_rows()
    losses = {}
    for dropout in (0.0, 0.5):
        adapter = liblora.Adapter.create(model, r=4, lora_alpha=8, lora_dropout=dropout, seed=3)
        with liblora.Trainer(adapter, dataset(context, rows), max_steps=2, batch_size=12, learning_rate=0.02,
                             shuffle=0) as trainer:
            losses[dropout] = [s.loss for s in trainer]
    assert losses[0.0][0] == losses[0.5][0]
    assert losses[0.0][1] != losses[0.5][1]
    assert abs(losses[0.0][1] - losses[0.5][1]) < 0.5
