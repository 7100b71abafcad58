// The rows of a file for hosts that show, edit or convert data.
#include "lib/json.h"
#include "src/core/validate.h"
#include "src/data/rows.h"

typedef struct reader {
    lora_row_fn callback;
    void *user;
    const lora_allocator *allocator;
} reader;

static lora_status take_row(const json_t *row, const lr_place *place, bool *done, void *user)
{
    const reader *reading = user;
    char *text;
    size_t length;
    LR_TRY(lr_json_dump(reading->allocator, row, 0, false, &text, &length));
    *done = reading->callback(text, length, (int64_t)place->number, reading->user) != 0;
    lr_free(reading->allocator, text);
    return LORA_OK;
}

lora_status lora_dataset_read_rows(lora_context *context, const char *path, lora_row_fn callback, void *user)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(path);
    LR_CHECK_HANDLE(callback);
    reader reading = {callback, user, &context->allocator};
    lr_row_sink sink = {.take = take_row, .user = &reading};
    return lr_rows_read(context, path, &sink);
}
