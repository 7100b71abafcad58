"""Comparing settings, blind tests, and reports: lora_comparison, lora_ab, lora_report."""
import ctypes as c
import json

from . import _c
from ._c import call, lib, LoraError
from ._handle import as_dict, as_path, Handle, make_options, Stopper
from .adapter import adapter_options, adapter_uses
from .trainer import trainer_options


class Comparison(Handle):
    """One training run for each setting that is added, under one directory; see include/lora/compare.h.

        comparison = Comparison(model, train, output="ranks", validation=heldout)
        for r in (4, 8, 16):
            comparison.add("r%d" % r, adapter={"r": r, "lora_alpha": 32}, trainer={"epochs": 5})
        comparison.run_all()
        print(comparison.verdict["sentence_en"])
    """
    _free = "lora_comparison_free"

    def __init__(self, model, data, output, validation, general=None, **settings):
        options = make_options(_c.ComparisonOptions, "lora_comparison_options_init", settings)
        options.output, options.validation = as_path(output), validation.handle
        options.general = general.handle if general else None
        out = c.c_void_p()
        call("lora_comparison_create", model.handle, data.handle, c.byref(options), c.byref(out))
        super().__init__(out.value, [model])

    def add(self, name, adapter=(), trainer=(), data=None):
        adapter, trainer = adapter_options(adapter), trainer_options(trainer)
        call("lora_comparison_add", self.handle, name.encode(), data.handle if data else None, c.byref(adapter),
             c.byref(trainer))
        self._keep += [adapter, trainer]  # the library borrows their texts and lists

    def run(self, callback=None):
        """The next run: the number of its setting, or None when all are finished. callback(progress) may return True to
        stop."""
        index = c.c_int64(-1)
        stopper = Stopper(_c.COMPARISON_FN, callback and (lambda progress, user: callback(progress.contents)))
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
        return as_dict(row)

    @property
    def base(self):
        return as_dict(self._info(_c.ComparisonRow, "lora_comparison_base"))

    @property
    def verdict(self):
        return as_dict(self._info(_c.ComparisonVerdict, "lora_comparison_judge"))

    @property
    def document(self):
        text = c.c_char_p()
        call("lora_comparison_json", self.handle, c.byref(text))
        return json.loads(text.value)


class BlindTest(Handle):
    """Two systems, people who choose the better answer without knowing whose it is; see include/lora/ab.h.

        test = BlindTest.prepare(model, [], [adapter], heldout, name_a="base", name_b="tuned")
        while (item := test.next("me")) is not None:
            test.verdict("me", item["index"], "left")
        print(test.result["sentence_en"])
    """
    _free = "lora_ab_free"
    _choices = {"left": _c.AB_LEFT, "right": _c.AB_RIGHT, "tie": _c.AB_TIE}

    @classmethod
    def create(cls, context, pairs=(), **settings):
        """pairs: (prompt, answer of A, answer of B)."""
        out = c.c_void_p()
        call("lora_ab_create", context.handle, c.byref(make_options(_c.AbOptions, "lora_ab_options_init", settings)),
             c.byref(out))
        test = cls(out.value, [context])
        for pair in pairs:
            call("lora_ab_add", test.handle, *[text.encode() for text in pair])
        return test

    @classmethod
    def prepare(cls, model, a, b, data, callback=None, **settings):
        """a, b: adapters as Session takes them, [] for the base. callback(done, total) may return True to stop."""
        out = c.c_void_p()
        generate = settings.pop("generate", None)
        options = make_options(_c.AbOptions, "lora_ab_options_init", settings)
        if generate:
            chosen = make_options(_c.GenerateOptions, "lora_generate_options_init", generate)
            options.generate = c.pointer(chosen)
        stopper = Stopper(_c.AB_FN, callback and (lambda done, total, user: callback(done, total)))
        stopper.call("lora_ab_prepare", model.handle, *adapter_uses(a), *adapter_uses(b), data.handle,
                     c.byref(options), stopper.c, None, c.byref(out))
        return cls(out.value, [model])

    @classmethod
    def load(cls, context, path):
        out = c.c_void_p()
        call("lora_ab_load", context.handle, as_path(path), c.byref(out))
        return cls(out.value, [context])

    def save(self, path, overwrite=False):
        call("lora_ab_save", self.handle, as_path(path), int(overwrite))

    def __len__(self):
        return lib.lora_ab_count(self.handle)

    def next(self, judge):
        item = _c.AbItem()
        call("lora_ab_next", self.handle, judge.encode(), c.byref(item))
        return as_dict(item) if item.index >= 0 else None

    def verdict(self, judge, index, choice):
        """choice: "left", "right" or "tie"."""
        call("lora_ab_verdict", self.handle, judge.encode(), index, self._choices[choice])

    def undo(self, judge):
        index = c.c_int64()
        call("lora_ab_undo", self.handle, judge.encode(), c.byref(index))
        return index.value

    def merge(self, other):
        call("lora_ab_merge", self.handle, other.handle)

    @property
    def result(self):
        return as_dict(self._info(_c.AbResult, "lora_ab_get_result"))

    @property
    def document(self):
        text = c.c_char_p()
        call("lora_ab_json", self.handle, c.byref(text))
        return json.loads(text.value)


class Report(Handle):
    """One HTML file of what runs did; see include/lora/report.h for the kinds of parts.

        report = Report(context, language="zh")
        report.add("compare", comparison.document)
        report.save("comparison.html")
    """
    _free = "lora_report_free"

    def __init__(self, context, **settings):
        out = c.c_void_p()
        options = make_options(_c.ReportOptions, "lora_report_options_init", settings)
        call("lora_report_create", context.handle, c.byref(options), c.byref(out))
        super().__init__(out.value, [context])

    def add(self, kind, document):
        """document: JSON text, or a value that becomes it; of kind "log" a text of lines or a list of their values."""
        if kind == "log" and not isinstance(document, str):
            document = "\n".join(map(json.dumps, document))
        text = (document if isinstance(document, str) else json.dumps(document)).encode()
        call("lora_report_add", self.handle, kind.encode(), text, len(text))

    @property
    def html(self):
        text = c.c_char_p()
        call("lora_report_html", self.handle, c.byref(text), None)
        return text.value.decode()

    def save(self, path, overwrite=False):
        call("lora_report_save", self.handle, as_path(path), int(overwrite))
