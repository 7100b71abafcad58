#include "src/compare/ab.h"
#include "src/compare/prompt.h"

#include "src/core/validate.h"
#include "src/eval/answer.h"
#include "src/model/model.h"

typedef struct preparation {
    const lora_dataset *data;
    size_t *rows; // that have a prompt
    size_t count;
    char **answers[2];
    size_t system; // whose answers are written
    int64_t done;
    lora_ab_fn callback;
    void *user;
} preparation;

static lora_status choose_rows(preparation *p, const lora_allocator *allocator, int32_t most)
{
    p->rows = lr_alloc_array(allocator, p->data->row_count + 1, sizeof *p->rows);
    if (!p->rows) return LORA_ERROR_MEMORY;
    for (size_t row = 0; row < p->data->row_count && (most == 0 || p->count < (size_t)most); row++)
        if (lr_answer_possible(p->data, row)) p->rows[p->count++] = row;
    if (p->count > 0) return LORA_OK;
    return lr_fail(LORA_ERROR_DATA,
                   "no row of the data has a prompt to answer: rows need an instruction, a conversation or a prompt");
}

static lora_status keep_answer(size_t row, const lr_bytes *text, int32_t finish, void *user)
{
    preparation *p = user;
    char **answer = &p->answers[p->system][lr_answer_place(p->data, row)];
    (void)finish;
    *answer = lr_duplicate_range(&p->data->context->allocator, text->size ? text->data : "", text->size);
    if (!*answer) return LORA_ERROR_MEMORY;
    if (!p->callback || !p->callback(++p->done, 2 * (int64_t)p->count, p->user)) return LORA_OK;
    return lr_fail(LORA_ERROR_CANCELLED, "the callback asked to stop");
}

static lora_status answer_all(preparation *p, const lora_model *model, const lora_adapter_use *uses, size_t count,
                              const lora_generate_options *options, size_t system)
{
    lr_answering answering = {.model = model,
                              .uses = uses,
                              .count = count,
                              .options = options,
                              .most = p->count,
                              .answered = keep_answer,
                              .user = p};
    p->system = system;
    p->answers[system] = lr_alloc_zeroed(&model->context->allocator, p->count, sizeof **p->answers);
    return p->answers[system] ? lr_answer_all(&answering, p->data) : LORA_ERROR_MEMORY;
}

static void free_answers(preparation *p, const lora_allocator *allocator)
{
    for (size_t system = 0; system < 2; system++) {
        for (size_t i = 0; p->answers[system] && i < p->count; i++) lr_free(allocator, p->answers[system][i]);
        lr_free(allocator, p->answers[system]);
    }
    lr_free(allocator, p->rows);
}

static lora_status fill(lora_ab *ab, const preparation *p, const lora_tokenizer *tokenizer)
{
    for (size_t i = 0; i < p->count; i++) {
        char *prompt = lr_prompt_for_people(tokenizer, p->data, p->rows[i]);
        lora_status status =
            prompt ? lr_ab_append(ab, prompt, p->answers[0][i], p->answers[1][i], false) : LORA_ERROR_MEMORY;
        lr_free(&ab->context->allocator, prompt);
        LR_TRY(status);
    }
    return lr_ab_draw_sides(ab);
}

lora_status lora_ab_prepare(const lora_model *model, const lora_adapter_use *a, size_t a_count,
                            const lora_adapter_use *b, size_t b_count, const lora_dataset *data,
                            const lora_ab_options *options, lora_ab_fn callback, void *user, lora_ab **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(data);
    LR_CHECK_HANDLE(out);
    LR_CHECK_ARGUMENT((a || a_count == 0) && (b || b_count == 0), "the adapters in use are NULL");
    lora_ab_options o;
    LR_TRY(lr_ab_take_options(options, __func__, &o));
    lora_generate_options generate;
    lora_generate_options_init(&generate);
    generate.temperature = 0;
    generate.max_new_tokens = 128;

    const lora_allocator *allocator = &model->context->allocator;
    preparation p = {.data = data, .callback = callback, .user = user};
    const lora_generate_options *how = o.generate ? o.generate : &generate;
    lora_ab *ab = NULL;
    lora_status status = choose_rows(&p, allocator, o.max_rows);
    if (status == LORA_OK) status = answer_all(&p, model, a, a_count, how, 0);
    if (status == LORA_OK) status = answer_all(&p, model, b, b_count, how, 1);
    if (status == LORA_OK) status = lora_ab_create(model->context, &o, &ab);
    if (status == LORA_OK) status = fill(ab, &p, lora_model_tokenizer(model));
    free_answers(&p, allocator);
    if (status != LORA_OK) {
        lora_ab_free(ab);
        return status;
    }
    *out = ab;
    return LORA_OK;
}
