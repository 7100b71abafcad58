"""The Python binding says of every constant, struct and function what the C headers say; and its objects behave:
settings, errors, callbacks, and handles that are freed in any order."""
import ctypes
import gc
import json
import os
import pathlib
import re
import shutil
import subprocess

import numpy
import pytest

import liblora
from liblora import _c

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HEADERS = [path for path in sorted((ROOT / "include" / "lora").glob("*.h")) if path.name != "backend.h"]
TEXT = re.sub(r"/\*.*?\*/", "", "\n".join(path.read_text() for path in HEADERS), flags=re.S)
STRUCTS = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): value for name, value in vars(_c).items()
           if isinstance(value, type) and issubclass(value, ctypes.Structure) and hasattr(value, "_fields_")}


# ---- against the headers ---------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What a C compiler says of the binding's names: {expression: number}."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    expressions = [f"LORA_{name}" for name in constants()]
    for name, struct in STRUCTS.items():
        expressions.append(f"sizeof(lora_{name})")
        for field, _ in struct._fields_:
            expressions += [f"offsetof(lora_{name}, {field})", f"sizeof(((lora_{name} *)0)->{field})"]
    lines = "\n".join(f'    printf("%s\\t%lld\\n", "{e}", (long long)({e}));' for e in expressions)
    folder = tmp_path_factory.mktemp("layout")
    (folder / "layout.c").write_text("#include <lora/lora.h>\n#include <stdio.h>\n"
                                     f"int main(void) {{\n{lines}\n    return 0;\n}}\n")
    subprocess.run([compiler, "-I", ROOT / "include", folder / "layout.c", "-o", folder / "layout"], check=True)
    lines = subprocess.run([folder / "layout"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split("\t")[0]: int(line.split("\t")[1]) for line in lines}


def constants():
    return {name: value for name, value in vars(_c).items() if name.isupper() and isinstance(value, int)}


def test_constants(compiled):
    assert {name: compiled[f"LORA_{name}"] for name in constants()} == constants()
    in_headers = set(re.findall(r"#define LORA_(\w+) +\(?-?\d", TEXT))
    assert in_headers - {"VERSION_MAJOR", "VERSION_MINOR", "VERSION_PATCH"} == set(constants())


def test_structs(compiled):
    for name, struct in STRUCTS.items():
        assert ctypes.sizeof(struct) == compiled[f"sizeof(lora_{name})"], name
        for field, _ in struct._fields_:
            place = getattr(struct, field)
            assert place.offset == compiled[f"offsetof(lora_{name}, {field})"], (name, field)
            assert place.size == compiled[f"sizeof(((lora_{name} *)0)->{field})"], (name, field)


def test_every_field_is_there():
    for name, body in re.findall(r"typedef struct lora_(\w+) \{(.*?)\} lora_\1;", TEXT, flags=re.S):
        if name in ("allocator", "file_access"):  # of hosts written in C
            continue
        fields = [re.sub(r"[*\s]", "", f).split("[")[0] for line in body.split(";") if line.strip()
                  for f in re.sub(r"^\s*(const )?\w+ (\*const )?", "",
                                  line.strip().replace("const char", "char")).split(",")]
        assert fields == [field for field, _ in STRUCTS[name]._fields_], name


def kind_of_c(declaration):
    """pointer, or the C type of a parameter or result."""
    words = declaration.replace("const ", "").split()
    if "*" in declaration or words[0].endswith("_fn"):
        return "pointer"
    return {"lora_status": "int32_t", "lora_type": "int32_t"}.get(words[0], words[0])


def kind_of_python(kind):
    scalars = {ctypes.c_int32: "int32_t", ctypes.c_uint32: "uint32_t", ctypes.c_int64: "int64_t",
               ctypes.c_uint64: "uint64_t",
               ctypes.c_float: "float", ctypes.c_double: "double", None: "int32_t", "void": "void"}
    return "size_t" if kind is ctypes.c_size_t else scalars.get(kind, "pointer")


def test_functions():
    found = {}
    for result, name, parameters in re.findall(r"LORA_API ([\w *]+?)(lora_\w+)\(([^;]*?)\);", TEXT, flags=re.S):
        parameters = " ".join(parameters.split())
        found[name] = [kind_of_c(result)] + ([] if parameters == "void" else
                                             [kind_of_c(p.strip()) for p in parameters.split(",")])
    del found["lora_session_generate"]  # its callback is Session.stream here
    assert set(found) == set(_c.FUNCTIONS)
    same = {"size_t": "uint64_t"} if ctypes.c_size_t is ctypes.c_uint64 else {}
    for name, (result, arguments) in _c.FUNCTIONS.items():
        mine = [kind_of_python(kind) for kind in [result, *arguments]]
        assert [same.get(k, k) for k in mine] == [same.get(k, k) for k in found[name]], name


# ---- objects ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    source = ROOT / "examples" / "base_model" / "config"
    for path in source.iterdir():
        shutil.copy(path, folder)
    shape = json.loads((folder / "config.json").read_text())
    shape.update(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                 num_key_value_heads=1, head_dim=8, initializer_range=0.1)
    (folder / "config.json").write_text(json.dumps(shape))
    return folder


def open_model(folder, **settings):
    return liblora.Model(liblora.Context(threads=1, **settings), folder, initialize=1)


@pytest.fixture(scope="module")
def model(folder):
    return open_model(folder)


def rows(model, count=6):
    return liblora.Dataset.create(model._keep, [list(range(10 + i, 20 + i)) for i in range(count)])


def test_errors_carry_status_and_message(model, tmp_path):
    with pytest.raises(liblora.LoraError, match="nowhere") as error:
        liblora.Model(model._keep, tmp_path / "nowhere")
    assert error.value.status == _c.ERROR_NOT_FOUND
    with pytest.raises(TypeError, match="unknown setting 'rank'; there are: .*lora_alpha"):
        liblora.Adapter.create(model, rank=8)
    with pytest.raises(liblora.LoraError, match="no_such_layer") as error:
        liblora.Adapter.create(model, target_modules=["no_such_layer"])
    assert error.value.status == _c.ERROR_MISMATCH
    with pytest.raises(ValueError, match="3 ids but 2 labels"):
        rows(model).add([1, 2, 3], [1, 2])
    session = liblora.Session(model)
    session.close()
    with pytest.raises(ValueError, match="Session has been closed"):
        session.prompt([1])


def test_settings_reach_the_library(model):
    adapter = liblora.Adapter.create(model, r=4, lora_alpha=12, lora_dropout=0.25, bias="lora_only",
                                     target_modules=["k_proj", "up_proj"], rank_pattern={"up_proj": 2}, use_rslora=1)
    info = adapter.info
    assert (info["r"], info["lora_alpha"], info["lora_dropout"], info["bias"],
            info["use_rslora"], info["modules"]) == (4, 12, 0.25, 2, 1, 2)
    assert {name.split(".")[-3]: adapter.tensors.shape(name) for name in adapter.tensors if "lora_A" in name} == \
        {"k_proj": (4, 16), "up_proj": (2, 16)}
    assert len(liblora.Adapter.create(model, target_modules=r".*\.(q|o)_proj").tensors) == 4
    assert liblora.Adapter.create(model, target_modules="all-linear").info["modules"] == 7
    assert liblora.plan_training(model, 32, adapter={"r": 16}, batch_size=2)["micro_batch"] == 2


def test_tensors_read_and_write(model):
    adapter = liblora.Adapter.create(model)
    name = next(name for name in adapter.tensors if "lora_B" in name)
    values = numpy.arange(numpy.prod(adapter.tensors.shape(name)),
                          dtype=numpy.float32).reshape(adapter.tensors.shape(name))
    adapter.tensors[name] = values
    assert (adapter.tensors[name] == values).all()
    with pytest.raises(liblora.LoraError):
        adapter.tensors[name] = values[:1]
    assert set(dict(model.tensors.items())) >= {"model.norm.weight", "model.embed_tokens.weight"}


def test_training_iterates_and_calls_back(model):
    trainer = liblora.Trainer(liblora.Adapter.create(model), rows(model), max_steps=3, batch_size=2,
                              schedule="constant")
    steps = list(trainer)
    assert [s.step for s in steps] == [1, 2, 3] and steps[-1].done and all(s.learning_rate == 2e-4 for s in steps)
    seen = []
    trainer = liblora.Trainer(liblora.Adapter.create(model), rows(model), max_steps=5)
    with pytest.raises(liblora.LoraError) as error:
        trainer.run(lambda info: seen.append(info.step) or info.step == 2)
    assert error.value.status == _c.ERROR_CANCELLED and seen == [1, 2]
    trainer.run()
    with pytest.raises(liblora.LoraError) as error:
        trainer.step()
    assert error.value.status == _c.ERROR_STATE


def test_what_a_callback_raises_comes_out(model, tmp_path):
    def fail(*_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        liblora.Trainer(liblora.Adapter.create(model), rows(model), max_steps=5).run(fail)
    model.save(tmp_path / "saved")
    with pytest.raises(KeyError, match="mine"):
        liblora.Model(model._keep, tmp_path / "saved", type=_c.TYPE_BF16, progress=fail)


def test_evaluation(model):
    data = rows(model)
    found = liblora.evaluate_loss(model, data, per_row=True)
    assert found["rows"] == 6
    assert sum(n for n, _ in found["nll"]) / found["label_tokens"] == pytest.approx(found["loss"])
    ids, labels = data[0]
    values = liblora.log_probabilities(model, ids)
    assert found["nll"][0][0] == pytest.approx(-sum(values[i, ids[i + 1]] for i in range(len(ids) - 1)), rel=1e-5)
    assert labels[0] == _c.LABEL_IGNORED and (labels[1:] == ids[1:]).all() and len(data) == 6


def test_generation_pulls_pieces(model):
    session = liblora.Session(model, context_length=64)
    ids, text = session.generate([5, 6, 7], max_new_tokens=8, temperature=0, ignore_end=1)
    assert len(ids) == 8 and text == model.tokenizer.decode(ids) and len(session) == 11
    pieces = list(session.chat([{"role": "user", "content": "Hello!"}], max_new_tokens=4, end_tokens=[1], stop=["§"]))
    assert pieces[-1].finish != _c.FINISH_NONE and len(pieces) <= 4
    assert numpy.exp(session.log_probabilities()).sum() == pytest.approx(1, abs=1e-4)


def test_handles_can_be_freed_in_any_order(folder):
    lines = []
    context = liblora.Context(threads=1, log=lambda level, line: lines.append(line), log_level=_c.LOG_DEBUG)
    model = liblora.Model(context, folder, initialize=1)
    adapter = liblora.Adapter.create(model)
    tokenizer, data, session = model.tokenizer, rows(model), liblora.Session(model, [(adapter, 0.5)])
    trainer = liblora.Trainer(liblora.Adapter.create(model), data, max_steps=2)
    del context, model, adapter, data
    gc.collect()
    assert len(session.generate([1, 2, 3], max_new_tokens=2, temperature=0, ignore_end=1)[0]) == 2
    assert [s.step for s in trainer] == [1, 2]
    assert tokenizer.decode(tokenizer.encode("Hello, 世界")) == "Hello, 世界"
    del trainer, session, tokenizer
    gc.collect()


def test_closing_a_model_early(folder):
    model = open_model(folder)
    tokenizer, session = model.tokenizer, liblora.Session(model)
    model.close()
    model.close()
    assert len(session.generate([1, 2], max_new_tokens=1, temperature=0)[0]) == 1  # the session holds the model
    with pytest.raises(ValueError, match="Model has been closed"):
        tokenizer.encode("x")


def test_merged_model_outlives_its_base(folder, tmp_path):
    model = open_model(folder)
    adapter = liblora.Adapter.create(model)
    for name in adapter.tensors:
        adapter.tensors[name] = numpy.full(adapter.tensors.shape(name), 0.05, numpy.float32)
    ids = [3, 4, 5]
    attached = liblora.log_probabilities(model, ids, [adapter])
    merged, report = model.merge([adapter])
    model.close()
    del model, adapter
    gc.collect()
    assert report["merged_tensors"] == 2 and numpy.abs(liblora.log_probabilities(merged, ids) - attached).max() < 1e-4
    merged.save(tmp_path / "merged")
    with pytest.raises(liblora.LoraError) as error:
        merged.save(tmp_path / "merged")
    assert error.value.status == _c.ERROR_EXISTS


def test_check_mix_and_diagnosis(tmp_path):
    context = liblora.Context(threads=1)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": "Where?", "completion": answer}) +
                            "\n" for answer in ("Here.", "Here. ", "")))
    check = liblora.Check(context, path)
    assert {finding["kind"] for finding in check.report["findings"]} == {"duplicate", "empty_output", "contradiction"}
    assert check.info["rows"] == 3 and check.info["errors"] == 1
    assert check.fix(tmp_path / "clean.jsonl") == {"kept_rows": 1, "dropped_rows": 2, "changed_rows": 0}
    own, general = (liblora.Dataset.create(context, [[1, first + i] for i in range(30)]) for first in (10, 100))
    assert own.mix({general: 0.25}, seed=1) == 10
    assert len(own) == 40 and own[39][0][1] >= 100
    found = liblora.diagnose([(1, .1, 3, None), (2, .2, 2, 2.0), (3, .3, 1.5, None), (4, .4, 1.2, 2.5)])
    assert found["fit"] == "overfitted" and found["best_epoch"] == pytest.approx(.2) and "过拟合" in found["chinese"]
