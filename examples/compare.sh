#!/bin/sh
# The quickstart's task in one table: ranks 4, 8 and 16 and full fine-tuning, each without and with a fifth of general
# data mixed in. Ten minutes on two cores; stopped, the same command goes on. Usage: sh examples/compare.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
data=examples/data/weekly_report
exec build/examples/lora compare examples/base --data $data.train.jsonl --validation $data.heldout.jsonl \
    --mix examples/data/general.jsonl=20% --rank 4,8,16 --full --alpha 32 --dropout 0.1 --target-modules q_proj,v_proj \
    --epochs 5 --batch-size 2 --learning-rate 8e-3 --answers 32 --output "${1:-comparison}"
