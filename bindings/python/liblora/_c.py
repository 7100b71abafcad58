"""The C interface as ctypes sees it: constants, structs and functions of include/lora/, nothing more."""
import ctypes as c
import ctypes.util
import os
import pathlib

ABI_VERSION = 0

OK = 0
ERROR_ARGUMENT, ERROR_STATE, ERROR_CANCELLED = -1, -2, -3
ERROR_MEMORY, ERROR_BUDGET = -10, -11
ERROR_NOT_FOUND, ERROR_IO, ERROR_EXISTS, ERROR_BUSY = -20, -21, -22, -23
ERROR_FORMAT, ERROR_UNSUPPORTED, ERROR_MISMATCH, ERROR_DATA = -30, -31, -32, -33
ERROR_OVERFLOW, ERROR_NOT_FINITE, ERROR_NO_GRADIENT, ERROR_DIVERGED = -40, -41, -42, -43
ERROR_BACKEND, ERROR_INTERNAL = -50, -60

LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG = 0, 1, 2, 3
CPU_AVX2, CPU_AVX512, CPU_AVX512_BF16, CPU_AVX512_VNNI, CPU_NEON, CPU_AMX_BF16 = 1, 2, 4, 8, 16, 32
CPU_NEON_DOTPROD, CPU_ADD_UNITS, CPU_FETCH_AHEAD = 64, 128, 256
TYPE_KEEP, TYPE_F32, TYPE_F16, TYPE_BF16, TYPE_I32, TYPE_INT8, TYPE_NF4, TYPE_Q8_0 = -1, 0, 1, 2, 3, 4, 5, 6
TYPE_Q4_0, TYPE_Q4_1, TYPE_Q5_0, TYPE_Q5_1, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K, TYPE_COUNT = 7, 8, 9, 10, 11, 12, 13, 14
BIAS_NONE, BIAS_ALL, BIAS_LORA_ONLY = 0, 1, 2
SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE = 0, 1, 2
RECOMPUTE_NONE, RECOMPUTE_ALL, RECOMPUTE_MLP = 0, 1, 2
FINISH_NONE, FINISH_END, FINISH_STOP, FINISH_LENGTH = 0, 1, 2, 3
TOKEN_BEGIN, TOKEN_END, TOKEN_PAD, TOKEN_UNKNOWN = 0, 1, 2, 3
LABEL_IGNORED = -100
FIT_UNKNOWN, FIT_GOOD, FIT_OVER, FIT_UNDER, FIT_UNSTABLE = 0, 1, 2, 3, 4
CHECK_NOTE, CHECK_WARNING, CHECK_ERROR = 0, 1, 2
COMPARISON_LOSS, COMPARISON_TRAIN, COMPARISON_ANSWER = 0, 1, 2
SETTING_WAITING, SETTING_DONE, SETTING_FAILED = 0, 1, 2
PEAK_PLANNED, PEAK_MEASURED = 0, 1
AB_LEFT, AB_RIGHT, AB_TIE = 1, 2, 3
WORDS_LATIN, WORDS_CHARACTERS, WORDS_SPACES = 0, 1, 2
SYSTEM, SYSTEM_BASELINE = 0, 1
CLASSIFY_AUTO, CLASSIFY_NONE, CLASSIFY_BY_ANSWER, CLASSIFY_BY_LIKELIHOOD = 0, 1, 2, 3
EVALUATION_LOSS, EVALUATION_ANSWER, EVALUATION_LABEL = 0, 1, 2

PROGRESS_FN = c.CFUNCTYPE(c.c_int32, c.c_double, c.c_void_p)
LOG_FN = c.CFUNCTYPE(None, c.c_int32, c.c_char_p, c.c_void_p)
ROW_FN = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_size_t, c.c_int64, c.c_void_p)
ROW_LOSS_FN = c.CFUNCTYPE(c.c_int32, c.c_int64, c.c_double, c.c_int64, c.c_void_p)

TEXT, SIZE, HANDLE = c.c_char_p, c.c_size_t, c.c_void_p
INT, LONG, UNSIGNED, FLOAT, DOUBLE = c.c_int32, c.c_int64, c.c_uint64, c.c_float, c.c_double
TEXTS = c.POINTER(c.c_char_p)


class Struct(c.Structure):
    """An option or info struct: begins with its own size."""

    def __init__(self, **fields):
        super().__init__(**fields)
        if self._fields_[0][0] == "struct_size":
            self.struct_size = c.sizeof(self)


class ContextOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("backend", TEXT), ("threads", INT), ("cpu_features", INT),
                ("allocator", HANDLE), ("files", HANDLE), ("parallel_for", HANDLE), ("parallel_for_user", HANDLE),
                ("log", LOG_FN), ("log_user", HANDLE), ("log_level", INT)]


class ModelOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("type", INT), ("initialize", INT), ("seed", UNSIGNED), ("check_finite", INT),
                ("cache_quantized", INT), ("progress", PROGRESS_FN), ("progress_user", HANDLE)]


class ModelInfo(Struct):
    _fields_ = [("struct_size", SIZE), ("family", TEXT), ("path", TEXT), ("vocabulary", LONG), ("hidden", LONG),
                ("layers", LONG), ("heads", LONG), ("kv_heads", LONG), ("head_dim", LONG), ("intermediate", LONG),
                ("context_length", LONG), ("parameters", LONG), ("bytes", LONG), ("type", INT), ("tied", INT),
                ("fingerprint", UNSIGNED)]


class AdapterUse(c.Structure):
    _fields_ = [("adapter", HANDLE), ("weight", FLOAT), ("reserved", INT)]


class MergeReport(Struct):
    _fields_ = [("struct_size", SIZE), ("merged_tensors", LONG), ("max_rounding", DOUBLE), ("mean_rounding", DOUBLE),
                ("max_change", DOUBLE), ("probe_max_difference", DOUBLE), ("probe_mean_divergence", DOUBLE)]


class QuantizeOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("type", INT), ("double_quantization", INT), ("overwrite", INT),
                ("reserved", INT), ("progress", PROGRESS_FN), ("progress_user", HANDLE)]


class QuantizeReport(Struct):
    _fields_ = [("struct_size", SIZE), ("quantized_tensors", LONG), ("other_tensors", LONG), ("bytes", LONG),
                ("unquantized_tensors", LONG), ("unquantized_bytes", LONG)]


class Pattern(c.Structure):
    _fields_ = [("pattern", TEXT), ("value", DOUBLE)]


class AdapterOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("r", INT), ("lora_alpha", FLOAT), ("lora_dropout", FLOAT), ("bias", INT),
                ("use_rslora", INT), ("full", INT), ("target_modules", TEXTS), ("target_module_count", SIZE),
                ("target_regex", TEXT), ("exclude_modules", TEXTS), ("exclude_module_count", SIZE),
                ("layers_to_transform", c.POINTER(INT)), ("layer_count", SIZE), ("modules_to_save", TEXTS),
                ("module_to_save_count", SIZE), ("rank_pattern", c.POINTER(Pattern)), ("rank_pattern_count", SIZE),
                ("alpha_pattern", c.POINTER(Pattern)), ("alpha_pattern_count", SIZE), ("init_lora_weights", TEXT),
                ("seed", UNSIGNED)]


class AdapterInfo(Struct):
    _fields_ = [("struct_size", SIZE), ("base_name", TEXT), ("r", INT), ("lora_alpha", FLOAT), ("lora_dropout", FLOAT),
                ("bias", INT), ("use_rslora", INT), ("full", INT), ("modules", LONG), ("parameters", LONG)]


class DatasetOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("max_length", INT), ("train_on_prompt", INT), ("template_source", TEXT),
                ("raw_text_split", INT), ("max_rows", INT)]


class DatasetInfo(Struct):
    _fields_ = [("struct_size", SIZE), ("rows", LONG), ("tokens", LONG), ("label_tokens", LONG), ("cut_rows", LONG),
                ("terminated_rows", LONG), ("longest_row", LONG), ("response_rows", LONG), ("skipped_rows", LONG)]


class Mix(Struct):
    _fields_ = [("general", HANDLE), ("fraction", DOUBLE)]


class CurvePoint(Struct):
    _fields_ = [("step", LONG), ("epoch", DOUBLE), ("loss", DOUBLE), ("eval_loss", DOUBLE)]


class Diagnosis(Struct):
    _fields_ = [("struct_size", SIZE), ("fit", INT), ("reserved", INT), ("first_loss", DOUBLE), ("last_loss", DOUBLE),
                ("best_eval_loss", DOUBLE), ("last_eval_loss", DOUBLE), ("best_epoch", DOUBLE), ("english", TEXT),
                ("chinese", TEXT)]


class CheckOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("max_length", INT), ("max_listed", INT), ("near_duplicate", DOUBLE),
                ("template_source", TEXT)]


class CheckInfo(Struct):
    _fields_ = [("struct_size", SIZE), ("rows", LONG), ("validation_rows", LONG), ("errors", LONG), ("warnings", LONG),
                ("notes", LONG), ("error_rows", LONG), ("warning_rows", LONG), ("too_long_rows", LONG),
                ("estimated", INT), ("reserved", INT)]


class CheckFixOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("mask_personal", INT), ("overwrite", INT)]


class CheckFixInfo(Struct):
    _fields_ = [("struct_size", SIZE), ("kept_rows", LONG), ("dropped_rows", LONG), ("changed_rows", LONG)]


class TrainerOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("epochs", DOUBLE), ("max_steps", LONG), ("batch_size", INT),
                ("gradient_accumulation", INT), ("learning_rate", DOUBLE), ("schedule", INT), ("warmup_steps", DOUBLE),
                ("weight_decay", DOUBLE), ("max_grad_norm", DOUBLE), ("beta1", DOUBLE), ("beta2", DOUBLE),
                ("epsilon", DOUBLE), ("shuffle", INT), ("packing", INT), ("pack_length", INT), ("recompute", INT),
                ("seed", UNSIGNED), ("memory_budget", UNSIGNED), ("validation", HANDLE), ("eval_steps", LONG),
                ("early_stopping", INT), ("output", TEXT), ("save_steps", LONG), ("keep", INT), ("activations", INT)]


class MemoryPlan(Struct):
    _fields_ = [("struct_size", SIZE)] + [(name, UNSIGNED) for name in (
        "weights", "adapter", "gradients", "optimizer", "activations", "workspace", "kv_cache", "other", "total")] + [
        ("micro_batch", INT), ("recompute", INT)]


class StepInfo(Struct):
    _fields_ = [("struct_size", SIZE), ("step", LONG), ("total_steps", LONG), ("epoch", DOUBLE), ("loss", DOUBLE),
                ("learning_rate", DOUBLE), ("gradient_norm", DOUBLE), ("tokens", LONG), ("label_tokens", LONG),
                ("seconds", DOUBLE), ("eval_loss", DOUBLE), ("improved", INT), ("done", INT)]


class BatchOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("max_sessions", INT), ("prompt_tokens", INT)]


class SessionOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("context_length", LONG), ("prefill_batch", INT), ("cache_type", INT)]


class GenerateOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("max_new_tokens", INT), ("temperature", FLOAT), ("top_k", INT),
                ("top_p", FLOAT), ("min_p", FLOAT), ("repetition_penalty", FLOAT), ("seed", UNSIGNED), ("stop", TEXTS),
                ("stop_count", SIZE), ("end_tokens", c.POINTER(INT)), ("end_token_count", SIZE), ("ignore_end", INT),
                ("lookahead", INT)]


class Piece(Struct):
    _fields_ = [("struct_size", SIZE), ("id", INT), ("finish", INT), ("text", HANDLE), ("text_length", SIZE),
                ("log_probability", FLOAT), ("reserved", INT)]


class SessionInfo(Struct):
    _fields_ = [("struct_size", SIZE), ("length", LONG), ("context_length", LONG), ("prompt_tokens", LONG),
                ("generated_tokens", LONG), ("prefill_seconds", DOUBLE), ("decode_seconds", DOUBLE),
                ("kv_cache_bytes", UNSIGNED), ("kv_shared_bytes", UNSIGNED)]


class Loss(Struct):
    _fields_ = [("struct_size", SIZE), ("loss", DOUBLE), ("perplexity", DOUBLE), ("rows", LONG), ("tokens", LONG),
                ("label_tokens", LONG)]


class ComparisonOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("output", TEXT), ("validation", HANDLE), ("general", HANDLE), ("seeds", INT),
                ("answers", INT), ("max_new_tokens", INT), ("overwrite", INT)]


class ComparisonProgress(Struct):
    _fields_ = [("struct_size", SIZE), ("name", TEXT), ("run", LONG), ("runs", LONG), ("phase", INT), ("reserved", INT),
                ("done", LONG), ("total", LONG), ("step", c.POINTER(StepInfo))]


class ComparisonRow(Struct):
    _fields_ = [("struct_size", SIZE), ("name", TEXT), ("path", TEXT), ("failure", TEXT), ("state", INT),
                ("full", INT)] + [
        (name, DOUBLE) for name in ("loss", "loss_low", "loss_high", "loss_spread", "general_loss", "bleu", "rouge_l",
                                    "chrf", "gain_share", "gain_share_low", "gain_share_high")] + [
        ("trainable_parameters", LONG), ("parameter_share", DOUBLE), ("file_bytes", LONG), ("peak_memory_bytes", LONG),
        ("peak_source", INT), ("reserved", INT), ("steps", LONG), ("seconds", DOUBLE), ("tokens_per_second", DOUBLE)]


class ComparisonVerdict(Struct):
    _fields_ = [("struct_size", SIZE), ("best", LONG), ("recommended", LONG), ("runner_up", LONG), ("margin", DOUBLE),
                ("margin_low", DOUBLE), ("margin_high", DOUBLE), ("clear", INT), ("claim", INT),
                ("claim_setting", LONG), ("sentence_en", TEXT), ("sentence_zh", TEXT), ("claim_sentence_en", TEXT),
                ("claim_sentence_zh", TEXT)]


class MetricOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("tokenizer", TEXT), ("smoothing", TEXT), ("smoothing_value", DOUBLE)] + [
        (name, INT) for name in ("effective_order", "lowercase", "order", "word_order", "beta", "whitespace", "epsilon",
                                 "words", "stem", "distinct", "reserved")]


class Resampling(Struct):
    _fields_ = [("struct_size", SIZE), ("samples", INT), ("trials", INT), ("seed", UNSIGNED), ("confidence", DOUBLE)]


class Interval(Struct):
    _fields_ = [("struct_size", SIZE), ("score", DOUBLE), ("low", DOUBLE), ("high", DOUBLE), ("mean", DOUBLE)]


class Significance(Struct):
    _fields_ = [("struct_size", SIZE)] + [(name, DOUBLE) for name in (
        "system", "baseline", "difference", "low", "high", "p_bootstrap", "p_randomisation")]


class ClassScore(c.Structure):
    _fields_ = [("precision", DOUBLE), ("recall", DOUBLE), ("f1", DOUBLE), ("support", LONG), ("predicted", LONG)]


class Classification(Struct):
    _fields_ = [("struct_size", SIZE), ("rows", LONG), ("correct", LONG), ("unknown", LONG), ("accuracy", DOUBLE)] + [
        (f"{kind}_{mean}", DOUBLE) for mean in ("macro", "micro", "weighted") for kind in ("precision", "recall", "f1")]


class Repetition(Struct):
    _fields_ = [("struct_size", SIZE), ("words", LONG), ("share", DOUBLE), ("longest", LONG)]


class EvaluationOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("metrics", TEXTS), ("metric_count", SIZE), ("bleu_tokenizer", TEXT),
                ("words", INT), ("stem", INT), ("classify", INT), ("checklist", INT), ("labels", TEXTS),
                ("label_count", SIZE), ("generation", c.POINTER(GenerateOptions)),
                ("resampling", c.POINTER(Resampling))]


class EvaluationRow(Struct):
    _fields_ = [("struct_size", SIZE), ("prompt", TEXT), ("prediction", TEXT), ("references", TEXTS),
                ("reference_count", SIZE)]


class EvaluationProgress(Struct):
    _fields_ = [("struct_size", SIZE), ("system", INT), ("phase", INT), ("row", LONG), ("rows", LONG), ("prompt", TEXT),
                ("prediction", TEXT), ("reference", TEXT)]


class Scores(Struct):
    _fields_ = [("struct_size", SIZE), ("rows", LONG)] + [(name, DOUBLE) for name in (
        "loss", "perplexity", "bleu", "bleu4", "chrf", "chrf_plus_plus", "rouge1", "rouge2", "rouge_l", "rouge_lsum",
        "exact_match", "accuracy", "f1_macro", "f1_micro", "f1_weighted", "distinct1", "distinct2", "repetition")]


EVALUATION_FN = c.CFUNCTYPE(c.c_int32, c.POINTER(EvaluationProgress), c.c_void_p)
class AbOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("name_a", TEXT), ("name_b", TEXT), ("seed", UNSIGNED), ("max_rows", INT),
                ("reserved", INT), ("generate", c.POINTER(GenerateOptions)), ("about", TEXT)]


class AbItem(Struct):
    _fields_ = [("struct_size", SIZE), ("index", LONG), ("done", LONG), ("total", LONG), ("prompt", TEXT),
                ("left", TEXT), ("right", TEXT)]


class AbResult(Struct):
    _fields_ = [("struct_size", SIZE), ("name_a", TEXT), ("name_b", TEXT)] + [(name, LONG) for name in (
        "judges", "verdicts", "pairs", "wins_a", "wins_b", "ties", "identical")] + [(name, DOUBLE) for name in (
            "share", "share_low", "share_high", "p_value", "agreement", "alpha")] + [
        ("sentence_en", TEXT), ("sentence_zh", TEXT)]


class ReportOptions(Struct):
    _fields_ = [("struct_size", SIZE), ("title", TEXT), ("language", TEXT)]


AB_FN = c.CFUNCTYPE(c.c_int32, LONG, LONG, c.c_void_p)
COMPARISON_FN = c.CFUNCTYPE(c.c_int32, c.POINTER(ComparisonProgress), c.c_void_p)
STEP_FN = c.CFUNCTYPE(c.c_int32, c.POINTER(StepInfo), c.c_void_p)

FLOATS, INTS = c.POINTER(FLOAT), c.POINTER(INT)
OUT, SIZE_OUT, LONG_OUT, DOUBLE_OUT = c.POINTER(HANDLE), c.POINTER(SIZE), c.POINTER(LONG), c.POINTER(DOUBLE)
P = c.POINTER

# name: (result, arguments); a result of None is a status that is checked by `call`.
FUNCTIONS = {
    "lora_abi_version": (c.c_uint32, []),
    "lora_version": (TEXT, []),
    "lora_status_name": (TEXT, [INT]),
    "lora_error_message": (TEXT, []),
    "lora_type_name": (TEXT, [INT]),
    "lora_context_options_init": ("void", [P(ContextOptions), SIZE]),
    "lora_context_create": (None, [OUT, P(ContextOptions)]),
    "lora_context_free": ("void", [HANDLE]),
    "lora_context_backend": (TEXT, [HANDLE]),
    "lora_context_device": (TEXT, [HANDLE]),
    "lora_tokenizer_load": (None, [HANDLE, TEXT, OUT]),
    "lora_tokenizer_free": ("void", [HANDLE]),
    "lora_tokenizer_encode": (None, [HANDLE, TEXT, SIZE, INT, INTS, SIZE, SIZE_OUT]),
    "lora_tokenizer_decode": (None, [HANDLE, INTS, SIZE, INT, c.c_char_p, SIZE, SIZE_OUT]),
    "lora_tokenizer_vocabulary_size": (INT, [HANDLE]),
    "lora_tokenizer_token": (TEXT, [HANDLE, INT]),
    "lora_tokenizer_find": (INT, [HANDLE, TEXT]),
    "lora_tokenizer_is_special": (INT, [HANDLE, INT]),
    "lora_tokenizer_special_id": (INT, [HANDLE, INT]),
    "lora_tokenizer_chat_template": (TEXT, [HANDLE]),
    "lora_tokenizer_render_chat": (None, [HANDLE, TEXT, TEXT, TEXT, INT, c.c_char_p, SIZE, SIZE_OUT]),
    "lora_model_options_init": ("void", [P(ModelOptions), SIZE]),
    "lora_model_load": (None, [HANDLE, TEXT, P(ModelOptions), OUT]),
    "lora_model_free": ("void", [HANDLE]),
    "lora_model_get_info": (None, [HANDLE, P(ModelInfo)]),
    "lora_model_module_count": (SIZE, [HANDLE]),
    "lora_model_module_name": (TEXT, [HANDLE, SIZE]),
    "lora_model_module_shape": (None, [HANDLE, SIZE, LONG_OUT, LONG_OUT]),
    "lora_model_tensor_count": (SIZE, [HANDLE]),
    "lora_model_tensor_name": (TEXT, [HANDLE, SIZE]),
    "lora_model_tensor_shape": (None, [HANDLE, SIZE, LONG_OUT, LONG_OUT]),
    "lora_model_tensor_read": (None, [HANDLE, SIZE, FLOATS, SIZE]),
    "lora_model_tokenizer": (HANDLE, [HANDLE]),
    "lora_model_merge": (None, [HANDLE, P(AdapterUse), SIZE, INT, P(MergeReport), OUT]),
    "lora_model_save": (None, [HANDLE, TEXT, INT]),
    "lora_quantize_options_init": ("void", [P(QuantizeOptions), SIZE]),
    "lora_model_quantize": (None, [HANDLE, TEXT, P(QuantizeOptions), P(QuantizeReport)]),
    "lora_adapter_options_init": ("void", [P(AdapterOptions), SIZE]),
    "lora_adapter_create": (None, [HANDLE, P(AdapterOptions), OUT]),
    "lora_adapter_load": (None, [HANDLE, TEXT, INT, OUT]),
    "lora_adapter_save": (None, [HANDLE, TEXT, INT]),
    "lora_adapter_free": ("void", [HANDLE]),
    "lora_adapter_get_info": (None, [HANDLE, P(AdapterInfo)]),
    "lora_adapter_tensor_count": (SIZE, [HANDLE]),
    "lora_adapter_tensor_name": (TEXT, [HANDLE, SIZE]),
    "lora_adapter_tensor_shape": (None, [HANDLE, SIZE, LONG_OUT, LONG_OUT]),
    "lora_adapter_tensor_read": (None, [HANDLE, SIZE, FLOATS, SIZE]),
    "lora_adapter_tensor_write": (None, [HANDLE, SIZE, FLOATS, SIZE]),
    "lora_dataset_options_init": ("void", [P(DatasetOptions), SIZE]),
    "lora_dataset_read_rows": (None, [HANDLE, TEXT, ROW_FN, c.c_void_p]),
    "lora_dataset_load": (None, [HANDLE, HANDLE, TEXTS, SIZE, P(DatasetOptions), OUT]),
    "lora_dataset_create": (None, [HANDLE, OUT]),
    "lora_dataset_add": (None, [HANDLE, INTS, INTS, SIZE]),
    "lora_dataset_split": (None, [HANDLE, DOUBLE, UNSIGNED, OUT]),
    "lora_dataset_mix": (None, [HANDLE, P(Mix), SIZE, UNSIGNED, LONG_OUT]),
    "lora_dataset_free": ("void", [HANDLE]),
    "lora_dataset_get_info": (None, [HANDLE, P(DatasetInfo)]),
    "lora_dataset_row": (None, [HANDLE, SIZE, P(INTS), P(INTS), SIZE_OUT]),
    "lora_dataset_row_text": (None, [HANDLE, SIZE, P(TEXT), P(TEXT)]),
    "lora_diagnose": (None, [P(CurvePoint), SIZE, P(Diagnosis)]),
    "lora_fit_name": (TEXT, [INT]),
    "lora_trainer_diagnose": (None, [HANDLE, P(Diagnosis)]),
    "lora_check_options_init": ("void", [P(CheckOptions), SIZE]),
    "lora_check_create": (None, [HANDLE, HANDLE, TEXTS, SIZE, TEXTS, SIZE, P(CheckOptions), OUT]),
    "lora_check_free": ("void", [HANDLE]),
    "lora_check_get_info": (None, [HANDLE, P(CheckInfo)]),
    "lora_check_report": (None, [HANDLE, P(TEXT), SIZE_OUT]),
    "lora_check_fix_options_init": ("void", [P(CheckFixOptions), SIZE]),
    "lora_check_fix": (None, [HANDLE, TEXT, P(CheckFixOptions), P(CheckFixInfo)]),
    "lora_trainer_options_init": ("void", [P(TrainerOptions), SIZE]),
    "lora_plan_training": (None, [HANDLE, P(AdapterOptions), P(TrainerOptions), LONG, P(MemoryPlan)]),
    "lora_plan_inference": (None, [HANDLE, LONG, P(MemoryPlan)]),
    "lora_plan_session": (None, [HANDLE, P(SessionOptions), P(MemoryPlan)]),
    "lora_trainer_create": (None, [HANDLE, HANDLE, P(TrainerOptions), OUT]),
    "lora_trainer_free": ("void", [HANDLE]),
    "lora_trainer_step": (None, [HANDLE, P(StepInfo)]),
    "lora_trainer_run": (None, [HANDLE, STEP_FN, HANDLE]),
    "lora_trainer_cancel": ("void", [HANDLE]),
    "lora_trainer_evaluate": (None, [HANDLE, DOUBLE_OUT]),
    "lora_trainer_save": (None, [HANDLE]),
    "lora_trainer_resume": (None, [HANDLE, LONG_OUT]),
    "lora_trainer_plan": (None, [HANDLE, P(MemoryPlan)]),
    "lora_session_options_init": ("void", [P(SessionOptions), SIZE]),
    "lora_session_create": (None, [HANDLE, P(SessionOptions), OUT]),
    "lora_session_free": ("void", [HANDLE]),
    "lora_session_fork": (None, [HANDLE, LONG, P(SessionOptions), OUT]),
    "lora_session_set_adapters": (None, [HANDLE, P(AdapterUse), SIZE]),
    "lora_session_truncate": (None, [HANDLE, LONG]),
    "lora_session_reset": ("void", [HANDLE]),
    "lora_session_length": (LONG, [HANDLE]),
    "lora_generate_options_init": ("void", [P(GenerateOptions), SIZE]),
    "lora_session_prompt": (None, [HANDLE, INTS, SIZE, P(GenerateOptions)]),
    "lora_session_prompt_later": (None, [HANDLE, INTS, SIZE, P(GenerateOptions)]),
    "lora_batch_options_init": ("void", [P(BatchOptions), SIZE]),
    "lora_batch_create": (None, [HANDLE, P(BatchOptions), OUT]),
    "lora_batch_free": ("void", [HANDLE]),
    "lora_batch_run": (None, [HANDLE, P(HANDLE), SIZE, INTS, P(LONG)]),
    "lora_session_next": (None, [HANDLE, P(Piece)]),
    "lora_session_cancel": ("void", [HANDLE]),
    "lora_session_log_probabilities": (None, [HANDLE, FLOATS, SIZE]),
    "lora_session_get_info": (None, [HANDLE, P(SessionInfo)]),
    "lora_evaluate_loss": (None, [HANDLE, P(AdapterUse), SIZE, HANDLE, ROW_LOSS_FN, HANDLE, P(Loss)]),
    "lora_evaluate_log_probabilities": (None, [HANDLE, P(AdapterUse), SIZE, INTS, SIZE, FLOATS, SIZE]),
    "lora_metric_options_init": ("void", [P(MetricOptions), SIZE]),
    "lora_metric_create": (None, [HANDLE, TEXT, P(MetricOptions), OUT]),
    "lora_metric_free": ("void", [HANDLE]),
    "lora_metric_statistic_count": (SIZE, [HANDLE]),
    "lora_metric_signature": (None, [HANDLE, INT, c.c_char_p, SIZE, SIZE_OUT]),
    "lora_metric_rows": (None, [HANDLE, TEXTS, TEXTS, SIZE, SIZE, DOUBLE_OUT, DOUBLE_OUT]),
    "lora_metric_score": (DOUBLE, [HANDLE, DOUBLE_OUT, SIZE]),
    "lora_resampling_init": ("void", [P(Resampling), SIZE]),
    "lora_metric_interval": (None, [HANDLE, DOUBLE_OUT, SIZE, P(Resampling), P(Interval)]),
    "lora_metric_compare": (None, [HANDLE, DOUBLE_OUT, DOUBLE_OUT, SIZE, P(Resampling), P(Significance)]),
    "lora_classify": (None, [HANDLE, INTS, INTS, SIZE, SIZE, LONG_OUT, P(ClassScore), P(Classification)]),
    "lora_classify_interval": (None, [HANDLE, INTS, INTS, SIZE, SIZE, P(Resampling)] + 4 * [P(Interval)]),
    "lora_text_distinct": (None, [HANDLE, TEXTS, SIZE, INT, INT, DOUBLE_OUT]),
    "lora_text_repetition": (None, [HANDLE, TEXT, INT, INT, P(Repetition)]),
    "lora_evaluation_options_init": ("void", [P(EvaluationOptions), SIZE]),
    "lora_evaluation_create": (None, [HANDLE, P(EvaluationOptions), OUT]),
    "lora_evaluation_free": ("void", [HANDLE]),
    "lora_evaluation_add": (None, [HANDLE, INT, P(EvaluationRow)]),
    "lora_evaluation_run": (None, [HANDLE, INT, HANDLE, P(AdapterUse), SIZE, HANDLE, EVALUATION_FN, HANDLE]),
    "lora_evaluation_cancel": ("void", [HANDLE]),
    "lora_evaluation_get_scores": (None, [HANDLE, INT, P(Scores)]),
    "lora_evaluation_json": (None, [HANDLE, INT, P(TEXT)]),
    "lora_comparison_options_init": ("void", [P(ComparisonOptions), SIZE]),
    "lora_comparison_create": (None, [HANDLE, HANDLE, P(ComparisonOptions), OUT]),
    "lora_comparison_free": ("void", [HANDLE]),
    "lora_comparison_add": (None, [HANDLE, TEXT, HANDLE, P(AdapterOptions), P(TrainerOptions)]),
    "lora_comparison_run": (None, [HANDLE, COMPARISON_FN, HANDLE, LONG_OUT]),
    "lora_comparison_cancel": ("void", [HANDLE]),
    "lora_comparison_count": (SIZE, [HANDLE]),
    "lora_comparison_row_at": (None, [HANDLE, SIZE, P(ComparisonRow)]),
    "lora_comparison_base": (None, [HANDLE, P(ComparisonRow)]),
    "lora_comparison_judge": (None, [HANDLE, P(ComparisonVerdict)]),
    "lora_comparison_json": (None, [HANDLE, P(TEXT)]),
    "lora_ab_options_init": ("void", [P(AbOptions), SIZE]),
    "lora_ab_create": (None, [HANDLE, P(AbOptions), OUT]),
    "lora_ab_add": (None, [HANDLE, TEXT, TEXT, TEXT]),
    "lora_ab_prepare": (None, [HANDLE, P(AdapterUse), SIZE, P(AdapterUse), SIZE, HANDLE, P(AbOptions), AB_FN, HANDLE,
                               OUT]),
    "lora_ab_free": ("void", [HANDLE]),
    "lora_ab_load": (None, [HANDLE, TEXT, OUT]),
    "lora_ab_save": (None, [HANDLE, TEXT, INT]),
    "lora_ab_count": (SIZE, [HANDLE]),
    "lora_ab_about": (TEXT, [HANDLE]),
    "lora_ab_item_at": (None, [HANDLE, TEXT, SIZE, P(AbItem)]),
    "lora_ab_next": (None, [HANDLE, TEXT, P(AbItem)]),
    "lora_ab_verdict": (None, [HANDLE, TEXT, LONG, INT]),
    "lora_ab_undo": (None, [HANDLE, TEXT, LONG_OUT]),
    "lora_ab_merge": (None, [HANDLE, HANDLE]),
    "lora_ab_get_result": (None, [HANDLE, P(AbResult)]),
    "lora_ab_json": (None, [HANDLE, P(TEXT)]),
    "lora_report_options_init": ("void", [P(ReportOptions), SIZE]),
    "lora_report_create": (None, [HANDLE, P(ReportOptions), OUT]),
    "lora_report_free": ("void", [HANDLE]),
    "lora_report_add": (None, [HANDLE, TEXT, TEXT, SIZE]),
    "lora_report_html": (None, [HANDLE, P(TEXT), SIZE_OUT]),
    "lora_report_save": (None, [HANDLE, TEXT, INT]),
    "lora_binomial_two_sided": (DOUBLE, [LONG, LONG]),
    "lora_binomial_interval": ("void", [LONG, LONG, DOUBLE, DOUBLE_OUT, DOUBLE_OUT]),
}


class LoraError(Exception):
    """A call that failed: `status` is one of the ERROR_ codes, the text is the library's message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def _find_library():
    named = os.environ.get("LIBLORA_LIBRARY")
    if named:
        return named
    beside = pathlib.Path(__file__).with_name("liblora.so.%d" % ABI_VERSION)
    return str(beside) if beside.exists() else ctypes.util.find_library("lora") or "liblora.so.%d" % ABI_VERSION


def _load():
    library = c.CDLL(_find_library())
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = INT if result is None else None if result == "void" else result
    if library.lora_abi_version() != ABI_VERSION:
        raise ImportError("liblora has ABI %d, this package is for %d" % (library.lora_abi_version(), ABI_VERSION))
    return library


lib = _load()


def call(name, *arguments):
    """A function that answers a status; raises LoraError."""
    status = getattr(lib, name)(*arguments)
    if status != OK:
        raise LoraError(status, lib.lora_error_message().decode("utf-8", "replace"))
