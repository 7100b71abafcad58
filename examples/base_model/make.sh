#!/bin/sh
# Makes the example base model anew: corpus, tokenizer, then two runs of full training. One and a half hours on one
# processor.
#   sh examples/base_model/make.sh OUTPUT BOOK.txt...
# The books of examples/base: Alice's Adventures in Wonderland, Pride and Prejudice, Frankenstein, 红楼梦 (public domain).
# Needs the built `lora` program and Python with the `tokenizers` package.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lora=${LORA_PROGRAM:-$here/../../build/examples/lora}
output=$1
shift
mkdir -p "$output"
python3 "$here/make_corpus.py" --books "$@" --generated 60000 --seed 1 --output "$output/corpus1"
python3 "$here/make_corpus.py" --books "$@" --generated 160000 --seed 2 --output "$output/corpus2"
cp -r "$here/config" "$output/config"
python3 "$here/make_tokenizer.py" "$output/corpus1.train.jsonl" --output "$output/config"

# train MODEL CORPUS OUTPUT STEPS RATE [OPTIONS...]
train() {
    model=$1 corpus=$2 result=$3 steps=$4 rate=$5
    shift 5
    "$lora" train "$model" --full --data "$corpus.train.jsonl" --validation "$corpus.valid.jsonl" --output "$result" \
        --resume --save-dtype bf16 --max-steps "$steps" --batch-size 4 --packing true --pack-length 512 \
        --learning-rate "$rate" --lr-schedule cosine --weight-decay 0.05 --beta2 0.95 --eval-steps 250 --save-steps 250 "$@"
}
train "$output/config" "$output/corpus1" "$output/first" 2600 2.5e-3 --initialize --warmup-steps 100 --seed 1
train "$output/first" "$output/corpus2" "$output/model" 5000 1.5e-3 --dtype f32 --warmup-steps 50 --seed 2
