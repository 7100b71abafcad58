// What `lora eval` and an evaluation of the server have in common: their options and what these are to the library.
#ifndef EVAL_SETTINGS_H
#define EVAL_SETTINGS_H

#include "options.h"

typedef struct eval_settings {
    text_list metrics, labels;
    const char *classify, *tokenizer, *words, *template_source;
    int64_t max_new_tokens, max_length, max_rows;
    double temperature;
    bool stem, train_on_prompt;
} eval_settings;

// Rows of a table of options; `member` is the eval_settings of the struct `type`.
#define EVAL_OPTIONS(type, member)                                                                                     \
    {"metrics", OPTION_NAMES, offsetof(type, member.metrics), "NAMES",                                                 \
     "loss, bleu, rouge, accuracy... (default: all)", "评估指标：loss、bleu、rouge……（默认全部）"},                    \
    {"labels", OPTION_NAMES, offsetof(type, member.labels), "A,B", "the classes (default: found in DATA)",             \
     "类别（默认从数据中找）"},                                                                                        \
    {"classify", OPTION_TEXT, offsetof(type, member.classify), "answer|likelihood",                                    \
     "by the answer, or the likeliest label", "按回答，或按最可能的类别"},                                             \
    {"bleu-tokenizer", OPTION_TEXT, offsetof(type, member.tokenizer), "NAME",                                          \
     "13a, zh, char, intl, none (zh for Chinese)", "13a、zh、char、intl、none（中文默认 zh）"},                        \
    {"words", OPTION_TEXT, offsetof(type, member.words), "latin|characters|spaces",                                    \
     "words of ROUGE: Chinese by characters", "ROUGE 的词：中文默认按字"},                                             \
    {"stem", OPTION_FLAG, offsetof(type, member.stem), NULL, "ROUGE on English word stems", "ROUGE 用英语词干"},       \
    {"max-new-tokens", OPTION_INTEGER, offsetof(type, member.max_new_tokens), "256", "length of an answer",            \
     "回答的最大长度"},                                                                                                \
    {"temperature", OPTION_REAL, offsetof(type, member.temperature), "0", "above 0: answers are drawn",                \
     "大于 0 则随机采样"},                                                                                             \
    {"max-length", OPTION_INTEGER, offsetof(type, member.max_length), "512", "tokens of a row", "每行最多的词元数"},   \
    {"max-rows", OPTION_INTEGER, offsetof(type, member.max_rows), "N", "use the first N rows", "只用前 N 行"},         \
    {"train-on-prompt", OPTION_FLAG, offsetof(type, member.train_on_prompt), NULL, "loss of the prompt too",           \
     "也计算提问部分的损失"},                                                                                          \
    {"template", OPTION_TEMPLATE, offsetof(type, member.template_source), "alpaca|chat|FILE",                          \
     "how rows become text", "数据的文本模板"}

void eval_settings_init(eval_settings *settings);

typedef struct eval_plan {
    lora_dataset_options dataset;
    lora_generate_options generation;
    lora_resampling resampling;
    lora_evaluation_options evaluation; // points to the two above
} eval_plan;

// Complains and returns EXIT_USAGE when a value makes no sense. Texts are lent by the settings; the plan is not to
// move.
int make_eval_plan(const application *app, const eval_settings *settings, eval_plan *plan);

#endif
