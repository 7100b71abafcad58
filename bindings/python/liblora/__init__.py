"""LoRA fine-tuning of language models. See README.md, and the C headers in include/lora/ for what each setting
means."""
from ._c import lib, LoraError
from .adapter import Adapter
from .check import Check
from .compare import BlindTest, Comparison, Report
from .dataset import Dataset
from .evaluation import Evaluation
from .metrics import classify, distinct, Metric, repetition
from .model import Context, Model, Tokenizer
from .session import Batch, log_probabilities, Piece, plan_inference, Session
from .trainer import diagnose, evaluate_loss, plan_training, Trainer

__all__ = ["Context", "Tokenizer", "Model", "Dataset", "Adapter", "Trainer", "Session", "Piece", "Batch", "Check",
           "Comparison", "BlindTest", "Report", "LoraError", "evaluate_loss", "log_probabilities", "plan_training",
           "plan_inference", "Evaluation", "Metric", "classify", "distinct", "repetition", "diagnose"]
__version__ = lib.lora_version().decode()
