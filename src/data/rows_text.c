// A plain text file is one row: the text runs on over its lines.
#include "src/data/rows.h"

#include <string.h>

lora_status lr_rows_text(const char *path, const char *text, size_t length, const lr_row_sink *sink)
{
    bool done = false;
    if (strspn(text, " \t\r\n") >= length) return LORA_OK;
    json_t *row = json_pack("{s:s%}", "text", text, length);
    if (!row)
        return lr_fail(memchr(text, '\0', length) ? LORA_ERROR_DATA : LORA_ERROR_MEMORY,
                       "%s: the text could not be taken in: %zu bytes, no zero bytes may be in it", path, length);
    lora_status status = sink->take(row, &(lr_place){.path = path, .number = 1, .is_line = true}, &done, sink->user);
    json_decref(row);
    return status;
}
