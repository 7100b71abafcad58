"""Training runs, their curves and their losses: include/lora/trainer.h, diagnose.h, evaluate.h."""
import ctypes as c

from . import _c
from ._c import call, lib
from ._handle import as_dict, as_path, Handle, make_options, Stopper
from .adapter import adapter_options, adapter_uses


def trainer_options(settings):
    settings = dict(settings)
    if isinstance(settings.get("schedule"), str):
        settings["schedule"] = ["constant", "linear", "cosine"].index(settings["schedule"])
    if settings.get("validation") is not None:
        settings["validation"] = settings["validation"].handle
    if "output" in settings:
        settings["output"] = as_path(settings["output"]) if settings["output"] is not None else None
    return make_options(_c.TrainerOptions, "lora_trainer_options_init", settings)


def _diagnosis(function, *arguments):
    found = _c.Diagnosis()
    call(function, *arguments, c.byref(found))
    return {**as_dict(found), "fit": lib.lora_fit_name(found.fit).decode(), "english": found.english.decode(),
            "chinese": found.chinese.decode()}


def diagnose(points):
    """Judges a curve: points are (step, epoch, loss, eval_loss), with NaN or None where nothing was evaluated."""
    array = (_c.CurvePoint * len(points))()
    for place, (step, epoch, loss, held) in zip(array, points):
        place.step, place.epoch, place.loss, place.eval_loss = step, epoch, loss, float("nan") if held is None else held
    return _diagnosis("lora_diagnose", array, len(array))


class Trainer(Handle):
    """Iterating takes steps until the run is done; each is a StepInfo (step, loss, learning_rate, gradient_norm,
    ...)."""
    _free = "lora_trainer_free"

    def __init__(self, adapter, data, **settings):
        out = c.c_void_p()
        options = trainer_options(settings)
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
        stopper = Stopper(_c.STEP_FN, callback and (lambda info, user: callback(info.contents)))
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
        return as_dict(self._info(_c.MemoryPlan, "lora_trainer_plan"))


def plan_training(model, row_length, adapter=None, **settings):
    """Bytes that a run will take; `adapter` holds adapter settings."""
    plan = _c.MemoryPlan()
    of_adapter, of_trainer = adapter_options(adapter or {}), trainer_options(settings)
    call("lora_plan_training", model.handle, c.byref(of_adapter), c.byref(of_trainer), row_length, c.byref(plan))
    return as_dict(plan)


def evaluate_loss(model, data, adapters=(), per_row=False):
    """{"loss", "perplexity", ...}; with per_row also "nll": [(summed loss, label tokens)] of each row."""
    uses, count = adapter_uses(adapters)
    rows, loss = [], _c.Loss()
    keep = lambda row, nll, labels, user: rows.append((nll, labels)) or 0
    function = _c.ROW_LOSS_FN(keep) if per_row else _c.ROW_LOSS_FN()
    call("lora_evaluate_loss", model.handle, uses, count, data.handle, function, None, c.byref(loss))
    found = as_dict(loss)
    if per_row:
        found["nll"] = rows
    return found
