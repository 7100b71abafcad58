// lora generate: one prompt, one answer.
#include "conversation.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const verb_help help = {
    .usage = "lora generate MODEL [--adapter ADAPTER[=WEIGHT]]... --prompt TEXT [options]",
    .english = "Answers one prompt; the answer streams to standard output.",
    .chinese = "回答一个问题，答案逐字输出。",
    .example = "lora generate examples/base --adapter my-adapter --prompt \"Hello!\"",
    .arguments = 1, .most_arguments = 1,
};

typedef struct settings {
    text_list adapters;
    const char *prompt, *prompt_ids, *system;
    bool raw;
    sampling_settings sampling;
} settings;

static const option options[] = {
    {"adapter", OPTION_TEXTS, offsetof(settings, adapters), "DIR[=WEIGHT]", "adapters in use", "使用的适配器"},
    {"prompt", OPTION_TEXT, offsetof(settings, prompt), "TEXT", "what to answer", "要回答的内容"},
    {"prompt-ids", OPTION_TEXT, offsetof(settings, prompt_ids), "1,2,3", "instead: token ids", "或：词元编号"},
    {"system", OPTION_TEXT, offsetof(settings, system), "TEXT", "system message", "系统消息"},
    {"raw", OPTION_FLAG, offsetof(settings, raw), NULL, "no chat template", "不用对话模板"},
    SAMPLING_OPTIONS(settings, sampling),
    {0},
};

typedef struct answer {
    const application *app;
    json_t *ids;
    json_t *text; // array of pieces
} answer;

static int32_t take_piece(const lora_piece *piece, void *user)
{
    answer *a = user;
    if (piece->id >= 0) json_array_append_new(a->ids, json_integer(piece->id));
    if (a->app->json) json_array_append_new(a->text, json_stringn(piece->text, piece->text_length));
    else {
        fwrite(piece->text, 1, piece->text_length, stdout);
        fflush(stdout);
    }
    return 0;
}

static json_t *joined(const json_t *pieces)
{
    size_t index, length = 0;
    json_t *piece;
    json_array_foreach(pieces, index, piece) length += json_string_length(piece);
    char *text = malloc(length + 1), *end = text;
    if (!text) return NULL;
    json_array_foreach(pieces, index, piece) {
        memcpy(end, json_string_value(piece), json_string_length(piece));
        end += json_string_length(piece);
    }
    json_t *result = json_stringn(text, length);
    free(text);
    return result;
}

static lora_status prompt_ids(const settings *s, const lora_model *model, id_list *out)
{
    json_t *messages = json_array();
    if (s->system) json_array_append_new(messages, json_pack("{ss ss}", "role", "system", "content", s->system));
    json_array_append_new(messages, json_pack("{ss ss}", "role", "user", "content", s->prompt));
    // A base that was never taught to chat goes on from the text; what it was trained on with an adapter had a
    // template.
    bool plain = !s->adapters.count && !lora_tokenizer_chat_template(lora_model_tokenizer(model));
    lora_status status = conversation_ids(lora_model_tokenizer(model), messages, s->raw || plain, out);
    json_decref(messages);
    return status;
}

static double rate(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static int print_result(const application *app, const lora_session *session, answer *a, double ready)
{
    lora_session_info info = {.struct_size = sizeof info};
    lora_session_get_info(session, &info);
    if (app->json)
        return print_json(json_pack("{so sO sI sI sf sf sf sI}", "text", joined(a->text), "ids", a->ids,
                                    "prompt_tokens", (json_int_t)info.prompt_tokens, "generated_tokens",
                                    (json_int_t)info.generated_tokens, "prefill_tokens_per_second",
                                    rate(info.prompt_tokens, info.prefill_seconds), "decode_tokens_per_second",
                                    rate(info.generated_tokens, info.decode_seconds), "ready_seconds", ready,
                                    "peak_memory_bytes", (json_int_t)peak_memory()));
    putchar('\n');
    return EXIT_DONE;
}

static void cancel_session(void *handle)
{
    lora_session_cancel(handle);
}

static lora_status answer_prompt(application *app, const settings *s, lora_session *session, const id_list *prompt,
                                 answer *a)
{
    lora_generate_options generate;
    make_generate_options(app, &s->sampling, &generate);
    on_interrupt(cancel_session, session);
    lora_status status = lora_session_prompt(session, prompt->ids, prompt->count, &generate);
    if (status == LORA_OK) status = lora_session_generate(session, take_piece, a);
    on_interrupt(NULL, NULL);
    return status;
}

static int run(application *app, const settings *s, const lora_session_options *session_options, id_list *prompt)
{
    lora_model *model = NULL;
    lora_session *session = NULL;
    adapter_set adapters = {.count = 0};
    answer a = {app, json_array(), json_array()};
    double ready = 0;
    lora_status status = open_model(app, app->arguments.items[0], NULL, &model);
    if (status == LORA_OK && !s->prompt_ids && !lora_model_tokenizer(model)) {
        status = LORA_ERROR_NOT_FOUND;
        complain(app, EXIT_WORK,
                 say(app, "%s has no tokenizer; give --prompt-ids, or put tokenizer.json beside the model",
                     "%s 没有分词器；请用 --prompt-ids，或把 tokenizer.json 放到模型旁"),
                 app->arguments.items[0]);
        goto done;
    }
    if (status == LORA_OK) status = open_adapters(model, &s->adapters, &adapters);
    if (status == LORA_OK) status = lora_session_create(model, session_options, &session);
    if (status == LORA_OK) status = lora_session_set_adapters(session, adapters.uses, adapters.count);
    if (status == LORA_OK && !s->prompt_ids) status = prompt_ids(s, model, prompt);
    ready = now() - app->start;
    if (status == LORA_OK) status = answer_prompt(app, s, session, prompt, &a);
    if (status != LORA_OK) failed(app, status);
    else status = print_result(app, session, &a, ready);
done:
    json_decref(a.ids);
    json_decref(a.text);
    lora_session_free(session);
    close_adapters(&adapters);
    lora_model_free(model);
    return status == LORA_OK             ? EXIT_DONE
         : interrupted()                 ? EXIT_INTERRUPTED
         : status == LORA_ERROR_ARGUMENT ? EXIT_USAGE
                                         : EXIT_WORK;
}

int command_generate(application *app, int count, char **words)
{
    settings s = {0};
    sampling_settings_init(&s.sampling);
    int status = parse_options(app, &help, options, &s, count, words);
    if (status != EXIT_DONE) return status;
    if (!s.prompt && !s.prompt_ids)
        return complain(app, EXIT_USAGE, "%s",
                        say(app, "--prompt is missing: what to answer?", "缺少 --prompt：要回答什么？"));
    id_list prompt = {0};
    if (s.prompt_ids) status = read_ids(app, "prompt-ids", s.prompt_ids, &prompt);
    lora_session_options session_options;
    if (status == EXIT_DONE) status = make_session_options(app, &s.sampling, &session_options);
    if (status == EXIT_DONE) status = run(app, &s, &session_options, &prompt);
    free(prompt.ids);
    return status;
}
