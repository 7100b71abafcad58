// lora chat: a conversation in the terminal. Adapters are loaded once and switched between two questions.
#include "conversation.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const verb_help help = {
    .usage = "lora chat MODEL [--adapter ADAPTER[=WEIGHT]]... [options]",
    .english = "A conversation. /adapter N switches to the N-th adapter, /base to none;\n/reset forgets, /quit ends.",
    .chinese = "对话。/adapter N 切换到第 N 个适配器，/base 不用适配器；\n/reset 重新开始，/quit 退出。",
    .example = "lora chat examples/base --adapter my-adapter",
    .arguments = 1, .most_arguments = 1,
};

typedef struct settings {
    text_list adapters;
    const char *system;
    sampling_settings sampling;
} settings;

static const option options[] = {
    {"adapter", OPTION_TEXTS, offsetof(settings, adapters), "DIR[=WEIGHT]", "adapters to switch between",
     "可切换的适配器"},
    {"system", OPTION_TEXT, offsetof(settings, system), "TEXT", "system message", "系统消息"},
    SAMPLING_OPTIONS(settings, sampling),
    {0},
};

typedef struct chat {
    application *app;
    const settings *settings;
    lora_session_options session_options;
    lora_model *model;
    lora_session *session;
    adapter_set adapters;
    json_t *messages;
    int32_t *known; // ids that the session has run
    size_t known_count;
    char answer[1 << 16];
    size_t answer_length;
} chat;

static int32_t take_piece(const lora_piece *piece, void *user)
{
    chat *c = user;
    if (!c->app->json) {
        fwrite(piece->text, 1, piece->text_length, stdout);
        fflush(stdout);
    }
    if (c->answer_length + piece->text_length < sizeof c->answer) {
        memcpy(c->answer + c->answer_length, piece->text, piece->text_length);
        c->answer_length += piece->text_length;
    }
    return 0;
}

static void cancel_session(void *handle)
{
    lora_session_cancel(handle);
}

// The session keeps what two renderings of the conversation have in common.
static lora_status ask(chat *c, const id_list *ids)
{
    size_t common = 0, length = (size_t)lora_session_length(c->session);
    while (common < c->known_count && common < length && common + 1 < ids->count &&
           c->known[common] == ids->ids[common])
        common++;
    lora_generate_options generate;
    make_generate_options(c->app, &c->settings->sampling, &generate);
    c->answer_length = 0;
    on_interrupt(cancel_session, c->session);
    lora_status status = lora_session_truncate(c->session, (int64_t)common);
    if (status == LORA_OK) status = lora_session_prompt(c->session, ids->ids + common, ids->count - common, &generate);
    if (status == LORA_OK) status = lora_session_generate(c->session, take_piece, c);
    on_interrupt(NULL, NULL);
    if (!c->app->json) putchar('\n');
    return status;
}

static lora_status answer(chat *c, const char *question)
{
    id_list ids = {0};
    json_array_append_new(c->messages, json_pack("{ss ss}", "role", "user", "content", question));
    lora_status status = conversation_ids(lora_model_tokenizer(c->model), c->messages, false, &ids);
    if (status == LORA_OK) status = ask(c, &ids);
    free(c->known);
    c->known = ids.ids;
    c->known_count = ids.count;
    json_t *text = status == LORA_OK ? json_stringn(c->answer, c->answer_length) : NULL;
    if (text) json_array_append_new(c->messages, json_pack("{ss so}", "role", "assistant", "content", text));
    else json_array_remove(c->messages, json_array_size(c->messages) - 1);
    return status;
}

static void reset(chat *c)
{
    json_array_clear(c->messages);
    if (c->settings->system)
        json_array_append_new(c->messages, json_pack("{ss ss}", "role", "system", "content", c->settings->system));
    lora_session_reset(c->session);
    c->known_count = 0;
}

static void use_adapter(chat *c, const char *word)
{
    size_t number = (size_t)strtoul(word, NULL, 10);
    if (number == 0 && c->adapters.count == 1) number = 1;
    if (number < 1 || number > c->adapters.count) {
        for (size_t i = 0; i < c->adapters.count; i++)
            note(c->app, "  /adapter %zu  %s", i + 1, c->settings->adapters.items[i]);
        if (!c->adapters.count) note(c->app, "%s", say(c->app, "no adapter was given: lora chat MODEL --adapter DIR",
                                                       "没有给出适配器：lora chat MODEL --adapter DIR"));
        return;
    }
    if (lora_session_set_adapters(c->session, &c->adapters.uses[number - 1], 1) != LORA_OK)
        complain(c->app, EXIT_WORK, "%s", lora_error_message());
    else note(c->app, say(c->app, "now with %s", "正在使用 %s"), c->settings->adapters.items[number - 1]);
}

// false: the conversation is over.
static bool obey(chat *c, const char *line)
{
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0) return false;
    if (strcmp(line, "/reset") == 0) reset(c);
    else if (strcmp(line, "/base") == 0) {
        lora_session_set_adapters(c->session, NULL, 0);
        note(c->app, "%s", say(c->app, "now the base alone", "正在使用底座模型"));
    } else if (strncmp(line, "/adapter", 8) == 0) use_adapter(c, line + 8);
    else note(c->app, "%s", say(c->app, "/adapter N  /base  /reset  /quit",
                                "/adapter N 切换适配器  /base 底座  /reset 重新开始  /quit 退出"));
    return true;
}

static int converse(chat *c)
{
    char *line = NULL;
    size_t capacity = 0;
    bool terminal = isatty(0) && isatty(1) && !c->app->json;
    int result = EXIT_DONE;
    for (;;) {
        if (terminal) printf("> "), fflush(stdout);
        ssize_t length = getline(&line, &capacity, stdin);
        if (length < 0) break;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) line[--length] = '\0';
        if (length == 0) continue;
        if (line[0] == '/') {
            if (!obey(c, line)) break;
            continue;
        }
        lora_status status = answer(c, line);
        if (status == LORA_ERROR_CANCELLED && terminal) continue;
        if (status != LORA_OK) result = failed(c->app, status);
        if (result != EXIT_DONE && !terminal) break;
    }
    free(line);
    if (c->app->json && result == EXIT_DONE) return print_json(json_pack("{sO}", "messages", c->messages));
    return result;
}

static int run(chat *c)
{
    application *app = c->app;
    lora_status status = open_model(app, app->arguments.items[0], NULL, &c->model);
    if (status == LORA_OK && !lora_model_tokenizer(c->model))
        return complain(app, EXIT_WORK, say(app, "%s has no tokenizer; put tokenizer.json beside the model",
                                            "%s 没有分词器；请把 tokenizer.json 放到模型旁"), app->arguments.items[0]);
    if (status == LORA_OK) status = open_adapters(c->model, &c->settings->adapters, &c->adapters);
    if (status == LORA_OK) status = lora_session_create(c->model, &c->session_options, &c->session);
    if (status == LORA_OK) status = lora_session_set_adapters(c->session, c->adapters.uses, c->adapters.count);
    if (status != LORA_OK) return failed(app, status);
    reset(c);
    note(app, "%s", say(app, "type a message; /help lists commands", "请输入内容；/help 查看命令"));
    return converse(c);
}

int command_chat(application *app, int count, char **words)
{
    settings s = {0};
    sampling_settings_init(&s.sampling);
    int status = parse_options(app, &help, options, &s, count, words);
    if (status != EXIT_DONE) return status;
    chat *c = calloc(1, sizeof *c);
    if (!c) return complain(app, EXIT_WORK, "%s", say(app, "out of memory", "内存不足"));
    *c = (chat){.app = app, .settings = &s, .messages = json_array()};
    status = make_session_options(app, &s.sampling, &c->session_options);
    if (status == EXIT_DONE) status = run(c);
    json_decref(c->messages);
    free(c->known);
    lora_session_free(c->session);
    close_adapters(&c->adapters);
    lora_model_free(c->model);
    free(c);
    return status;
}
