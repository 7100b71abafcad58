// Messages into token ids, and answers into text: what `generate` and `chat` share.
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "options.h"

// The sampling options of both verbs.
typedef struct sampling_settings {
    int64_t max_new_tokens, top_k, context_length;
    double temperature, top_p, min_p, repetition_penalty;
    bool greedy;
    text_list stop;
    const char *cache_type;
} sampling_settings;

#define SAMPLING_OPTIONS(type, member)                                                                                 \
    {"max-new-tokens", OPTION_INTEGER, offsetof(type, member.max_new_tokens), "256", "length of an answer",            \
     "回答的最大长度"},                                                                                                \
    {"temperature", OPTION_REAL, offsetof(type, member.temperature), "0.8", "0 is greedy", "温度；0 为贪心"},          \
    {"top-k", OPTION_INTEGER, offsetof(type, member.top_k), "40", "choose among the K best", "只在最好的 K 个中选择"}, \
    {"top-p", OPTION_REAL, offsetof(type, member.top_p), "0.95", "choose among the best that make up P", "核采样"},    \
    {"min-p", OPTION_REAL, offsetof(type, member.min_p), "0", "drop what is rarer than P times the best", "最小相对概率"}, \
    {"repetition-penalty", OPTION_REAL, offsetof(type, member.repetition_penalty), "1", "above 1: repeat less",        \
     "大于 1 减少重复"},                                                                                               \
    {"stop", OPTION_TEXTS, offsetof(type, member.stop), "TEXT", "end the answer at this text", "遇到此文本即停止"},    \
    {"context-length", OPTION_INTEGER, offsetof(type, member.context_length), "N", "tokens kept", "上下文长度"},       \
    {"cache-type", OPTION_TEXT, offsetof(type, member.cache_type), "f32", "f16 or bf16: half the memory for tokens",   \
     "f16 或 bf16：上下文占用内存减半"},                                                                               \
    {"greedy", OPTION_FLAG, offsetof(type, member.greedy), NULL, "always the likeliest token", "总是选最可能的词元"}

void sampling_settings_init(sampling_settings *settings);
// EXIT_DONE, or an exit status after complaining.
int make_session_options(const application *app, const sampling_settings *settings, lora_session_options *options);
void make_generate_options(const application *app, const sampling_settings *settings, lora_generate_options *options);

typedef struct id_list {
    int32_t *ids;
    size_t count;
} id_list;

// "1,2,3" as ids; EXIT_DONE, or an exit status after complaining. Free ids with free() in either case.
int read_ids(const application *app, const char *option_name, const char *text, id_list *out);

// Ids of a conversation ready for an answer, in the text that training makes of it: by the chat template, or where
// there is none by alpaca's; `raw`: the last message's text as it is. On failure the thread's message is set. Free ids
// with free().
lora_status conversation_ids(const lora_tokenizer *tokenizer, const json_t *messages, bool raw, id_list *out);
lora_status text_ids(const lora_tokenizer *tokenizer, const char *text, size_t length, bool add_special, id_list *out);
lora_status ids_text(const lora_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special, char **out,
                     size_t *length);

#endif
