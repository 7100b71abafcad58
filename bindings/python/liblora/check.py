"""Data quality: lora_check."""
import ctypes as c
import json

from . import _as_dict, _c, _Handle, _options, _path, _paths, _texts
from ._c import call


class Check(_Handle):
    """What is wrong with data; see include/lora/check.h for the kinds of findings.

        check = Check(context, "my.jsonl", validation="heldout.jsonl")
        for finding in check.report["findings"]:
            print(finding["title"]["en"], [row["place"] for row in finding["rows"]])
        check.fix("clean.jsonl")
    """
    _free = "lora_check_free"

    def __init__(self, context, paths, validation=(), tokenizer=None, **settings):
        paths, validation = _paths(paths), _paths(validation)
        options = _options(_c.CheckOptions, "lora_check_options_init", settings)
        out = c.c_void_p()
        call("lora_check_create", context.handle, tokenizer.handle if tokenizer else None, _texts(paths), len(paths),
             _texts(validation), len(validation), c.byref(options), c.byref(out))
        super().__init__(out.value, context)

    @property
    def info(self):
        return _as_dict(self._info(_c.CheckInfo, "lora_check_get_info"))

    @property
    def report(self):
        text = c.c_char_p()
        call("lora_check_report", self.handle, c.byref(text), None)
        return json.loads(text.value)

    def fix(self, path, mask_personal=False, overwrite=False):
        """Writes the cleaned copy and PATH.changes.jsonl; returns how many rows were kept, dropped and changed."""
        options = _options(_c.CheckFixOptions, "lora_check_fix_options_init",
                           {"mask_personal": int(mask_personal), "overwrite": int(overwrite)})
        info = _c.CheckFixInfo()
        call("lora_check_fix", self.handle, _path(path), c.byref(options), c.byref(info))
        return _as_dict(info)
