"""A system's answers, judged: include/lora/evaluate.h."""
import ctypes as c
import json

from . import _c
from ._c import call, lib
from ._handle import as_dict, Handle, make_options, Stopper, text_array
from .adapter import adapter_uses


class Evaluation(Handle):
    """Settings: those of lora_evaluation_options; `generation` and `resampling` are dicts, `metrics` and `labels` lists
    of texts."""
    _free = "lora_evaluation_free"

    def __init__(self, context, metrics=(), labels=(), generation=None, resampling=None, **settings):
        options = make_options(_c.EvaluationOptions, "lora_evaluation_options_init", settings)
        options.metrics, options.metric_count = text_array(list(metrics)), len(metrics)
        options.labels, options.label_count = text_array(list(labels)), len(labels)
        if generation is not None:
            options.generation = c.pointer(make_options(_c.GenerateOptions, "lora_generate_options_init", generation))
        if resampling is not None:
            options.resampling = c.pointer(make_options(_c.Resampling, "lora_resampling_init", resampling))
        out = _c.HANDLE()
        call("lora_evaluation_create", context.handle, c.byref(options), c.byref(out))
        super().__init__(out.value, (context, options))

    def add(self, prediction, references=(), prompt=None, baseline=False):
        """An answer from elsewhere; of the baseline the prediction alone."""
        references = [references] if isinstance(references, str) else list(references)
        row = _c.EvaluationRow(prompt=prompt.encode() if prompt is not None else None, prediction=prediction.encode(),
                               references=text_array(references), reference_count=len(references))
        call("lora_evaluation_add", self.handle, _c.SYSTEM_BASELINE if baseline else _c.SYSTEM, c.byref(row))

    def run(self, model, data, adapters=(), baseline=False, on_row=None):
        """Measures a model on data; on_row(progress) returns true to stop."""
        uses, count = adapter_uses(adapters)
        stopper = Stopper(_c.EVALUATION_FN, on_row and (lambda progress, user: on_row(as_dict(progress.contents))))
        stopper.call("lora_evaluation_run", self.handle, _c.SYSTEM_BASELINE if baseline else _c.SYSTEM, model.handle,
                     uses, count, data.handle, stopper.c, None)

    def cancel(self):
        lib.lora_evaluation_cancel(self.handle)

    def scores(self, baseline=False):
        return as_dict(self._info_of(_c.SYSTEM_BASELINE if baseline else _c.SYSTEM))

    def _info_of(self, system):
        scores = _c.Scores()
        call("lora_evaluation_get_scores", self.handle, system, c.byref(scores))
        return scores

    def document(self, examples=True):
        text = _c.TEXT()
        call("lora_evaluation_json", self.handle, examples, c.byref(text))
        return json.loads(text.value)
