// Loads data for the tests: data_tool TOKENIZER MAX_LENGTH TEMPLATE FILE... writes a JSON object of what the data set
// says of itself, then one a row. TOKENIZER "-": none; TEMPLATE "": the tokenizer's own.
#include <lora/dataset.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *numbers(const int32_t *values, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, json_integer(values[i]));
    return list;
}

static void print(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

static void print_rows(const lora_dataset *dataset)
{
    lora_dataset_info info = {.struct_size = sizeof info};
    lora_dataset_get_info(dataset, &info);
    print(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rows", (json_int_t)info.rows, "tokens",
                    (json_int_t)info.tokens, "label_tokens", (json_int_t)info.label_tokens, "cut_rows",
                    (json_int_t)info.cut_rows, "terminated_rows", (json_int_t)info.terminated_rows, "longest_row",
                    (json_int_t)info.longest_row, "response_rows", (json_int_t)info.response_rows, "skipped_rows",
                    (json_int_t)info.skipped_rows));
    for (size_t i = 0; i < (size_t)info.rows; i++) {
        const int32_t *ids, *labels;
        const char *prompt, *answer;
        size_t count;
        lora_dataset_row(dataset, i, &ids, &labels, &count);
        lora_dataset_row_text(dataset, i, &prompt, &answer);
        print(json_pack("{s:o, s:o, s:s?, s:s?}", "ids", numbers(ids, count), "labels", numbers(labels, count),
                        "prompt", prompt, "answer", answer));
    }
}

int main(int argc, char **argv)
{
    lora_context *context = NULL;
    lora_tokenizer *tokenizer = NULL;
    lora_dataset *dataset = NULL;
    lora_dataset_options options;
    if (argc < 5) return 2;
    lora_dataset_options_init(&options);
    options.max_length = atoi(argv[2]);
    if (argv[3][0]) options.template_source = argv[3];
    lora_status status = lora_context_create(&context, NULL);
    if (status == LORA_OK && strcmp(argv[1], "-")) status = lora_tokenizer_load(context, argv[1], &tokenizer);
    if (status == LORA_OK)
        status =
            lora_dataset_load(context, tokenizer, (const char *const *)argv + 4, (size_t)argc - 4, &options, &dataset);
    if (status == LORA_OK)
        print_rows(dataset);
    else
        fprintf(stderr, "%s: %s\n", lora_status_name(status), lora_error_message());
    lora_dataset_free(dataset);
    lora_tokenizer_free(tokenizer);
    lora_context_free(context);
    return status == LORA_OK ? 0 : 1;
}
