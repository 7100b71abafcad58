"""LoRA fine-tuning of language models. See README.md, and the C headers in include/lora/ for what each setting
means."""
import ctypes as c
import json

import numpy

from . import _c
from ._c import LoraError, call, lib

__all__ = ["Context", "Tokenizer", "Model", "Dataset", "Adapter", "Trainer", "Session", "Check", "Comparison",
           "BlindTest", "Report", "LoraError", "evaluate_loss", "log_probabilities", "plan_training", "plan_inference",
           "Evaluation", "Metric", "classify", "distinct", "repetition", "diagnose"]
__version__ = lib.lora_version().decode()


def _ids(values):
    array = numpy.ascontiguousarray(values, dtype=numpy.int32)
    return array, array.ctypes.data_as(_c.INTS)


def _texts(values):
    return (c.c_char_p * len(values))(*[v.encode() for v in values]) if values else None


def _floats(array):
    return array.ctypes.data_as(_c.FLOATS)


def _path(value):
    return str(value).encode()


def _fill(options, settings):
    """Sets fields of an option struct by name; an unknown name is an error, as for any Python keyword."""
    names = {name for name, _ in options._fields_} - {"struct_size", "reserved"}
    for name, value in settings.items():
        if name not in names:
            raise TypeError("unknown setting %r; there are: %s" % (name, ", ".join(sorted(names))))
        setattr(options, name, value.encode() if isinstance(value, str) else value)
    return options


def _options(struct, init, settings):
    options = struct()
    getattr(lib, init)(c.byref(options), c.sizeof(options))
    return _fill(options, settings)


def _as_dict(info):
    found = {}
    for name, _ in info._fields_:
        if name not in ("struct_size", "reserved"):
            value = getattr(info, name)
            found[name] = value.decode() if isinstance(value, bytes) else value
    return found


class _Stopper:
    """A callback for C that stops the run when `function` returns true. What it raises ends the run too, and leaves by
    check()."""

    def __init__(self, kind, function):
        self._error = None
        self.c = kind(lambda *arguments: self._ask(function, arguments)) if function else kind()

    def _ask(self, function, arguments):
        try:
            return int(bool(function(*arguments)))
        except BaseException as error:
            self._error = error
            return 1

    def call(self, name, *arguments):
        try:
            call(name, *arguments)
        except LoraError:
            if self._error is None:
                raise
        if self._error is not None:
            raise self._error


class _Handle:
    """Owns a C handle. `_keep` holds what C only borrows (a log callback), by way of the handle that this one was made
    from."""
    _free = None

    def __init__(self, pointer, keep=()):
        self._pointer = pointer
        self._keep = keep

    @property
    def handle(self):
        if not self._pointer:
            raise ValueError("this %s has been closed" % type(self).__name__)
        return self._pointer

    def close(self):
        pointer, self._pointer = getattr(self, "_pointer", None), None
        if pointer and self._free:
            getattr(lib, self._free)(pointer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()

    def _info(self, struct, function):
        info = struct()
        call(function, self.handle, c.byref(info))
        return info


class Context(_Handle):
    """Settings: backend, threads, cpu_features, log_level; log(level, line) is called for each line."""
    _free = "lora_context_free"

    def __init__(self, log=None, **settings):
        options = _options(_c.ContextOptions, "lora_context_options_init", settings)
        keep = []
        if log:
            options.log = _c.LOG_FN(lambda level, line, user: log(level, line.decode("utf-8", "replace")))
            keep.append(options.log)
        out = c.c_void_p()
        call("lora_context_create", c.byref(out), c.byref(options))
        super().__init__(out.value, keep)

    @property
    def backend(self):
        return lib.lora_context_backend(self.handle).decode()

    @property
    def device(self):
        return lib.lora_context_device(self.handle).decode()


def _fetch_text(name, *arguments):
    """A text from a call that takes (..., buffer, capacity, &length)."""
    length = c.c_size_t()
    call(name, *arguments, None, 0, c.byref(length))
    buffer = c.create_string_buffer(length.value + 1)
    call(name, *arguments, buffer, length.value, c.byref(length))
    return buffer.raw[:length.value]


class Tokenizer(_Handle):
    _free = "lora_tokenizer_free"

    @classmethod
    def load(cls, context, path):
        out = c.c_void_p()
        call("lora_tokenizer_load", context.handle, _path(path), c.byref(out))
        return cls(out.value, context)

    def encode(self, text, add_special=False):
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        count = c.c_size_t()
        arguments = (self.handle, data, len(data), int(add_special))
        call("lora_tokenizer_encode", *arguments, None, 0, c.byref(count))
        ids = numpy.empty(count.value, numpy.int32)
        call("lora_tokenizer_encode", *arguments, ids.ctypes.data_as(_c.INTS), count.value, c.byref(count))
        return ids

    def decode(self, ids, skip_special=True):
        array, pointer = _ids(ids)
        text = _fetch_text("lora_tokenizer_decode", self.handle, pointer, len(array), int(skip_special))
        return text.decode("utf-8", "replace")

    def render_chat(self, messages, add_generation_prompt=True, template=None, **extra):
        return _fetch_text("lora_tokenizer_render_chat", self.handle, template.encode() if template else None,
                           json.dumps(messages).encode(), json.dumps(extra).encode() if extra else None,
                           int(add_generation_prompt)).decode()

    @property
    def chat_template(self):
        text = lib.lora_tokenizer_chat_template(self.handle)
        return text.decode() if text else None

    def token(self, id):
        text = lib.lora_tokenizer_token(self.handle, id)
        return text.decode("utf-8", "replace") if text else None

    def find(self, token):
        return lib.lora_tokenizer_find(self.handle, token.encode())

    def is_special(self, id):
        return bool(lib.lora_tokenizer_is_special(self.handle, id))

    def special_id(self, role):
        return lib.lora_tokenizer_special_id(self.handle, role)

    def __len__(self):
        return lib.lora_tokenizer_vocabulary_size(self.handle)


class _Lent(Tokenizer):
    """The tokenizer of a model: lives as long as the model, which it keeps."""
    _free = None

    @property
    def handle(self):
        return self._keep.handle and super().handle


def _uses(adapters):
    """Adapters, or (adapter, weight) pairs, as an array for C."""
    pairs = [a if isinstance(a, tuple) else (a, 1.0) for a in adapters]
    uses = [_c.AdapterUse(adapter.handle, weight, 0) for adapter, weight in pairs]
    return (_c.AdapterUse * len(uses))(*uses) if uses else None, len(uses)


class _Tensors:
    """Named f32 tensors behind (count, name, shape, read) functions."""

    def __init__(self, owner, prefix):
        self._owner, self._prefix = owner, prefix
        count = getattr(lib, prefix + "_count")(owner.handle)
        self._index = {getattr(lib, prefix + "_name")(owner.handle, i).decode(): i for i in range(count)}

    def __iter__(self):
        return iter(self._index)

    def __len__(self):
        return len(self._index)

    def keys(self):
        return self._index.keys()

    def items(self):
        return ((name, self[name]) for name in self._index)

    def shape(self, name):
        rows, cols = c.c_int64(), c.c_int64()
        call(self._prefix + "_shape", self._owner.handle, self._index[name], c.byref(rows), c.byref(cols))
        return rows.value, cols.value

    def __getitem__(self, name):
        values = numpy.empty(self.shape(name), numpy.float32)
        call(self._prefix + "_read", self._owner.handle, self._index[name], _floats(values), values.size)
        return values

    def __setitem__(self, name, values):
        array = numpy.ascontiguousarray(values, dtype=numpy.float32)
        call(self._prefix + "_write", self._owner.handle, self._index[name], _floats(array), array.size)


class Model(_Handle):
    """Settings: type, initialize, seed, check_finite, cache_quantized; progress(fraction) may return True to cancel."""
    _free = "lora_model_free"

    def __init__(self, context, path, progress=None, **settings):
        options = _options(_c.ModelOptions, "lora_model_options_init", settings)
        stopper = _Stopper(_c.PROGRESS_FN, progress and (lambda fraction, user: progress(fraction)))
        options.progress = stopper.c
        out = c.c_void_p()
        stopper.call("lora_model_load", context.handle, _path(path), c.byref(options), c.byref(out))
        super().__init__(out.value, context)

    @classmethod
    def _of(cls, pointer, base):
        model = cls.__new__(cls)
        _Handle.__init__(model, pointer, base)
        return model

    @property
    def info(self):
        return _as_dict(self._info(_c.ModelInfo, "lora_model_get_info"))

    @property
    def modules(self):
        """Linear layers: name -> (out_features, in_features)."""
        found, rows, cols = {}, c.c_int64(), c.c_int64()
        for i in range(lib.lora_model_module_count(self.handle)):
            call("lora_model_module_shape", self.handle, i, c.byref(rows), c.byref(cols))
            found[lib.lora_model_module_name(self.handle, i).decode()] = (rows.value, cols.value)
        return found

    @property
    def tensors(self):
        return _Tensors(self, "lora_model_tensor")

    @property
    def tokenizer(self):
        pointer = lib.lora_model_tokenizer(self.handle)
        return _Lent(pointer, keep=self) if pointer else None

    def merge(self, adapters, type=_c.TYPE_KEEP):
        """(merged model, report): W + sum of weight * scale * B A. This model keeps its bits."""
        uses, count = _uses(adapters)
        report, out = _c.MergeReport(), c.c_void_p()
        call("lora_model_merge", self.handle, uses, count, type, c.byref(report), c.byref(out))
        return Model._of(out.value, self), _as_dict(report)

    def save(self, path, overwrite=False):
        call("lora_model_save", self.handle, _path(path), int(overwrite))

    def quantize(self, path, progress=None, **settings):
        """Writes a smaller copy; settings: type, double_quantization, overwrite; progress(fraction) may return True to
        cancel."""
        options = _options(_c.QuantizeOptions, "lora_quantize_options_init", settings)
        stopper = _Stopper(_c.PROGRESS_FN, progress and (lambda fraction, user: progress(fraction)))
        options.progress = stopper.c
        report = _c.QuantizeReport()
        stopper.call("lora_model_quantize", self.handle, _path(path), c.byref(options), c.byref(report))
        return _as_dict(report)


def _paths(paths):
    """One path or several, as texts."""
    return [str(p) for p in ([paths] if isinstance(paths, (str, bytes)) or hasattr(paths, "__fspath__") else paths)]


class Dataset(_Handle):
    _free = "lora_dataset_free"

    @classmethod
    def load(cls, context, paths, tokenizer=None, **settings):
        paths = _paths(paths)
        options = _options(_c.DatasetOptions, "lora_dataset_options_init", settings)
        out = c.c_void_p()
        call("lora_dataset_load", context.handle, tokenizer.handle if tokenizer else None, _texts(paths), len(paths),
             c.byref(options), c.byref(out))
        return cls(out.value, context)

    @staticmethod
    def read_rows(context, path):
        """The rows of a data file as they are: dictionaries with the file's own keys."""
        rows = []

        @_c.ROW_FN
        def take(text, length, number, user):
            rows.append(json.loads(c.string_at(text, length)))
            return 0
        call("lora_dataset_read_rows", context.handle, _path(path), take, None)
        return rows

    @classmethod
    def create(cls, context, rows=()):
        """From rows of ids, or (ids, labels)."""
        out = c.c_void_p()
        call("lora_dataset_create", context.handle, c.byref(out))
        dataset = cls(out.value, context)
        for row in rows:
            dataset.add(*row) if isinstance(row, tuple) else dataset.add(row)
        return dataset

    def add(self, ids, labels=None):
        array, pointer = _ids(ids)
        label_array, label_pointer = _ids(labels) if labels is not None else (None, None)
        if labels is not None and len(label_array) != len(array):
            raise ValueError("%d ids but %d labels" % (len(array), len(label_array)))
        call("lora_dataset_add", self.handle, pointer, label_pointer, len(array))

    def split(self, fraction, seed=42):
        out = c.c_void_p()
        call("lora_dataset_split", self.handle, fraction, seed, c.byref(out))
        return Dataset(out.value, self)

    def mix(self, parts, seed=42):
        """Adds rows of general data: parts is {dataset: fraction of all rows}. Returns how many were added."""
        mixes = (_c.Mix * len(parts))(*[_c.Mix(general=general.handle, fraction=fraction)
                                        for general, fraction in parts.items()])
        added = c.c_int64()
        call("lora_dataset_mix", self.handle, mixes, len(parts), seed, c.byref(added))
        return added.value

    @property
    def info(self):
        return _as_dict(self._info(_c.DatasetInfo, "lora_dataset_get_info"))

    def __len__(self):
        return self.info["rows"]

    def __getitem__(self, index):
        ids, labels, count = _c.INTS(), _c.INTS(), c.c_size_t()
        if index < 0 or index >= len(self):
            raise IndexError(index)
        call("lora_dataset_row", self.handle, index, c.byref(ids), c.byref(labels), c.byref(count))
        return numpy.array(ids[:count.value], numpy.int32), numpy.array(labels[:count.value], numpy.int32)

    def text(self, index):
        """(prompt, answer), None where a row has none."""
        prompt, answer = c.c_char_p(), c.c_char_p()
        call("lora_dataset_row_text", self.handle, index, c.byref(prompt), c.byref(answer))
        return tuple(t.value.decode() if t.value is not None else None for t in (prompt, answer))


def _patterns(values):
    if not values:
        return None
    return (_c.Pattern * len(values))(*[_c.Pattern(name.encode(), value) for name, value in values.items()])


def _adapter_options(settings):
    settings = dict(settings)
    target = settings.get("target_modules")
    if isinstance(target, str) and target.lower() != "all-linear":  # PEFT: a text is a regular expression
        settings["target_regex"] = settings.pop("target_modules")
    elif isinstance(target, str):
        settings["target_modules"] = [target]
    counts = {"target_modules": "target_module_count", "exclude_modules": "exclude_module_count",
              "modules_to_save": "module_to_save_count"}
    for name, count in counts.items():
        if settings.get(name):
            settings[count] = len(settings[name])
            settings[name] = _texts(settings[name])
        else:
            settings.pop(name, None)
    for name in ("rank_pattern", "alpha_pattern"):
        if settings.get(name):
            settings[name + "_count"] = len(settings[name])
            settings[name] = _patterns(settings[name])
        else:
            settings.pop(name, None)
    layers = settings.pop("layers_to_transform", None)
    if layers is not None:
        layers = [layers] if isinstance(layers, int) else list(layers)
        settings.update(layers_to_transform=(_c.INT * len(layers))(*layers), layer_count=len(layers))
    if isinstance(settings.get("bias"), str):
        settings["bias"] = ["none", "all", "lora_only"].index(settings["bias"])
    return _options(_c.AdapterOptions, "lora_adapter_options_init", settings)


class Adapter(_Handle):
    _free = "lora_adapter_free"

    @classmethod
    def create(cls, model, **settings):
        options = _adapter_options(settings)
        out = c.c_void_p()
        call("lora_adapter_create", model.handle, c.byref(options), c.byref(out))
        return cls(out.value, model)

    @classmethod
    def load(cls, model, path, allow_unchanged=False):
        out = c.c_void_p()
        call("lora_adapter_load", model.handle, _path(path), int(allow_unchanged), c.byref(out))
        return cls(out.value, model)

    def save(self, path, overwrite=False):
        call("lora_adapter_save", self.handle, _path(path), int(overwrite))

    @property
    def info(self):
        return _as_dict(self._info(_c.AdapterInfo, "lora_adapter_get_info"))

    @property
    def tensors(self):
        """Read and write by PEFT's key."""
        return _Tensors(self, "lora_adapter_tensor")


def _trainer_options(settings):
    settings = dict(settings)
    if isinstance(settings.get("schedule"), str):
        settings["schedule"] = ["constant", "linear", "cosine"].index(settings["schedule"])
    if settings.get("validation") is not None:
        settings["validation"] = settings["validation"].handle
    if "output" in settings:
        settings["output"] = _path(settings["output"]) if settings["output"] is not None else None
    return _options(_c.TrainerOptions, "lora_trainer_options_init", settings)


def _diagnosis(function, *arguments):
    found = _c.Diagnosis()
    call(function, *arguments, c.byref(found))
    return {**_as_dict(found), "fit": lib.lora_fit_name(found.fit).decode(), "english": found.english.decode(),
            "chinese": found.chinese.decode()}


def diagnose(points):
    """Judges a curve: points are (step, epoch, loss, eval_loss), with NaN or None where nothing was evaluated."""
    array = (_c.CurvePoint * len(points))()
    for place, (step, epoch, loss, held) in zip(array, points):
        place.step, place.epoch, place.loss, place.eval_loss = step, epoch, loss, float("nan") if held is None else held
    return _diagnosis("lora_diagnose", array, len(array))


class Trainer(_Handle):
    """Iterating takes steps until the run is done; each is a StepInfo (step, loss, learning_rate, gradient_norm,
    ...)."""
    _free = "lora_trainer_free"

    def __init__(self, adapter, data, **settings):
        out = c.c_void_p()
        options = _trainer_options(settings)
        call("lora_trainer_create", adapter.handle, data.handle, c.byref(options), c.byref(out))
        super().__init__(out.value, adapter)

    def step(self):
        info = _c.StepInfo()
        call("lora_trainer_step", self.handle, c.byref(info))
        return info

    def __iter__(self):
        while True:
            info = self.step()
            yield info
            if info.done:
                return

    def run(self, callback=None):
        """callback(step info) may return True to stop, which raises LoraError with ERROR_CANCELLED."""
        stopper = _Stopper(_c.STEP_FN, callback and (lambda info, user: callback(info.contents)))
        stopper.call("lora_trainer_run", self.handle, stopper.c, None)

    def cancel(self):
        lib.lora_trainer_cancel(self.handle)

    def diagnose(self):
        """What the curves say: fit ("good", "overfitted", ...), sentences in english and chinese, and the figures."""
        return _diagnosis("lora_trainer_diagnose", self.handle)

    def evaluate(self):
        loss = c.c_double()
        call("lora_trainer_evaluate", self.handle, c.byref(loss))
        return loss.value

    def save(self):
        call("lora_trainer_save", self.handle)

    def resume(self):
        step = c.c_int64()
        call("lora_trainer_resume", self.handle, c.byref(step))
        return step.value

    @property
    def plan(self):
        return _as_dict(self._info(_c.MemoryPlan, "lora_trainer_plan"))


class Piece:
    """One generated token: id, text (whole characters), finish, log_probability."""

    def __init__(self, piece):
        self.id, self.finish, self.log_probability = piece.id, piece.finish, piece.log_probability
        self.text = c.string_at(piece.text, piece.text_length).decode() if piece.text else ""


class Session(_Handle):
    """Settings: context_length, prefill_batch, cache_type (TYPE_F32, TYPE_F16 or TYPE_BF16)."""
    _free = "lora_session_free"

    def __init__(self, model, adapters=(), **settings):
        options = _options(_c.SessionOptions, "lora_session_options_init", settings)
        out = c.c_void_p()
        call("lora_session_create", model.handle, c.byref(options), c.byref(out))
        super().__init__(out.value, model)
        self._prefill_batch = options.prefill_batch
        self._vocabulary = model.info["vocabulary"]
        self._tokenizer = model.tokenizer
        if adapters:
            self.set_adapters(adapters)

    def fork(self, length=None, **settings):
        """A session that begins with the first `length` tokens (all of them) of this one."""
        settings.setdefault("prefill_batch", self._prefill_batch)
        options = _options(_c.SessionOptions, "lora_session_options_init", settings)
        out = c.c_void_p()
        call("lora_session_fork", self.handle, len(self) if length is None else length, c.byref(options), c.byref(out))
        forked = Session.__new__(Session)
        _Handle.__init__(forked, out.value, self._keep)
        forked._vocabulary, forked._tokenizer = self._vocabulary, self._tokenizer
        forked._prefill_batch = options.prefill_batch
        return forked

    def set_adapters(self, adapters):
        """Adapters, or (adapter, weight) pairs; () is the base alone."""
        uses, count = _uses(adapters)
        call("lora_session_set_adapters", self.handle, uses, count)

    def reset(self):
        lib.lora_session_reset(self.handle)

    def truncate(self, length):
        call("lora_session_truncate", self.handle, length)

    def __len__(self):
        return lib.lora_session_length(self.handle)

    @property
    def info(self):
        return _as_dict(self._info(_c.SessionInfo, "lora_session_get_info"))

    def prompt(self, ids, later=False, **settings):
        """later: nothing is run until Batch.run."""
        stop = [settings["stop"]] if isinstance(settings.get("stop"), str) else settings.get("stop")
        if stop:
            settings.update(stop=_texts(stop), stop_count=len(stop))
        if settings.get("end_tokens") is not None:
            end = list(settings["end_tokens"])
            settings.update(end_tokens=(_c.INT * len(end))(*end), end_token_count=len(end))
        options = _options(_c.GenerateOptions, "lora_generate_options_init", settings)
        array, pointer = _ids(ids)
        call("lora_session_prompt_later" if later else "lora_session_prompt", self.handle, pointer, len(array),
             c.byref(options))

    def next(self):
        piece = _c.Piece()
        call("lora_session_next", self.handle, c.byref(piece))
        return Piece(piece)

    def stream(self, ids, **settings):
        """Pieces of the answer to a prompt of ids."""
        self.prompt(ids, **settings)
        while True:
            piece = self.next()
            yield piece
            if piece.finish != _c.FINISH_NONE:
                return

    def chat(self, messages, **settings):
        """Pieces of the answer to a conversation, which replaces what the session held."""
        self.reset()
        return self.stream(self._tokenizer.encode(self._tokenizer.render_chat(messages)), **settings)

    def generate(self, ids, **settings):
        """(ids, text) of the answer."""
        pieces = list(self.stream(ids, **settings))
        return [p.id for p in pieces if p.id >= 0], "".join(p.text for p in pieces)

    def cancel(self):
        lib.lora_session_cancel(self.handle)

    def log_probabilities(self):
        """Of the token that comes next."""
        values = numpy.empty(self._vocabulary, numpy.float32)
        call("lora_session_log_probabilities", self.handle, _floats(values), values.size)
        return values


class Batch(_Handle):
    """Runs sessions together. Settings: max_sessions, prompt_tokens."""
    _free = "lora_batch_free"

    def __init__(self, model, **settings):
        options = _options(_c.BatchOptions, "lora_batch_options_init", settings)
        out = c.c_void_p()
        call("lora_batch_create", model.handle, c.byref(options), c.byref(out))
        super().__init__(out.value, model)

    def run(self, sessions):
        """[(status, tokens left of the prompt)]: those with (0, 0) are ready for next()."""
        count = len(sessions)
        handles = (c.c_void_p * count)(*(s.handle for s in sessions))
        statuses, left = (_c.INT * count)(), (_c.LONG * count)()
        call("lora_batch_run", self.handle, handles, count, statuses, left)
        return list(zip(statuses, left))


def evaluate_loss(model, data, adapters=(), per_row=False):
    """{"loss", "perplexity", ...}; with per_row also "nll": [(summed loss, label tokens)] of each row."""
    uses, count = _uses(adapters)
    rows, loss = [], _c.Loss()
    keep = lambda row, nll, labels, user: rows.append((nll, labels)) or 0
    function = _c.ROW_LOSS_FN(keep) if per_row else _c.ROW_LOSS_FN()
    call("lora_evaluate_loss", model.handle, uses, count, data.handle, function, None, c.byref(loss))
    found = _as_dict(loss)
    if per_row:
        found["nll"] = rows
    return found


def log_probabilities(model, ids, adapters=()):
    """[len(ids), vocabulary] log-probabilities of the token after each position."""
    uses, count = _uses(adapters)
    array, pointer = _ids(ids)
    values = numpy.empty((len(array), model.info["vocabulary"]), numpy.float32)
    call("lora_evaluate_log_probabilities", model.handle, uses, count, pointer, len(array), _floats(values),
         values.size)
    return values


def plan_training(model, row_length, adapter=None, **settings):
    """Bytes that a run will take; `adapter` holds adapter settings."""
    plan = _c.MemoryPlan()
    adapter_options, trainer_options = _adapter_options(adapter or {}), _trainer_options(settings)
    call("lora_plan_training", model.handle, c.byref(adapter_options), c.byref(trainer_options), row_length,
         c.byref(plan))
    return _as_dict(plan)


def plan_inference(model, context_length, **settings):
    """Bytes that a session with these settings will take."""
    plan = _c.MemoryPlan()
    options = _options(_c.SessionOptions, "lora_session_options_init", {"context_length": context_length, **settings})
    call("lora_plan_session", model.handle, c.byref(options), c.byref(plan))
    return _as_dict(plan)


from .check import Check  # noqa: E402
from .compare import BlindTest, Comparison, Report  # noqa: E402  (it is made of what stands above)


from .evaluation import Evaluation  # noqa: E402  (it uses what stands above)
from .metrics import Metric, classify, distinct, repetition  # noqa: E402  (it uses what stands above)
