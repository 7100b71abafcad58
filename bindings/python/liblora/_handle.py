"""What every module here stands on: owners of C handles, options by name, arrays for C."""
import ctypes as c

import numpy

from . import _c
from ._c import call, lib, LoraError


def int_array(values):
    array = numpy.ascontiguousarray(values, dtype=numpy.int32)
    return array, array.ctypes.data_as(_c.INTS)


def text_array(values):
    return (c.c_char_p * len(values))(*[v.encode() for v in values]) if values else None


def float_pointer(array):
    return array.ctypes.data_as(_c.FLOATS)


def as_path(value):
    return str(value).encode()


def as_paths(paths):
    """One path or several, as texts."""
    return [str(p) for p in ([paths] if isinstance(paths, (str, bytes)) or hasattr(paths, "__fspath__") else paths)]


def make_options(struct, init, settings):
    """An option struct of C with its defaults, then `settings` by name; an unknown name is an error, as for any Python
    keyword."""
    options = struct()
    getattr(lib, init)(c.byref(options), c.sizeof(options))
    names = {name for name, _ in options._fields_} - {"struct_size", "reserved"}
    for name, value in settings.items():
        if name not in names:
            raise TypeError("unknown setting %r; there are: %s" % (name, ", ".join(sorted(names))))
        setattr(options, name, value.encode() if isinstance(value, str) else value)
    return options


def as_dict(info):
    found = {}
    for name, _ in info._fields_:
        if name not in ("struct_size", "reserved"):
            value = getattr(info, name)
            found[name] = value.decode() if isinstance(value, bytes) else value
    return found


def fetch_text(name, *arguments):
    """A text from a call that takes (..., buffer, capacity, &length)."""
    length = c.c_size_t()
    call(name, *arguments, None, 0, c.byref(length))
    buffer = c.create_string_buffer(length.value + 1)
    call(name, *arguments, buffer, length.value, c.byref(length))
    return buffer.raw[:length.value]


class Stopper:
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


class Handle:
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


class Tensors:
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
        call(self._prefix + "_read", self._owner.handle, self._index[name], float_pointer(values), values.size)
        return values

    def __setitem__(self, name, values):
        array = numpy.ascontiguousarray(values, dtype=numpy.float32)
        call(self._prefix + "_write", self._owner.handle, self._index[name], float_pointer(array), array.size)
