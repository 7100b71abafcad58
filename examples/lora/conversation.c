#include "conversation.h"

#include <stdlib.h>
#include <string.h>

void sampling_settings_init(sampling_settings *settings)
{
    lora_generate_options defaults;
    lora_generate_options_init(&defaults);
    *settings = (sampling_settings){
        .max_new_tokens = defaults.max_new_tokens,
        .cache_type = "f32",
        .top_k = defaults.top_k,
        .temperature = (double)defaults.temperature,
        .top_p = (double)defaults.top_p,
        .min_p = (double)defaults.min_p,
        .repetition_penalty = (double)defaults.repetition_penalty,
    };
}

int make_session_options(const application *app, const sampling_settings *s, lora_session_options *options)
{
    lora_session_options_init(options);
    options->context_length = s->context_length;
    return read_cache_type(app, s->cache_type, &options->cache_type);
}

void make_generate_options(const application *app, const sampling_settings *s, lora_generate_options *options)
{
    lora_generate_options_init(options);
    options->max_new_tokens = (int32_t)s->max_new_tokens;
    options->temperature = s->greedy ? 0 : (float)s->temperature;
    options->top_k = (int32_t)s->top_k;
    options->top_p = (float)s->top_p;
    options->min_p = (float)s->min_p;
    options->repetition_penalty = (float)s->repetition_penalty;
    options->seed = (uint64_t)app->seed;
    options->stop = s->stop.items;
    options->stop_count = s->stop.count;
}

int read_ids(const application *app, const char *option_name, const char *text, id_list *out)
{
    out->count = 0;
    out->ids = malloc((strlen(text) / 2 + 1) * sizeof *out->ids);
    if (!out->ids) return complain(app, EXIT_WORK, "%s", say(app, "out of memory", "内存不足"));
    for (const char *at = text; *at;) {
        char *end;
        long value = strtol(at, &end, 10);
        if (end == at || value < 0 || value > INT32_MAX || (*end && *end != ','))
            return complain(app, EXIT_USAGE, say(app, "--%s %.40s: expected token ids such as 1,2,3",
                                                 "--%s %.40s：应为词元编号，如 1,2,3"), option_name, at);
        out->ids[out->count++] = (int32_t)value;
        at = *end ? end + 1 : end;
    }
    return EXIT_DONE;
}

lora_status text_ids(const lora_tokenizer *tokenizer, const char *text, size_t length, bool add_special, id_list *out)
{
    lora_status status = lora_tokenizer_encode(tokenizer, text, length, add_special, NULL, 0, &out->count);
    if (status != LORA_OK) return status;
    out->ids = malloc((out->count + 1) * sizeof *out->ids);
    if (!out->ids) return LORA_ERROR_MEMORY;
    return lora_tokenizer_encode(tokenizer, text, length, add_special, out->ids, out->count, &out->count);
}

lora_status ids_text(const lora_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special, char **out,
                     size_t *length)
{
    lora_status status = lora_tokenizer_decode(tokenizer, ids, count, skip_special, NULL, 0, length);
    if (status != LORA_OK) return status;
    *out = malloc(*length + 1);
    if (!*out) return LORA_ERROR_MEMORY;
    status = lora_tokenizer_decode(tokenizer, ids, count, skip_special, *out, *length, length);
    (*out)[status == LORA_OK ? *length : 0] = '\0';
    return status;
}

static lora_status render(const lora_tokenizer *tokenizer, const char *messages, char **text, size_t *length)
{
    lora_status status = lora_tokenizer_render_chat(tokenizer, NULL, messages, NULL, 1, NULL, 0, length);
    if (status != LORA_OK) return status;
    *text = malloc(*length + 1);
    if (!*text) return LORA_ERROR_MEMORY;
    return lora_tokenizer_render_chat(tokenizer, NULL, messages, NULL, 1, *text, *length, length);
}

lora_status conversation_ids(const lora_tokenizer *tokenizer, const json_t *messages, bool raw, id_list *out)
{
    if (raw) {
        json_t *content = json_object_get(json_array_get(messages, json_array_size(messages) - 1), "content");
        return text_ids(tokenizer, json_string_value(content), json_string_length(content), true, out);
    }
    char *json = json_dumps(messages, JSON_COMPACT), *text = NULL;
    size_t length = 0;
    lora_status status = json ? render(tokenizer, json, &text, &length) : LORA_ERROR_MEMORY;
    // The template has written the begin token itself.
    if (status == LORA_OK) status = text_ids(tokenizer, text, length, false, out);
    free(text);
    free(json);
    return status;
}
