#include "src/compare/prompt.h"

#include "src/eval/answer.h"

#include <string.h>

// Without special tokens a template leaves names of roles on lines of their own.
static bool is_role(const char *line, size_t length)
{
    static const char *const roles[] = {"user", "assistant", "model", "human"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strlen(roles[i]) == length && strncmp(line, roles[i], length) == 0) return true;
    return false;
}

// In place: lines that are roles go, and space at both ends.
static void tidy(char *text)
{
    char *out = text;
    for (char *line = text; *line;) {
        size_t length = strcspn(line, "\n"), whole = length + (line[length] == '\n');
        if (!is_role(line, length)) {
            memmove(out, line, whole);
            out += whole;
        }
        line += whole;
    }
    while (out > text && strchr(" \n\r\t", out[-1])) out--;
    *out = '\0';
    memmove(text, text + strspn(text, " \n\r\t"), strlen(text + strspn(text, " \n\r\t")) + 1);
}

char *lr_prompt_for_people(const lora_tokenizer *tokenizer, const lora_dataset *data, size_t row)
{
    const lora_allocator *allocator = &data->context->allocator;
    const int32_t *ids = data->ids + data->rows[row].begin;
    size_t count = (size_t)lr_prompt_length(data, row), length = 0;
    if (!tokenizer || lora_tokenizer_decode(tokenizer, ids, count, 1, NULL, 0, &length) != LORA_OK)
        return lr_duplicate(allocator, data->rows[row].prompt);
    char *text = lr_alloc_zeroed(allocator, length + 1, 1);
    if (!text || lora_tokenizer_decode(tokenizer, ids, count, 1, text, length, &length) != LORA_OK) return text;
    tidy(text);
    if (*text) return text;
    lr_free(allocator, text);
    return lr_duplicate(allocator, data->rows[row].prompt);
}
