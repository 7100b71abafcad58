"""LoRA adapters: include/lora/adapter.h."""
import ctypes as c

from . import _c
from ._c import call
from ._handle import as_dict, as_path, Handle, make_options, Tensors, text_array


def _patterns(values):
    if not values:
        return None
    return (_c.Pattern * len(values))(*[_c.Pattern(name.encode(), value) for name, value in values.items()])


def adapter_options(settings):
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
            settings[name] = text_array(settings[name])
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
    return make_options(_c.AdapterOptions, "lora_adapter_options_init", settings)


def adapter_uses(adapters):
    """Adapters, or (adapter, weight) pairs, as an array for C."""
    pairs = [a if isinstance(a, tuple) else (a, 1.0) for a in adapters]
    uses = [_c.AdapterUse(adapter.handle, weight, 0) for adapter, weight in pairs]
    return (_c.AdapterUse * len(uses))(*uses) if uses else None, len(uses)


class Adapter(Handle):
    _free = "lora_adapter_free"

    @classmethod
    def create(cls, model, **settings):
        options = adapter_options(settings)
        out = c.c_void_p()
        call("lora_adapter_create", model.handle, c.byref(options), c.byref(out))
        return cls(out.value, model)

    @classmethod
    def load(cls, model, path, allow_unchanged=False):
        out = c.c_void_p()
        call("lora_adapter_load", model.handle, as_path(path), int(allow_unchanged), c.byref(out))
        return cls(out.value, model)

    def save(self, path, overwrite=False):
        call("lora_adapter_save", self.handle, as_path(path), int(overwrite))

    @property
    def info(self):
        return as_dict(self._info(_c.AdapterInfo, "lora_adapter_get_info"))

    @property
    def tensors(self):
        """Read and write by PEFT's key."""
        return Tensors(self, "lora_adapter_tensor")
