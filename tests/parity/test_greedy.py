"""An adapter trained here gives, loaded by PEFT, the same greedy text as a session here; so does the merged model in
transformers."""
import liblora
import numpy
import pytest
import torch
import transformers
from peft import PeftModel

from . import reference


def greedy(model, ids, count):
    out = model.generate(torch.tensor(ids[None], dtype=torch.long), attention_mask=torch.ones(1, len(ids)),
                         max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0)
    return out[0, len(ids):].tolist()


@pytest.mark.parametrize("family", reference.FAMILIES)
def test_same_greedy_text(family, tmp_path):
    base = reference.make_model(family)
    base.save_pretrained(tmp_path / "base")
    context = liblora.Context(threads=2)
    model = liblora.Model(context, tmp_path / "base")
    rows = reference.make_rows()
    adapter = liblora.Adapter.create(model, r=4, lora_alpha=16, target_modules="all-linear", seed=5)
    with liblora.Trainer(adapter, liblora.Dataset.create(context, rows), max_steps=15, learning_rate=2e-2) as trainer:
        trainer.run()
    adapter.save(tmp_path / "adapter")
    merged, _ = model.merge([adapter])
    merged.save(tmp_path / "merged")

    prompt = rows[0][0][:6]
    ours = liblora.Session(model, adapters=[adapter]).generate(prompt, max_new_tokens=30, temperature=0,
                                                               ignore_end=1)[0]
    assert ours == greedy(PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), prompt, 30)
    assert ours == greedy(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged",
                                                                            dtype=torch.float32).eval(), prompt, 30)
    without = liblora.Session(model).generate(prompt, max_new_tokens=30, temperature=0, ignore_end=1)[0]
    assert ours != without  # the adapter does something
    attached, alone = (liblora.evaluate_loss(model, liblora.Dataset.create(context, rows), [adapter]),
                       liblora.evaluate_loss(merged, liblora.Dataset.create(context, rows)))
    numpy.testing.assert_allclose(attached["loss"], alone["loss"], atol=1e-5)
