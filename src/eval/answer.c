#include "src/eval/answer.h"

#include "src/core/validate.h"

lora_status lr_answerer_open(lr_answerer *answerer, const lora_model *model, const lora_adapter_use *uses, size_t count)
{
    LR_TRY(lora_session_create(model, NULL, &answerer->session));
    return lora_session_set_adapters(answerer->session, uses, count);
}

void lr_answerer_close(lr_answerer *answerer)
{
    lora_session_free(answerer->session);
    answerer->session = NULL;
}

int32_t lr_prompt_length(const lora_dataset *data, size_t row)
{
    const int32_t *labels = data->labels + data->rows[row].begin;
    int32_t at = data->rows[row].count;
    while (at > 0 && labels[at - 1] == LORA_LABEL_IGNORED) at--;
    while (at > 0 && labels[at - 1] != LORA_LABEL_IGNORED) at--;
    return at;
}

bool lr_answer_possible(const lora_dataset *data, size_t row)
{
    return data->rows[row].prompt && lr_prompt_length(data, row) > 0;
}

lora_status lr_answer(lr_answerer *answerer, const lora_dataset *data, size_t row, lr_bytes *text)
{
    lora_session *session = answerer->session;
    lora_piece piece = {.struct_size = sizeof piece};
    lora_session_reset(session);
    LR_TRY(lora_session_prompt(session, data->ids + data->rows[row].begin, (size_t)lr_prompt_length(data, row),
                               answerer->options));
    do {
        if (answerer->cancel && atomic_load(answerer->cancel))
            return lr_fail(LORA_ERROR_CANCELLED, "the answers were stopped");
        lora_status status = lora_session_next(session, &piece);
        if (status == LORA_ERROR_OVERFLOW) return LORA_OK; // the context is full: the answer ends here
        LR_TRY(status);
        LR_TRY(lr_bytes_append(text, piece.text, piece.text_length));
    } while (piece.finish == LORA_FINISH_NONE);
    return LORA_OK;
}
