"""Contexts, tokenizers and base models: include/lora/context.h, tokenizer.h, model.h."""
import ctypes as c
import json

import numpy

from . import _c
from ._c import call, lib
from ._handle import as_dict, as_path, fetch_text, Handle, int_array, make_options, Stopper, Tensors
from .adapter import adapter_uses


class Context(Handle):
    """Settings: backend, threads, cpu_features, log_level; log(level, line) is called for each line."""
    _free = "lora_context_free"

    def __init__(self, log=None, **settings):
        options = make_options(_c.ContextOptions, "lora_context_options_init", settings)
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


class Tokenizer(Handle):
    _free = "lora_tokenizer_free"

    @classmethod
    def load(cls, context, path):
        out = c.c_void_p()
        call("lora_tokenizer_load", context.handle, as_path(path), c.byref(out))
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
        array, pointer = int_array(ids)
        text = fetch_text("lora_tokenizer_decode", self.handle, pointer, len(array), int(skip_special))
        return text.decode("utf-8", "replace")

    def render_chat(self, messages, add_generation_prompt=True, template=None, **extra):
        return fetch_text("lora_tokenizer_render_chat", self.handle, template.encode() if template else None,
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


class Model(Handle):
    """Settings: type, initialize, seed, check_finite, cache_quantized; progress(fraction) may return True to cancel."""
    _free = "lora_model_free"

    def __init__(self, context, path, progress=None, **settings):
        options = make_options(_c.ModelOptions, "lora_model_options_init", settings)
        stopper = Stopper(_c.PROGRESS_FN, progress and (lambda fraction, user: progress(fraction)))
        options.progress = stopper.c
        out = c.c_void_p()
        stopper.call("lora_model_load", context.handle, as_path(path), c.byref(options), c.byref(out))
        super().__init__(out.value, context)

    @classmethod
    def _of(cls, pointer, base):
        model = cls.__new__(cls)
        Handle.__init__(model, pointer, base)
        return model

    @property
    def info(self):
        return as_dict(self._info(_c.ModelInfo, "lora_model_get_info"))

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
        return Tensors(self, "lora_model_tensor")

    @property
    def tokenizer(self):
        pointer = lib.lora_model_tokenizer(self.handle)
        return _Lent(pointer, keep=self) if pointer else None

    def merge(self, adapters, type=_c.TYPE_KEEP):
        """(merged model, report): W + sum of weight * scale * B A. This model keeps its bits."""
        uses, count = adapter_uses(adapters)
        report, out = _c.MergeReport(), c.c_void_p()
        call("lora_model_merge", self.handle, uses, count, type, c.byref(report), c.byref(out))
        return Model._of(out.value, self), as_dict(report)

    def save(self, path, overwrite=False):
        call("lora_model_save", self.handle, as_path(path), int(overwrite))

    def quantize(self, path, progress=None, **settings):
        """Writes a smaller copy; settings: type, double_quantization, overwrite; progress(fraction) may return True to
        cancel."""
        options = make_options(_c.QuantizeOptions, "lora_quantize_options_init", settings)
        stopper = Stopper(_c.PROGRESS_FN, progress and (lambda fraction, user: progress(fraction)))
        options.progress = stopper.c
        report = _c.QuantizeReport()
        stopper.call("lora_model_quantize", self.handle, as_path(path), c.byref(options), c.byref(report))
        return as_dict(report)
