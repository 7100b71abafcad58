#include "src/eval/answer.h"

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

size_t lr_answer_place(const lora_dataset *data, size_t row)
{
    size_t place = 0;
    for (size_t i = 0; i < row; i++) place += lr_answer_possible(data, i);
    return place;
}
