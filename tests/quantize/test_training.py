"""Training adapters on quantized bases (QLoRA): against PEFT on bitsandbytes' own layers, and against our f32 run."""
import pathlib

import liblora
import numpy
import pytest
import torch
from liblora import _c as types
from parity import reference
from safetensors.numpy import load_file

from . import models

STEPS = 20
EPSILON = 1e-6  # of AdamW: far above the rounding of gradients, which it would turn into whole steps of either sign
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def context():
    return liblora.Context(threads=2)


# Features of the processor, what activations are kept as, and how far the losses may be from PEFT's in f32: exact
# kernels, and those that take bf16 activations where there are any, with the usual choice for the backward.
KERNELS = {"exact": (3, types.TYPE_F32, 1e-4), "all": (-1, types.TYPE_KEEP, 1e-2)}


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], "all-linear"])
def test_twenty_steps_of_qlora(tmp_path, nested, targets, kernels):
    features, activations, bound = KERNELS[kernels]
    directory, base = models.load_quantized(models.save(models.small(), tmp_path / "plain"), tmp_path / "base",
                                            nf4=True, nested=nested)
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    base.enable_input_require_grads()  # or bitsandbytes multiplies in bf16 where no gradient flows
    peft = reference.add_adapter(base, r=4, lora_alpha=8, target_modules=targets)
    peft.save_pretrained(tmp_path / "start")
    rows = reference.make_rows()
    context = liblora.Context(threads=2, cpu_features=features)
    adapter = liblora.Adapter.load(liblora.Model(context, directory), tmp_path / "start", allow_unchanged=True)
    with liblora.Trainer(adapter, liblora.Dataset.create(context, rows), max_steps=STEPS, batch_size=4,
                         learning_rate=5e-3, epsilon=EPSILON, shuffle=0, activations=activations) as trainer:
        ours = [step.loss for step in trainer]
    theirs, _ = reference.train(peft, rows, STEPS, batch=4, epsilon=EPSILON)
    numpy.testing.assert_allclose(ours, theirs, rtol=bound)
    if kernels != "exact":
        return
    adapter.save(tmp_path / "ours")
    peft.save_pretrained(tmp_path / "theirs")
    ours, theirs = (load_file(tmp_path / who / "adapter_model.safetensors") for who in ("ours", "theirs"))
    assert set(ours) == set(theirs)
    for name in theirs:
        assert reference.relative(ours[name], theirs[name]) < 1e-3, name


def held_out_loss(context, kind):
    """After 60 steps on the example base."""
    model = liblora.Model(context, EXAMPLES / "base", type=kind)
    data = [liblora.Dataset.load(context, EXAMPLES / "data" / f"weekly_report.{part}.jsonl", model.tokenizer)
            for part in ("train", "heldout")]
    adapter = liblora.Adapter.create(model, r=8, lora_alpha=32.0, target_modules="all-linear", seed=3)
    with liblora.Trainer(adapter, data[0], max_steps=60, batch_size=4, learning_rate=1e-3, seed=3) as trainer:
        trainer.run()
    return liblora.evaluate_loss(model, data[1], [adapter])["loss"]


@pytest.fixture(scope="module")
def loss_f32(context):
    return held_out_loss(context, types.TYPE_F32)


@pytest.mark.parametrize("name", ["INT8", "NF4", "Q4_0", "Q4_K"])
def test_the_loss_is_at_most_one_percent_above_the_f32_base(context, loss_f32, name):
    assert held_out_loss(context, getattr(types, "TYPE_" + name)) / loss_f32 < 1.01
