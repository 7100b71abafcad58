#include "openai.h"

#include "../conversation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MOST_PROMPTS 16

// A request on its way to a ticket.
typedef struct asking {
    request *r;
    completion *c;
    ticket_spec spec;
    id_list prompts[MOST_PROMPTS];
    size_t prompt_count;
    int64_t n, most_tokens;
    uint64_t seed;
    const char *stop[16];
} asking;

static bool refuse(asking *a, const char *param, const char *english, const char *chinese)
{
    answer_error(a->r, 400, "invalid_value", param, "%s: %s", param, say(&a->r->words, english, chinese));
    return false;
}

static json_t *field(const asking *a, const char *name)
{
    json_t *value = json_object_get(a->r->body, name);
    return json_is_null(value) ? NULL : value;
}

// ---- model and adapters --------------------------------------------------------------------------------------------

static bool add_adapter(asking *a, const char *name, double weight, const char *param)
{
    if (a->spec.adapter_count == MOST_ADAPTERS) return refuse(a, "adapters", "too many at once", "一次使用的适配器太多");
    lora_status status = shelf_take(a->r->server->shelf, name, &a->spec.adapters[a->spec.adapter_count]);
    if (status == LORA_OK) {
        a->spec.weights[a->spec.adapter_count++] = (float)weight;
        return true;
    }
    if (shelf_has(a->r->server->shelf, name)) answer_failure(a->r, status);
    else
        answer_error(
            a->r, 404, "model_not_found", param,
            say(&a->r->words, "there is no model or adapter '%.100s' here", "这里没有名为“%.100s”的模型或适配器"),
            name);
    return false;
}

static bool read_adapters(asking *a, const json_t *list)
{
    size_t index;
    json_t *entry;
    if (!json_is_array(list))
        return refuse(a, "adapters", "a list of {\"name\", \"weight\"} is expected",
                      "应为 {\"name\", \"weight\"} 的列表");
    json_array_foreach(list, index, entry) {
        const char *name = json_is_string(entry) ? json_string_value(entry)
                                                 : json_string_value(json_object_get(entry, "name"));
        json_t *weight = json_object_get(entry, "weight");
        double value = weight ? json_number_value(weight) : 1;
        if (!name || (weight && !json_is_number(weight)) || fabs(value) > 100)
            return refuse(a, "adapters", "a list of {\"name\", \"weight\"} is expected",
                          "应为 {\"name\", \"weight\"} 的列表");
        if (!add_adapter(a, name, value, "adapters")) return false;
    }
    return true;
}

static bool read_model(asking *a)
{
    const char *name = a->r->server->model_name;
    json_t *list = field(a, "adapters");
    if (!take_text(a->r, "model", &name)) return false;
    a->c->model = strdup(name);
    if (list) {
        if (strcmp(name, a->r->server->model_name) != 0 && !shelf_has(a->r->server->shelf, name))
            return answer_error(a->r, 404, "model_not_found", "model",
                                say(&a->r->words, "there is no model or adapter '%.100s' here",
                                    "这里没有名为“%.100s”的模型或适配器"),
                                name),
                   false;
        return read_adapters(a, list);
    }
    return strcmp(name, a->r->server->model_name) == 0 || add_adapter(a, name, 1, "model");
}

// ---- sampling ------------------------------------------------------------------------------------------------------

static bool read_stop(asking *a)
{
    json_t *stop = field(a, "stop");
    size_t count = json_is_array(stop) ? json_array_size(stop) : stop != NULL;
    if (count > 16) return refuse(a, "stop", "at most 16 texts", "最多 16 个文本");
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_is_array(stop) ? json_array_get(stop, i) : stop);
        if (!text || !*text || strlen(text) > 1000)
            return refuse(a, "stop", "a text or a list of texts is expected, none of them empty",
                          "应为文本或文本列表，且不能为空");
        a->stop[i] = text;
    }
    a->spec.options.stop = a->stop;
    a->spec.options.stop_count = count;
    return true;
}

// What is not done is refused, not passed over.
static bool refuse_unknown(asking *a)
{
    static const char *const zero[] = {"presence_penalty", "frequency_penalty"};
    static const char *const empty[] = {"logit_bias", "tools", "functions", "suffix", "audio"};
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++) {
        json_t *value = field(a, zero[i]);
        if (value && (!json_is_number(value) || json_number_value(value) != 0))
            return refuse(a, zero[i], "not supported; use repetition_penalty", "不支持，请使用 repetition_penalty");
    }
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        json_t *value = field(a, empty[i]);
        bool nothing = !value || (json_is_array(value) && json_array_size(value) == 0) ||
                       (json_is_object(value) && json_object_size(value) == 0);
        if (!nothing) return refuse(a, empty[i], "not supported", "不支持");
    }
    const char *format = json_string_value(json_object_get(field(a, "response_format"), "type"));
    if (field(a, "response_format") && (!format || strcmp(format, "text") != 0))
        return refuse(a, "response_format", "only text is supported", "只支持 text");
    int64_t best = a->n;
    if (!take_integer(a->r, "best_of", 1, 8, &best)) return false;
    return best == a->n || refuse(a, "best_of", "not supported", "不支持");
}

static bool read_log_probabilities(asking *a)
{
    int64_t top = 0;
    bool wanted = false;
    if (a->c->chat) {
        if (!take_flag(a->r, "logprobs", &wanted) || !take_integer(a->r, "top_logprobs", 0, MOST_TOP, &top))
            return false;
        if (top > 0 && !wanted) return refuse(a, "top_logprobs", "needs logprobs: true", "需要 logprobs: true");
    } else {
        wanted = field(a, "logprobs") != NULL;
        if (!take_integer(a->r, "logprobs", 0, MOST_TOP, &top)) return false;
    }
    a->spec.top = a->c->top = wanted ? (int)top : -1;
    return true;
}

static bool read_sampling(asking *a)
{
    request *r = a->r;
    lora_generate_options *o = &a->spec.options;
    lora_generate_options_init(o);
    double temperature = (double)o->temperature, top_p = (double)o->top_p, min_p = (double)o->min_p,
           repetition = (double)o->repetition_penalty;
    int64_t top_k = o->top_k, seed = 0;
    bool ignore_end = false; // as vLLM calls it
    a->n = 1;
    bool fine = take_real(r, "temperature", 0, 100, &temperature) && take_real(r, "top_p", 1e-6, 1, &top_p) &&
                take_real(r, "min_p", 0, 1, &min_p) && take_real(r, "repetition_penalty", 0.01, 100, &repetition) &&
                take_integer(r, "top_k", 0, INT32_MAX, &top_k) && take_integer(r, "n", 1, 8, &a->n) &&
                take_integer(r, "max_tokens", 1, INT32_MAX, &a->most_tokens) &&
                take_integer(r, "max_completion_tokens", 1, INT32_MAX, &a->most_tokens) &&
                take_integer(r, "seed", INT64_MIN, INT64_MAX, &seed) && take_flag(r, "stream", &a->c->stream) &&
                take_flag(r, "ignore_eos", &ignore_end) && read_stop(a) && refuse_unknown(a) &&
                read_log_probabilities(a);
    if (!fine) return false;
    o->temperature = (float)temperature, o->top_p = (float)top_p, o->min_p = (float)min_p,
    o->repetition_penalty = (float)repetition, o->top_k = (int32_t)top_k;
    if (field(a, "seed") || getrandom(&a->seed, sizeof a->seed, 0) < 0) a->seed = (uint64_t)seed;
    o->ignore_end = ignore_end;
    json_t *options = field(a, "stream_options");
    if (options && !json_is_object(options)) return refuse(a, "stream_options", "an object is expected", "应为对象");
    a->c->usage = json_is_true(json_object_get(options, "include_usage"));
    return true;
}

// ---- prompts -------------------------------------------------------------------------------------------------------

// A message's content as one text: a text, or OpenAI's list of parts.
static json_t *content_text(const json_t *content)
{
    size_t index, length = 0;
    json_t *part;
    if (json_is_string(content)) return json_incref((json_t *)(uintptr_t)content);
    if (!json_is_array(content)) return NULL;
    json_array_foreach(content, index, part) {
        if (!json_is_string(json_object_get(part, "text"))) return NULL;
        length += json_string_length(json_object_get(part, "text"));
    }
    char *text = malloc(length + 1), *end = text;
    if (!text) return NULL;
    json_array_foreach(content, index, part) {
        json_t *value = json_object_get(part, "text");
        memcpy(end, json_string_value(value), json_string_length(value));
        end += json_string_length(value);
    }
    json_t *result = json_stringn(text, length);
    free(text);
    return result;
}

static bool read_messages(asking *a)
{
    json_t *messages = field(a, "messages"), *plain, *message;
    size_t index;
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return refuse(a, "messages", "a list of messages is expected", "应为消息列表");
    plain = json_array();
    json_array_foreach(messages, index, message) {
        json_t *text = content_text(json_object_get(message, "content"));
        if (!text || !json_is_string(json_object_get(message, "role"))) {
            json_decref(text);
            json_decref(plain);
            return refuse(a, "messages", "each message is {\"role\": text, \"content\": text}",
                          "每条消息应为 {\"role\": 文本, \"content\": 文本}");
        }
        json_array_append_new(plain, json_pack("{sO so}", "role", json_object_get(message, "role"), "content", text));
    }
    lora_status status = conversation_ids(a->r->server->tokenizer, plain, false, &a->prompts[0]);
    a->prompt_count = 1;
    json_decref(plain);
    if (status != LORA_OK) answer_failure(a->r, status);
    return status == LORA_OK;
}

static bool is_id_list(const json_t *value)
{
    return json_is_array(value) && json_is_integer(json_array_get(value, 0));
}

static bool read_prompt(asking *a, const json_t *prompt)
{
    id_list *out = &a->prompts[a->prompt_count++];
    if (json_is_string(prompt)) {
        lora_status status = text_ids(a->r->server->tokenizer, json_string_value(prompt), json_string_length(prompt),
                                      true, out);
        if (status != LORA_OK) answer_failure(a->r, status);
        return status == LORA_OK;
    }
    if (!is_id_list(prompt))
        return refuse(a, "prompt", "a text, token ids, or a list of these is expected",
                      "应为文本、词元编号或它们的列表");
    out->ids = malloc(json_array_size(prompt) * sizeof *out->ids);
    if (!out->ids) return answer_failure(a->r, LORA_ERROR_MEMORY), false;
    for (; out->count < json_array_size(prompt); out->count++) {
        json_t *id = json_array_get(prompt, out->count);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= lora_tokenizer_vocabulary_size(a->r->server->tokenizer))
            return refuse(a, "prompt", "a token id is outside the vocabulary", "词元编号超出词表范围");
        out->ids[out->count] = (int32_t)json_integer_value(id);
    }
    return true;
}

static bool read_prompts(asking *a)
{
    json_t *prompt = field(a, "prompt");
    size_t count = json_is_array(prompt) && !is_id_list(prompt) ? json_array_size(prompt) : 1;
    if (!prompt || count == 0) return refuse(a, "prompt", "it is missing", "缺少该字段");
    if (count > MOST_PROMPTS) return refuse(a, "prompt", "at most 16 at once", "一次最多 16 个");
    for (size_t i = 0; i < count; i++)
        if (!read_prompt(a, json_is_array(prompt) && !is_id_list(prompt) ? json_array_get(prompt, i) : prompt))
            return false;
    return true;
}

// The tokens that fit behind the longest prompt bound the answers.
static bool bound_length(asking *a)
{
    lora_model_info info = {.struct_size = sizeof info};
    lora_model_get_info(a->r->server->model, &info);
    size_t longest = 0;
    for (size_t i = 0; i < a->prompt_count; i++) {
        if (a->prompts[i].count == 0) return refuse(a, a->c->chat ? "messages" : "prompt", "it is empty", "内容为空");
        if (a->prompts[i].count > longest) longest = a->prompts[i].count;
        a->c->prompt_tokens += (int64_t)a->prompts[i].count;
    }
    int64_t room = info.context_length - (int64_t)longest, most = a->r->server->settings->max_tokens;
    if (room < 1) {
        answer_error(a->r, 400, "context_length_exceeded", a->c->chat ? "messages" : "prompt",
                     say(&a->r->words, "the prompt has %zu tokens; this model takes %lld in all, the answer included",
                         "提示有 %zu 个词元；此模型最多 %lld 个（含回答）"),
                     longest, (long long)info.context_length);
        return false;
    }
    int64_t wanted = a->most_tokens ? a->most_tokens : a->c->chat ? most : 16;
    if (wanted > most) wanted = most;
    a->spec.options.max_new_tokens = (int32_t)(wanted < room ? wanted : room);
    return true;
}

// ---- asking --------------------------------------------------------------------------------------------------------

static bool make_ticket(asking *a)
{
    answer_spec answers[MOST_ANSWERS];
    size_t count = 0;
    for (size_t i = 0; i < a->prompt_count; i++)
        for (int64_t k = 0; k < a->n; k++)
            answers[count++] = (answer_spec){
                .ids = a->prompts[i].ids, .count = a->prompts[i].count, .seed = a->seed + (uint64_t)k};
    a->spec.answers = answers;
    a->spec.count = a->c->count = count;
    switch (ticket_make(a->r->server->scheduler, &a->spec, &a->c->ticket)) {
    case TICKET_TAKEN: return true;
    case TICKET_FULL:
        answer_busy(a->r, 1, say(&a->r->words, "the server is busy; try again in a moment", "服务器正忙，请稍后再试"));
        return false;
    case TICKET_TOO_LARGE:
        answer_error(
            a->r, 400, "too_large", "max_tokens", "%s",
            say(&a->r->words,
                "prompt and answer need more memory than the server gives to one request; shorten "
                "them, or start it with a larger --cache-memory",
                "提示和回答所需内存超过单个请求的上限；请缩短，或用更大的 --cache-memory 启动"));
        return false;
    default:
        answer_failure(a->r, LORA_ERROR_MEMORY);
        return false;
    }
}

static void ask(request *r, bool chat)
{
    asking *a = calloc(1, sizeof *a);
    completion *c = calloc(1, sizeof *c);
    if (!a || !c) {
        free(a);
        free(c);
        answer_failure(r, LORA_ERROR_MEMORY);
        return;
    }
    a->r = c->request = r;
    a->c = c;
    c->chat = chat;
    bool asked = read_model(a) && read_sampling(a) && (chat ? read_messages(a) : read_prompts(a)) && bound_length(a) &&
                 make_ticket(a);
    for (size_t i = 0; !asked && i < a->spec.adapter_count; i++) shelf_give_back(a->spec.adapters[i]);
    for (size_t i = 0; i < a->prompt_count; i++) free(a->prompts[i].ids);
    free(a);
    if (asked) completion_answer(c);
    else completion_free(c);
}

void chat_completions(request *r)
{
    ask(r, true);
}

void completions(request *r)
{
    ask(r, false);
}

// ---- models --------------------------------------------------------------------------------------------------------

static json_t *model_object(const char *name, double created, const char *parent)
{
    return json_pack("{ss ss sI ss ss*}", "id", name, "object", "model", "created", (json_int_t)created, "owned_by",
                     "lora", "parent", parent);
}

static json_t *model_objects(const server *s)
{
    json_t *list = json_array(), *adapters = shelf_list(s->shelf), *adapter;
    size_t index;
    json_array_append_new(list, model_object(s->model_name, 0, NULL));
    json_array_foreach(adapters, index, adapter) json_array_append_new(
        list, model_object(json_string_value(json_object_get(adapter, "name")),
                           json_number_value(json_object_get(adapter, "created")), s->model_name));
    json_decref(adapters);
    return list;
}

void models_list(request *r)
{
    answer_json(r, 200, json_pack("{ss so}", "object", "list", "data", model_objects(r->server)));
}

void models_get(request *r)
{
    json_t *list = model_objects(r->server), *model, *found = NULL;
    size_t index;
    json_array_foreach(list, index, model)
        if (strcmp(json_string_value(json_object_get(model, "id")), r->names[0]) == 0) found = json_incref(model);
    json_decref(list);
    if (found) answer_json(r, 200, found);
    else
        answer_error(r, 404, "model_not_found", "model",
                     say(&r->words, "there is no model or adapter '%.100s' here", "这里没有名为“%.100s”的模型或适配器"),
                     r->names[0]);
}
