// Classes: which there are, which one an answer is, and which one a model finds likeliest.
#include "src/eval/answer.h"
#include "src/eval/evaluation.h"

#include "src/core/validate.h"

#include "lib/unicode.h"

#define MOST_FOUND 50    // labels that are taken for labels without being told
#define LONGEST_FOUND 64 // bytes
#define ROWS_PER_LABEL 4

// ---- finding them ---------------------------------------------------------------------------------------------------

static int64_t place(const lr_labels *labels, const char *name)
{
    for (size_t i = 0; i < labels->count; i++)
        if (strcmp(labels->names[i], name) == 0) return (int64_t)i;
    return -1;
}

// The expected answers, each once; false where they are no labels.
static bool collect(const lora_evaluation *e, lr_labels *labels, size_t most, size_t longest)
{
    for (size_t i = 0; i < e->count; i++) {
        const lr_example *x = &e->examples[i];
        if (x->reference_count != 1 || strlen(x->references[0]) > longest || strchr(x->references[0], '\n'))
            return false;
        if (place(labels, x->references[0]) >= 0) continue;
        if (labels->count == most) return false;
        labels->names[labels->count++] = x->references[0];
    }
    return labels->count >= 2;
}

static lora_status check_found(const lora_evaluation *e, lr_labels *labels, bool found)
{
    if (e->options.classify == LORA_CLASSIFY_AUTO) {
        if (!found || labels->count * ROWS_PER_LABEL > e->count) labels->count = 0;
        return LORA_OK;
    }
    if (found) return LORA_OK;
    return lr_fail(LORA_ERROR_DATA,
                   "the expected answers are no labels: there must be 2 to %d different ones, one a row and on one "
                   "line; or name the labels",
                   LR_MOST_LABELS);
}

lora_status lr_labels_find(const lora_evaluation *e, lr_labels *out)
{
    bool asked = lr_evaluation_wants(e, "accuracy") || lr_evaluation_wants(e, "f1_macro"),
         automatic = e->options.classify == LORA_CLASSIFY_AUTO;
    *out = (lr_labels){0};
    if (!asked || e->options.classify == LORA_CLASSIFY_NONE) return LORA_OK;
    out->names = lr_alloc_array(&e->context->allocator, LR_MOST_LABELS, sizeof *out->names);
    if (!out->names) return LORA_ERROR_MEMORY;
    if (e->label_count == 0)
        return check_found(e, out,
                           collect(e, out, automatic ? MOST_FOUND : LR_MOST_LABELS,
                                   automatic ? LONGEST_FOUND : SIZE_MAX));
    for (; out->count < e->label_count; out->count++) out->names[out->count] = e->labels[out->count];
    return LORA_OK;
}

void lr_labels_free(const lora_evaluation *e, lr_labels *labels)
{
    lr_free(&e->context->allocator, labels->names);
    *labels = (lr_labels){0};
}

// ---- the one that an answer is --------------------------------------------------------------------------------------

static bool is_edge(int32_t code) { return lr_is_python_space(code) || lr_is_punctuation(code); }

// The text in small letters without space and marks at its ends.
static lora_status bare(const char *text, lr_bytes *out)
{
    size_t length = strlen(text);
    int32_t code;
    for (size_t size; length > 0; text += size, length -= size) {
        size = lr_utf8_next(text, length, &code);
        if (!is_edge(code)) break;
    }
    while (length > 0) {
        size_t before = lr_utf8_previous(text, length);
        lr_utf8_next(text + before, length - before, &code);
        if (!is_edge(code)) break;
        length = before;
    }
    return lr_python_lower(text, length, out);
}

static bool same(const lr_bytes *a, const lr_bytes *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static size_t stripped(const char **text)
{
    *text += lr_leading_space(*text, strlen(*text));
    return lr_without_trailing_space(*text, strlen(*text));
}

static bool same_but_space(const char *a, const char *b)
{
    size_t length = stripped(&a);
    return length == stripped(&b) && memcmp(a, b, length) == 0;
}

lora_status lr_labels_match(const lora_allocator *allocator, const lr_labels *labels, const char *text, int32_t *out)
{
    lr_bytes own, other;
    lora_status status;
    for (size_t i = 0; i < labels->count; i++) {
        *out = (int32_t)i;
        if (same_but_space(labels->names[i], text)) return LORA_OK;
    }
    *out = -1;
    lr_bytes_init(&own, allocator, SIZE_MAX);
    lr_bytes_init(&other, allocator, SIZE_MAX);
    status = bare(text, &own);
    for (size_t i = 0; i < labels->count && status == LORA_OK && *out < 0; i++) {
        other.size = 0;
        status = bare(labels->names[i], &other);
        if (status == LORA_OK && own.size > 0 && same(&own, &other)) *out = (int32_t)i;
    }
    lr_bytes_free(&own);
    lr_bytes_free(&other);
    return status;
}

// ---- the likeliest --------------------------------------------------------------------------------------------------

typedef struct ids {
    int32_t *values;
    size_t count;
} ids;

typedef struct contest {
    const lora_evaluation *e;
    const lora_dataset *data;
    const lr_labels *labels;
    ids *labels_ids; // how each label is learnt: as it stands in a row that has it, else its tokens and the end of such
                     // a row
    lora_dataset *batch; // rows of a prompt and a label
    double *nll;         // of the batch
    size_t context;      // the model's, in tokens
    lr_label_fn found;
    void *user;
} contest;

#define ROWS_AT_ONCE 16

static const int32_t *learnt_ids(const lora_dataset *data, size_t row, size_t *count)
{
    int32_t begin = lr_prompt_length(data, row), end = begin;
    const int32_t *labels = data->labels + data->rows[row].begin;
    while (end < data->rows[row].count && labels[end] != LORA_LABEL_IGNORED) end++;
    *count = (size_t)(end - begin);
    return data->ids + data->rows[row].begin + begin;
}

static lora_status encode(const lora_allocator *allocator, const lora_tokenizer *tokenizer, const char *text, ids *out)
{
    size_t length = strlen(text);
    LR_TRY(lora_tokenizer_encode(tokenizer, text, length, 0, NULL, 0, &out->count));
    out->values = lr_alloc_array(allocator, out->count, sizeof *out->values);
    if (!out->values) return LORA_ERROR_MEMORY;
    return lora_tokenizer_encode(tokenizer, text, length, 0, out->values, out->count, &out->count);
}

// A label that no row has: its own tokens, and what ends the first row's answer behind the tokens of its text.
static lora_status spell_label(const contest *c, const lora_tokenizer *tokenizer, const char *label, ids *out)
{
    const lora_allocator *allocator = &c->e->context->allocator;
    size_t first = 0, count;
    while (!lr_answer_possible(c->data, first)) first++;
    const int32_t *learnt = learnt_ids(c->data, first, &count);
    ids answer = {0}, own = {0};
    lora_status status;
    LR_GOTO(done, status, encode(allocator, tokenizer, c->data->rows[first].answer, &answer));
    LR_GOTO(done, status, encode(allocator, tokenizer, label, &own));
    size_t end = answer.count < count ? count - answer.count : 0;
    out->count = own.count + end;
    out->values = lr_alloc_array(allocator, out->count, sizeof *out->values);
    if (!out->values)
        status = LORA_ERROR_MEMORY;
    else {
        memcpy(out->values, own.values, own.count * sizeof *own.values);
        memcpy(out->values + own.count, learnt + count - end, end * sizeof *learnt);
    }
done:
    lr_free(allocator, answer.values);
    lr_free(allocator, own.values);
    return status;
}

static lora_status find_label_ids(contest *c, const lora_tokenizer *tokenizer)
{
    const lora_allocator *allocator = &c->e->context->allocator;
    for (size_t l = 0; l < c->labels->count; l++) {
        size_t row = 0, count;
        while (row < c->data->row_count &&
               !(lr_answer_possible(c->data, row) && strcmp(c->data->rows[row].answer, c->labels->names[l]) == 0))
            row++;
        if (row == c->data->row_count) {
            LR_TRY(spell_label(c, tokenizer, c->labels->names[l], &c->labels_ids[l]));
            continue;
        }
        const int32_t *learnt = learnt_ids(c->data, row, &count);
        c->labels_ids[l] = (ids){lr_alloc_array(allocator, count, sizeof *learnt), count};
        if (!c->labels_ids[l].values) return LORA_ERROR_MEMORY;
        memcpy(c->labels_ids[l].values, learnt, count * sizeof *learnt);
    }
    return LORA_OK;
}

static lora_status add_candidate(contest *c, size_t row, const ids *label)
{
    const lora_allocator *allocator = &c->e->context->allocator;
    const int32_t *start = c->data->ids + c->data->rows[row].begin;
    size_t prompt = (size_t)lr_prompt_length(c->data, row), count = prompt + label->count;
    for (; count > c->context && prompt > 1; prompt--, count--) start++; // the prompt loses its beginning
    int32_t *values = lr_alloc_array(allocator, 2 * count, sizeof *values), *labels = values ? values + count : NULL;
    if (!values) return LORA_ERROR_MEMORY;
    memcpy(values, start, prompt * sizeof *values);
    memcpy(values + prompt, label->values, label->count * sizeof *values);
    for (size_t i = 0; i < count; i++) labels[i] = i < prompt ? LORA_LABEL_IGNORED : values[i];
    lora_status status = lora_dataset_add(c->batch, values, labels, count);
    lr_free(allocator, values);
    return status;
}

static int32_t keep_nll(int64_t row, double nll, int64_t label_tokens, void *user)
{
    contest *c = user;
    (void)label_tokens;
    c->nll[row] = nll;
    return atomic_load(&c->e->cancelled);
}

static lora_status run_batch(contest *c, const lora_model *model, const lora_adapter_use *uses, size_t count,
                             const size_t *rows, size_t row_count)
{
    size_t labels = c->labels->count;
    lora_loss loss = {.struct_size = sizeof loss};
    lora_status status = lora_dataset_create(c->e->context, &c->batch);
    for (size_t i = 0; i < row_count * labels && status == LORA_OK; i++)
        status = add_candidate(c, rows[i / labels], &c->labels_ids[i % labels]);
    if (status == LORA_OK) status = lora_evaluate_loss(model, uses, count, c->batch, keep_nll, c, &loss);
    lora_dataset_free(c->batch);
    for (size_t i = 0; i < row_count && status == LORA_OK; i++) {
        size_t best = 0;
        for (size_t l = 1; l < labels; l++)
            if (c->nll[i * labels + l] < c->nll[i * labels + best]) best = l;
        status = c->found(rows[i], (int32_t)best, c->user);
    }
    return status;
}

static lora_status run_contest(contest *c, const lora_model *model, const lora_adapter_use *uses, size_t count)
{
    size_t rows[ROWS_AT_ONCE], waiting = 0;
    for (size_t row = 0; row < c->data->row_count; row++) {
        if (lr_answer_possible(c->data, row)) rows[waiting++] = row;
        if (waiting < ROWS_AT_ONCE && !(row + 1 == c->data->row_count && waiting > 0)) continue;
        LR_TRY(run_batch(c, model, uses, count, rows, waiting));
        waiting = 0;
    }
    return LORA_OK;
}

lora_status lr_labels_by_likelihood(const lora_evaluation *e, const lora_model *model, const lora_adapter_use *uses,
                                    size_t count, const lora_dataset *data, const lr_labels *labels, lr_label_fn found,
                                    void *user)
{
    const lora_allocator *allocator = &e->context->allocator;
    lora_model_info info = {.struct_size = sizeof info};
    contest c = {.e = e, .data = data, .labels = labels, .found = found, .user = user};
    bool possible = false;
    for (size_t row = 0; row < data->row_count; row++) possible |= lr_answer_possible(data, row);
    if (!possible) return LORA_OK;
    LR_TRY(lora_model_get_info(model, &info));
    c.context = (size_t)info.context_length;
    c.labels_ids = lr_alloc_zeroed(allocator, labels->count, sizeof *c.labels_ids);
    c.nll = lr_alloc_array(allocator, ROWS_AT_ONCE * labels->count, sizeof *c.nll);
    lora_status status = c.labels_ids && c.nll ? find_label_ids(&c, lora_model_tokenizer(model)) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = run_contest(&c, model, uses, count);
    for (size_t l = 0; c.labels_ids && l < labels->count; l++) lr_free(allocator, c.labels_ids[l].values);
    lr_free(allocator, c.labels_ids);
    lr_free(allocator, c.nll);
    return status;
}
