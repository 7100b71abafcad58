// lora tokenize: text to ids and back.
#include "conversation.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const verb_help help = {
    .usage = "lora tokenize MODEL --text TEXT | --data DATA | --decode IDS",
    .english = "How MODEL's tokenizer cuts a text, or how rows of DATA become ids and labels.",
    .chinese = "显示 MODEL 的分词结果，或 DATA 的每一行如何变成编号和标签。",
    .example = "lora tokenize examples/base --text \"Hello!\"",
    .arguments = 1, .most_arguments = 1,
};

typedef struct settings {
    const char *text, *decode, *template_source;
    text_list data;
    bool special;
    int64_t max_length;
} settings;

static const option options[] = {
    {"text", OPTION_TEXT, offsetof(settings, text), "TEXT", "text to cut", "要切分的文本"},
    {"data", OPTION_TEXTS, offsetof(settings, data), "FILE", "rows: one JSON object a line, with labels",
     "数据：每行输出一个 JSON"},
    {"decode", OPTION_TEXT, offsetof(settings, decode), "1,2,3", "the other way", "由编号得到文本"},
    {"add-special", OPTION_FLAG, offsetof(settings, special), NULL, "add begin and end tokens", "加上开始和结束符"},
    {"template", OPTION_TEMPLATE, offsetof(settings, template_source), "alpaca|chat|FILE", "how rows become text",
     "数据的文本模板"},
    {"max-length", OPTION_INTEGER, offsetof(settings, max_length), "512", "tokens of a row", "每行最多的词元数"},
    {0},
};

static json_t *as_array(const int32_t *ids, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(array, json_integer(ids[i]));
    return array;
}

static lora_status show_text(const application *app, const lora_tokenizer *tokenizer, const settings *s)
{
    id_list list = {0};
    lora_status status = text_ids(tokenizer, s->text, strlen(s->text), s->special, &list);
    if (status == LORA_OK && app->json) {
        json_t *tokens = json_array();
        for (size_t i = 0; i < list.count; i++)
            json_array_append_new(tokens, json_string(lora_tokenizer_token(tokenizer, list.ids[i])));
        print_json(json_pack("{so so}", "ids", as_array(list.ids, list.count), "tokens", tokens));
    } else if (status == LORA_OK) {
        for (size_t i = 0; i < list.count; i++) printf("%s%" PRId32, i ? "," : "", list.ids[i]);
        putchar('\n');
    }
    free(list.ids);
    return status;
}

static lora_status show_ids(const application *app, const lora_tokenizer *tokenizer, const id_list *ids)
{
    char *text = NULL;
    size_t length;
    lora_status status = ids_text(tokenizer, ids->ids, ids->count, false, &text, &length);
    if (status == LORA_OK && app->json) print_json(json_pack("{ss%}", "text", text, length));
    else if (status == LORA_OK) fwrite(text, 1, length, stdout), putchar('\n');
    free(text);
    return status;
}

static lora_status show_data(application *app, const lora_tokenizer *tokenizer, const settings *s)
{
    lora_dataset_options o;
    lora_dataset *data;
    lora_dataset_info info = {.struct_size = sizeof info};
    lora_dataset_options_init(&o);
    o.max_length = (int32_t)s->max_length;
    o.template_source = s->template_source;
    lora_status status = lora_dataset_load(app->context, tokenizer, s->data.items, s->data.count, &o, &data);
    if (status != LORA_OK) return status;
    lora_dataset_get_info(data, &info);
    json_t *rows = json_array();
    for (int64_t i = 0; i < info.rows; i++) {
        const int32_t *ids, *labels;
        size_t count;
        lora_dataset_row(data, (size_t)i, &ids, &labels, &count);
        json_t *row = json_pack("{so so}", "input_ids", as_array(ids, count), "labels", as_array(labels, count));
        if (app->json) json_array_append_new(rows, row);
        else {
            json_dumpf(row, stdout, JSON_COMPACT);
            putchar('\n');
            json_decref(row);
        }
    }
    lora_dataset_free(data);
    if (app->json)
        print_json(json_pack("{so sI sI sI}", "rows", rows, "tokens", (json_int_t)info.tokens, "label_tokens",
                             (json_int_t)info.label_tokens, "cut_rows", (json_int_t)info.cut_rows));
    else json_decref(rows);
    return LORA_OK;
}

int command_tokenize(application *app, int count, char **words)
{
    settings s = {.max_length = 512};
    int result = parse_options(app, &help, options, &s, count, words);
    if (result != EXIT_DONE) return result;
    if ((s.text != NULL) + (s.data.count > 0) + (s.decode != NULL) != 1)
        return complain(app, EXIT_USAGE,
                        say(app, "give one of --text, --data and --decode", "请给出 --text、--data、--decode 之一"));
    id_list ids = {0};
    lora_tokenizer *tokenizer = NULL;
    if (s.decode && (result = read_ids(app, "decode", s.decode, &ids)) != EXIT_DONE) return free(ids.ids), result;
    lora_status status = open_context(app);
    if (status == LORA_OK) status = lora_tokenizer_load(app->context, app->arguments.items[0], &tokenizer);
    if (status == LORA_OK)
        status = s.text       ? show_text(app, tokenizer, &s)
               : s.data.count ? show_data(app, tokenizer, &s)
                              : show_ids(app, tokenizer, &ids);
    if (status != LORA_OK) result = failed(app, status);
    lora_tokenizer_free(tokenizer);
    free(ids.ids);
    return result;
}
