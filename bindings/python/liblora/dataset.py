"""Rows to train on and to be judged by: include/lora/dataset.h."""
import ctypes as c
import json

import numpy

from . import _c
from ._c import call
from ._handle import as_dict, as_path, as_paths, Handle, int_array, make_options, text_array


class Dataset(Handle):
    _free = "lora_dataset_free"

    @classmethod
    def load(cls, context, paths, tokenizer=None, **settings):
        paths = as_paths(paths)
        options = make_options(_c.DatasetOptions, "lora_dataset_options_init", settings)
        out = c.c_void_p()
        call("lora_dataset_load", context.handle, tokenizer.handle if tokenizer else None, text_array(paths),
             len(paths), c.byref(options), c.byref(out))
        return cls(out.value, context)

    @staticmethod
    def read_rows(context, path):
        """The rows of a data file as they are: dictionaries with the file's own keys."""
        rows = []

        @_c.ROW_FN
        def take(text, length, number, user):
            rows.append(json.loads(c.string_at(text, length)))
            return 0
        call("lora_dataset_read_rows", context.handle, as_path(path), take, None)
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
        array, pointer = int_array(ids)
        label_array, label_pointer = int_array(labels) if labels is not None else (None, None)
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
        return as_dict(self._info(_c.DatasetInfo, "lora_dataset_get_info"))

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
