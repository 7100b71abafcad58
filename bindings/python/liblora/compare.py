"""Comparing settings: lora_comparison."""
import ctypes as c
import json

from . import _adapter_options, _as_dict, _c, _Handle, _options, _path, _Stopper, _trainer_options
from ._c import LoraError, call, lib


class Comparison(_Handle):
    """One training run for each setting that is added, under one directory; see include/lora/compare.h.

        comparison = Comparison(model, train, output="ranks", validation=heldout)
        for r in (4, 8, 16):
            comparison.add("r%d" % r, adapter={"r": r, "lora_alpha": 32}, trainer={"epochs": 5})
        comparison.run_all()
        print(comparison.verdict["sentence_en"])
    """
    _free = "lora_comparison_free"

    def __init__(self, model, data, output, validation, general=None, **settings):
        options = _options(_c.ComparisonOptions, "lora_comparison_options_init", settings)
        options.output, options.validation = _path(output), validation.handle
        options.general = general.handle if general else None
        out = c.c_void_p()
        call("lora_comparison_create", model.handle, data.handle, c.byref(options), c.byref(out))
        super().__init__(out.value, [model])

    def add(self, name, adapter=(), trainer=(), data=None):
        adapter, trainer = _adapter_options(adapter), _trainer_options(trainer)
        call("lora_comparison_add", self.handle, name.encode(), data.handle if data else None, c.byref(adapter), c.byref(trainer))
        self._keep += [adapter, trainer]  # the library borrows their texts and lists

    def run(self, callback=None):
        """The next run: the number of its setting, or None when all are finished. callback(progress) may return True to stop."""
        index = c.c_int64(-1)
        stopper = _Stopper(_c.COMPARISON_FN, callback and (lambda progress, user: callback(progress.contents)))
        try:
            stopper.call("lora_comparison_run", self.handle, stopper.c, None, c.byref(index))
        except LoraError as error:
            if error.status != _c.ERROR_STATE:
                raise
            return None
        return index.value

    def run_all(self, callback=None):
        while self.run(callback) is not None:
            pass

    def cancel(self):
        lib.lora_comparison_cancel(self.handle)

    def __len__(self):
        return lib.lora_comparison_count(self.handle)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = _c.ComparisonRow()
        call("lora_comparison_row_at", self.handle, index, c.byref(row))
        return _as_dict(row)

    @property
    def base(self):
        return _as_dict(self._info(_c.ComparisonRow, "lora_comparison_base"))

    @property
    def verdict(self):
        return _as_dict(self._info(_c.ComparisonVerdict, "lora_comparison_judge"))

    @property
    def document(self):
        text = c.c_char_p()
        call("lora_comparison_json", self.handle, c.byref(text))
        return json.loads(text.value)
