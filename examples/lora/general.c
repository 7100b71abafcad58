#include "general.h"
#include "options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_SHARE 0.1
#define HELD_SHARE 0.1
#define HELD_MOST 200

// "FILE=10%": cuts `word` at the last = where a number stands behind it.
static bool split_share(char *word, double *share)
{
    char *equals = strrchr(word, '=');
    *share = USUAL_SHARE;
    if (!equals) return *word != '\0';
    *equals = '\0';
    return read_share(equals + 1, share) && *word && *share >= 0 && *share < 1;
}

int general_read(const application *app, const text_list *words, general_data *general)
{
    *general = (general_data){.before = NAN, .after = NAN};
    double sum = 0;
    for (size_t i = 0; i < words->count; i++) {
        if (i == GENERAL_PARTS)
            return complain(app, EXIT_USAGE, say(app, "--mix: at most %d files", "--mix：最多 %d 个文件"),
                            GENERAL_PARTS);
        char *path = strdup(words->items[i]);
        if (!path) return complain(app, EXIT_WORK, "%s", say(app, "no memory", "内存不足"));
        general->paths[general->count++] = path;
        if (!split_share(path, &general->fractions[i]))
            return complain(app, EXIT_USAGE,
                            say(app, "--mix %s: expected FILE=10%% or FILE=0.1, a share of all training rows",
                                "--mix %s：应为 FILE=10%% 或 FILE=0.1，即占全部训练行的比例"),
                            words->items[i]);
        sum += general->fractions[i];
    }
    if (sum < 1) return EXIT_DONE;
    return complain(app, EXIT_USAGE, say(app, "--mix: the shares come to %g %%: they must leave room for your own data",
                                         "--mix：比例合计 %g%%，必须给您自己的数据留出空间"), 100 * sum);
}

static lora_status hold_out(const application *app, general_data *general, size_t i)
{
    lora_dataset_info info = {.struct_size = sizeof info};
    lora_status status = lora_dataset_get_info(general->learnt[i], &info);
    if (status != LORA_OK) return status;
    double rows = (double)info.rows, held = fmin(fmax(1, round(HELD_SHARE * rows)), HELD_MOST);
    status = lora_dataset_split(general->learnt[i], held / rows < 1 ? held / rows : 0.5, (uint64_t)app->seed,
                                &general->held[i]);
    general->held_rows += (int64_t)held;
    return status;
}

lora_status general_mix(const application *app, general_data *general, const lora_tokenizer *tokenizer,
                        const lora_dataset_options *options, lora_dataset *data)
{
    lora_mix parts[GENERAL_PARTS];
    lora_status status = LORA_OK;
    for (size_t i = 0; i < general->count && status == LORA_OK; i++) {
        const char *path = general->paths[i];
        status = lora_dataset_load(app->context, tokenizer, &path, 1, options, &general->learnt[i]);
        if (status == LORA_OK) status = hold_out(app, general, i);
        parts[i] = (lora_mix){.general = general->learnt[i], .fraction = general->fractions[i]};
    }
    if (status != LORA_OK) return status;
    return lora_dataset_mix(data, parts, general->count, (uint64_t)app->seed, &general->mixed_rows);
}

lora_status general_measure(const general_data *general, const lora_model *model, const lora_adapter_use *uses,
                            size_t count, double *loss)
{
    double sum = 0;
    int64_t labels = 0;
    for (size_t i = 0; i < general->count; i++) {
        lora_loss part = {.struct_size = sizeof part};
        lora_status status = lora_evaluate_loss(model, uses, count, general->held[i], NULL, NULL, &part);
        if (status != LORA_OK) return status;
        sum += part.loss * (double)part.label_tokens;
        labels += part.label_tokens;
    }
    *loss = sum / (double)labels;
    return LORA_OK;
}

void general_free(general_data *general)
{
    for (size_t i = 0; i < general->count; i++) {
        free(general->paths[i]);
        lora_dataset_free(general->learnt[i]);
        lora_dataset_free(general->held[i]);
    }
    general->count = 0;
}
