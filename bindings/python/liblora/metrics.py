"""Scores of texts and classes, without a model: include/lora/metrics.h."""
import ctypes as c

import numpy

from . import _c
from ._c import call, lib
from ._handle import as_dict, Handle, int_array, make_options


def _doubles(array):
    return array.ctypes.data_as(_c.DOUBLE_OUT) if array is not None else None


def _resampling(settings):
    return c.byref(make_options(_c.Resampling, "lora_resampling_init", settings))


def _encode(text):
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


class Metric(Handle):
    """A text metric by name ("bleu", "bleu4", "chrf", "rouge1", "rougeL", "rougeLsum", "exact_match") with settings of
    lora_metric_options. `rows` gives statistics, which the other methods take."""
    _free = "lora_metric_free"

    def __init__(self, context, name, **settings):
        options = make_options(_c.MetricOptions, "lora_metric_options_init", settings)
        pointer = _c.HANDLE()
        call("lora_metric_create", context.handle, name.encode(), c.byref(options), c.byref(pointer))
        super().__init__(pointer.value, context)

    def rows(self, predictions, references):
        """(statistics [rows, n], scores [rows]); references: a text, or a list of texts, for each prediction."""
        lists = [[r] if isinstance(r, (str, bytes)) else list(r) for r in references]
        if len(lists) != len(predictions):
            raise ValueError("as many references as predictions are needed")
        most = max(map(len, lists), default=0)
        flat = [text for own in lists for text in own + [None] * (most - len(own))]
        statistics = numpy.zeros((len(lists), lib.lora_metric_statistic_count(self.handle)))
        scores = numpy.zeros(len(lists))
        call("lora_metric_rows", self.handle, (c.c_char_p * len(lists))(*map(_encode, predictions)),
             (c.c_char_p * len(flat))(*[None if t is None else _encode(t) for t in flat]), len(lists), most,
             _doubles(statistics), _doubles(scores))
        return statistics, scores

    def score(self, statistics):
        """Of all rows together, 0 to 100."""
        statistics = self._check(statistics)
        return lib.lora_metric_score(self.handle, _doubles(statistics), len(statistics))

    def corpus(self, predictions, references):
        return self.score(self.rows(predictions, references)[0])

    def interval(self, statistics, **settings):
        """{"score", "low", "high", "mean"}; settings of lora_resampling."""
        statistics, found = self._check(statistics), _c.Interval()
        call("lora_metric_interval", self.handle, _doubles(statistics), len(statistics), _resampling(settings),
             c.byref(found))
        return as_dict(found)

    def compare(self, system, baseline, **settings):
        """{"difference", "low", "high", "p_bootstrap", "p_randomisation", ...} of two systems' statistics."""
        system, baseline, found = self._check(system), self._check(baseline), _c.Significance()
        if len(system) != len(baseline):
            raise ValueError("both systems need the same rows")
        call("lora_metric_compare", self.handle, _doubles(system), _doubles(baseline), len(system),
             _resampling(settings), c.byref(found))
        return as_dict(found)

    def signature(self, references=1):
        text, length = c.create_string_buffer(4096), _c.SIZE()
        call("lora_metric_signature", self.handle, references, text, len(text), c.byref(length))
        return text.value.decode()

    def _check(self, statistics):
        array = numpy.ascontiguousarray(statistics, dtype=numpy.float64)
        if array.ndim != 2 or array.shape[1] != lib.lora_metric_statistic_count(self.handle):
            raise ValueError("statistics must be those of this metric's rows()")
        return array


def classify(context, truth, predicted, classes, **settings):
    """Accuracy, precision, recall and F1 of class numbers, -1 for none of them; with "classes": one entry each,
    "confusion": [truth, prediction], and "intervals"; settings of lora_resampling."""
    (truth, truth_pointer), (predicted, pointer) = int_array(truth), int_array(predicted)
    if len(truth) != len(predicted):
        raise ValueError("as many predictions as rows are needed")
    confusion = numpy.zeros((classes, classes), numpy.int64)
    scores, found = (_c.ClassScore * classes)(), _c.Classification()
    call("lora_classify", context.handle, truth_pointer, pointer, len(truth), classes,
         confusion.ctypes.data_as(_c.LONG_OUT), scores, c.byref(found))
    result = as_dict(found)
    result["classes"] = [{name: getattr(s, name) for name, _ in s._fields_} for s in scores]
    result["confusion"] = confusion
    if len(truth):
        intervals = [_c.Interval() for _ in range(4)]
        call("lora_classify_interval", context.handle, truth_pointer, pointer, len(truth), classes,
             _resampling(settings), *map(c.byref, intervals))
        result["intervals"] = dict(zip(("accuracy", "f1_macro", "f1_micro", "f1_weighted"), map(as_dict, intervals)))
    return result


def distinct(context, texts, n, words=_c.WORDS_LATIN):
    share = _c.DOUBLE()
    call("lora_text_distinct", context.handle, (c.c_char_p * len(texts))(*map(_encode, texts)), len(texts), n, words,
         c.byref(share))
    return share.value


def repetition(context, text, n=4, words=_c.WORDS_LATIN):
    """{"words", "share", "longest"}"""
    found = _c.Repetition()
    call("lora_text_repetition", context.handle, _encode(text), n, words, c.byref(found))
    return as_dict(found)
