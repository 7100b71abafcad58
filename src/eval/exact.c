// Whether a prediction is one of its references.
#include "src/eval/metric.h"

#include "lib/unicode.h"

#include <string.h>

// The text without white space at both ends; its length.
static size_t strip(const char **text)
{
    *text += lr_leading_space(*text, strlen(*text));
    return lr_without_trailing_space(*text, strlen(*text));
}

lora_status lr_exact_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                         double *statistics)
{
    (void)m;
    size_t length = strip(&prediction);
    statistics[1] = 1;
    for (size_t i = 0; i < count; i++) {
        const char *reference = references[i];
        if (reference && strip(&reference) == length && memcmp(prediction, reference, length) == 0) statistics[0] = 1;
    }
    return LORA_OK;
}
