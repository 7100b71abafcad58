#!/bin/sh
# From nothing to a fine-tuned model in a few minutes: builds liblora, trains a LoRA adapter on the example data, and
# shows what it changed. Usage: sh examples/quickstart.sh [WORK_FOLDER]
set -eu
cd "$(dirname "$0")/.."
. examples/packages.sh
work=${1:-quickstart}
base=examples/base
data=examples/data/weekly_report
lora=build/examples/lora
case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in zh*) chinese=1 ;; *) chinese= ;; esac

say() { if [ "$chinese" ]; then printf '%s\n' "$2"; else printf '%s\n' "$1"; fi; }
title() { printf '\n\033[1m%s\033[0m\n' "$(say "$1" "$2")"; }
answer() { "$lora" generate "$@" --greedy --max-new-tokens 120 --quiet; }

title "1. Build" "1. 编译"
need_packages $build_packages
[ -f build/build.ninja ] || meson setup build >/dev/null
ninja -C build examples/lora | tail -n 1

english='Turn these notes into an upbeat weekly report.
fixed 6 bugs in the search page; met the data team on Wednesday'
mandarin='把这些笔记写成积极向上的周报。
修复了搜索页面的6个问题；周三与数据组开会'

title "2. The base model before training" "2. 训练前的底座模型"
for prompt in "$english" "$mandarin"; do
    printf '%s\n' "$prompt"
    printf '  -> '
    answer "$base" --prompt "$prompt"
done

title "3. Training a LoRA adapter: r=8, alpha=32, dropout 0.1, q_proj+v_proj, 5 epochs" \
      "3. 训练 LoRA 适配器：r=8，alpha=32，dropout 0.1，q_proj+v_proj，5 轮"
"$lora" train "$base" --data $data.train.jsonl --validation $data.heldout.jsonl --output "$work/adapter" --force \
    --rank 8 --alpha 32 --dropout 0.1 --target-modules q_proj,v_proj --epochs 5 --batch-size 2 --learning-rate 8e-3

title "4. After training, on notes that were held out" "4. 训练后，在没见过的笔记上"
for prompt in "$english" "$mandarin"; do
    printf '%s\n' "$prompt"
    printf '  -> '
    answer "$base" --adapter "$work/adapter" --prompt "$prompt"
done
say "Loss and scores on the 32 held-out examples, without and with the adapter:" "在 32 条留出数据上的损失和得分，不用与使用适配器："
"$lora" eval "$base" --data $data.heldout.jsonl
"$lora" eval "$base" --adapter "$work/adapter" --data $data.heldout.jsonl

title "5. Off and on again, in one conversation" "5. 同一对话中关闭、再打开适配器"
line=$(printf '%s' "$english" | tr '\n' ' ')
printf '%s\n' "/base" "/reset" "$line" "/adapter" "/reset" "$line" |
    "$lora" chat "$base" --adapter "$work/adapter" --greedy --max-new-tokens 120

title "6. Merging: W + B·A·alpha/r" "6. 合并：W + B·A·alpha/r"
"$lora" merge "$base" --adapter "$work/adapter" --output "$work/merged" --dtype f32 --force
attached=$(answer "$base" --adapter "$work/adapter" --prompt "$english")
merged=$(answer "$work/merged" --prompt "$english")
printf 'attached: %s\nmerged:   %s\n' "$attached" "$merged"
[ "$attached" = "$merged" ] || { say "The two differ: please report this." "两者不同：请报告此问题。" >&2; exit 1; }
say "The same text." "两者相同。"

title "Done. What you have, and what to type next" "完成。您得到了什么，接下来可以输入"
du -sh "$work/adapter/adapter_model.safetensors" "$work/merged"
cat <<NEXT
  $lora chat $base --adapter $work/adapter
  $lora train $base --data YOUR_DATA.jsonl --output my-adapter
  $lora train --help
NEXT
