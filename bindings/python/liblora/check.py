"""Data quality: lora_check."""
import ctypes as c
import json

from . import _c
from ._c import call
from ._handle import as_dict, as_path, as_paths, Handle, make_options, text_array


class Check(Handle):
    """What is wrong with data; see include/lora/check.h for the kinds of findings.

        check = Check(context, "my.jsonl", validation="heldout.jsonl")
        for finding in check.report["findings"]:
            print(finding["title"]["en"], [row["place"] for row in finding["rows"]])
        check.fix("clean.jsonl")
    """
    _free = "lora_check_free"

    def __init__(self, context, paths, validation=(), tokenizer=None, **settings):
        paths, validation = as_paths(paths), as_paths(validation)
        options = make_options(_c.CheckOptions, "lora_check_options_init", settings)
        out = c.c_void_p()
        call("lora_check_create", context.handle, tokenizer.handle if tokenizer else None, text_array(paths),
             len(paths), text_array(validation), len(validation), c.byref(options), c.byref(out))
        super().__init__(out.value, context)

    @property
    def info(self):
        return as_dict(self._info(_c.CheckInfo, "lora_check_get_info"))

    @property
    def report(self):
        text = c.c_char_p()
        call("lora_check_report", self.handle, c.byref(text), None)
        return json.loads(text.value)

    def fix(self, path, mask_personal=False, overwrite=False):
        """Writes the cleaned copy and PATH.changes.jsonl; returns how many rows were kept, dropped and changed."""
        options = make_options(_c.CheckFixOptions, "lora_check_fix_options_init",
                           {"mask_personal": int(mask_personal), "overwrite": int(overwrite)})
        info = _c.CheckFixInfo()
        call("lora_check_fix", self.handle, as_path(path), c.byref(options), c.byref(info))
        return as_dict(info)
