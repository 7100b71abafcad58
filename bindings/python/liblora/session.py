"""Answers, one session at a time or many together: include/lora/session.h."""
import ctypes as c

import numpy

from . import _c
from ._c import call, lib
from ._handle import as_dict, float_pointer, Handle, int_array, make_options, text_array
from .adapter import adapter_uses


class Piece:
    """One generated token: id, text (whole characters), finish, log_probability."""

    def __init__(self, piece):
        self.id, self.finish, self.log_probability = piece.id, piece.finish, piece.log_probability
        self.text = c.string_at(piece.text, piece.text_length).decode() if piece.text else ""


class Session(Handle):
    """Settings: context_length, prefill_batch, cache_type (TYPE_F32, TYPE_F16 or TYPE_BF16)."""
    _free = "lora_session_free"

    def __init__(self, model, adapters=(), **settings):
        options = make_options(_c.SessionOptions, "lora_session_options_init", settings)
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
        options = make_options(_c.SessionOptions, "lora_session_options_init", settings)
        out = c.c_void_p()
        call("lora_session_fork", self.handle, len(self) if length is None else length, c.byref(options), c.byref(out))
        forked = Session.__new__(Session)
        Handle.__init__(forked, out.value, self._keep)
        forked._vocabulary, forked._tokenizer = self._vocabulary, self._tokenizer
        forked._prefill_batch = options.prefill_batch
        return forked

    def set_adapters(self, adapters):
        """Adapters, or (adapter, weight) pairs; () is the base alone."""
        uses, count = adapter_uses(adapters)
        call("lora_session_set_adapters", self.handle, uses, count)

    def reset(self):
        lib.lora_session_reset(self.handle)

    def truncate(self, length):
        call("lora_session_truncate", self.handle, length)

    def __len__(self):
        return lib.lora_session_length(self.handle)

    @property
    def info(self):
        return as_dict(self._info(_c.SessionInfo, "lora_session_get_info"))

    def prompt(self, ids, later=False, **settings):
        """later: nothing is run until Batch.run."""
        stop = [settings["stop"]] if isinstance(settings.get("stop"), str) else settings.get("stop")
        if stop:
            settings.update(stop=text_array(stop), stop_count=len(stop))
        if settings.get("end_tokens") is not None:
            end = list(settings["end_tokens"])
            settings.update(end_tokens=(_c.INT * len(end))(*end), end_token_count=len(end))
        options = make_options(_c.GenerateOptions, "lora_generate_options_init", settings)
        array, pointer = int_array(ids)
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
        call("lora_session_log_probabilities", self.handle, float_pointer(values), values.size)
        return values


class Batch(Handle):
    """Runs sessions together. Settings: max_sessions, prompt_tokens."""
    _free = "lora_batch_free"

    def __init__(self, model, **settings):
        options = make_options(_c.BatchOptions, "lora_batch_options_init", settings)
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


def log_probabilities(model, ids, adapters=()):
    """[len(ids), vocabulary] log-probabilities of the token after each position."""
    uses, count = adapter_uses(adapters)
    array, pointer = int_array(ids)
    values = numpy.empty((len(array), model.info["vocabulary"]), numpy.float32)
    call("lora_evaluate_log_probabilities", model.handle, uses, count, pointer, len(array), float_pointer(values),
         values.size)
    return values


def plan_inference(model, context_length, **settings):
    """Bytes that a session with these settings will take."""
    plan = _c.MemoryPlan()
    options = make_options(_c.SessionOptions, "lora_session_options_init",
                           {"context_length": context_length, **settings})
    call("lora_plan_session", model.handle, c.byref(options), c.byref(plan))
    return as_dict(plan)
