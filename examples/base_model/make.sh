#!/bin/sh
# Makes the example base model anew: corpus, tokenizer, pretraining from random weights. About an hour on two processors.
#   sh examples/base_model/make.sh OUTPUT BOOK.txt...
# The books of examples/base: Alice's Adventures in Wonderland, Pride and Prejudice, Frankenstein, 红楼梦 (public domain).
# Needs the built `lora` program and Python with the `tokenizers` package.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lora=${LORA_PROGRAM:-$here/../../build/examples/lora}
output=$1
shift
mkdir -p "$output"
python3 "$here/make_corpus.py" --books "$@" --output "$output/corpus"
cp -r "$here/config" "$output/config"
python3 "$here/make_tokenizer.py" "$output/corpus.train.jsonl" --output "$output/config"
"$lora" train "$output/config" --initialize --full --data "$output/corpus.train.jsonl" --validation "$output/corpus.valid.jsonl" \
    --output "$output/model" --save-dtype bf16 --max-steps 2600 --batch-size 4 --packing true --pack-length 512 \
    --learning-rate 2.5e-3 --lr-schedule cosine --warmup-steps 100 --weight-decay 0.05 --beta2 0.95 --seed 1 \
    --eval-steps 200 --save-steps 200 --resume
