// tokenize_tool PATH: loads a tokenizer and answers one line for each line of input, so that test_tokenizers.py can
// compare it with the reference.
//   E special HEX      ids of the text
//   D skip ID ID ...   the text of the ids, in hex
//   P ID               the bytes of one token, in hex
//   I                  vocabulary size, and the ids of begin, end, pad and unknown
//   T ID               the token as it is spelled, in hex, and whether it is special
// A failed call answers "! status message". A path that cannot be loaded does so once, and the tool ends with 1.
#include "src/text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static size_t read_hex(const char *text, char *bytes)
{
    size_t count = 0;
    for (; hex_digit(text[0]) >= 0 && hex_digit(text[1]) >= 0; text += 2)
        bytes[count++] = (char)(hex_digit(text[0]) * 16 + hex_digit(text[1]));
    return count;
}

static void print_hex(const char *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        putchar(digits[(unsigned char)bytes[i] >> 4]);
        putchar(digits[bytes[i] & 15]);
    }
}

static void print_failure(lora_status status) { printf("! %s %s", lora_status_name(status), lora_error_message()); }

static void encode(const lora_tokenizer *tokenizer, const char *line)
{
    char *end, *text = malloc(strlen(line) / 2 + 1);
    int32_t special = (int32_t)strtol(line, &end, 10), *ids = NULL;
    size_t length = read_hex(end + (*end == ' '), text), count = 0;
    lora_status status = lora_tokenizer_encode(tokenizer, text, length, special, NULL, 0, &count);
    if (status == LORA_OK) {
        ids = malloc((count + 1) * sizeof *ids);
        status = lora_tokenizer_encode(tokenizer, text, length, special, ids, count, &count);
    }
    if (status != LORA_OK) print_failure(status);
    for (size_t i = 0; status == LORA_OK && i < count; i++) printf("%d ", (int)ids[i]);
    free(ids);
    free(text);
}

static void decode(const lora_tokenizer *tokenizer, const char *line)
{
    char *at, *next, *text = NULL;
    int32_t skip = (int32_t)strtol(line, &at, 10), *ids = malloc((strlen(line) / 2 + 1) * sizeof *ids);
    size_t count = 0, length = 0;
    for (long id = strtol(at, &next, 10); next != at; id = strtol(at, &next, 10)) {
        ids[count++] = (int32_t)id;
        at = next;
    }
    lora_status status = lora_tokenizer_decode(tokenizer, ids, count, skip, NULL, 0, &length);
    if (status == LORA_OK) {
        text = malloc(length + 1);
        status = lora_tokenizer_decode(tokenizer, ids, count, skip, text, length, &length);
    }
    if (status == LORA_OK)
        print_hex(text, length);
    else
        print_failure(status);
    free(text);
    free(ids);
}

static void piece(const lora_tokenizer *tokenizer, const char *line)
{
    char bytes[4096];
    size_t length = 0;
    lora_status status = lr_tokenizer_piece(tokenizer, (int32_t)strtol(line, NULL, 10), bytes, sizeof bytes, &length);
    if (status == LORA_OK)
        print_hex(bytes, length < sizeof bytes ? length : sizeof bytes);
    else
        print_failure(status);
}

static void token(const lora_tokenizer *tokenizer, int32_t id)
{
    const char *text = lora_tokenizer_token(tokenizer, id);
    printf("%d ", (int)lora_tokenizer_is_special(tokenizer, id));
    if (text) print_hex(text, strlen(text));
}

static void answer(const lora_tokenizer *tokenizer, const char *line)
{
    switch (line[0]) {
    case 'E': encode(tokenizer, line + 1); break;
    case 'D': decode(tokenizer, line + 1); break;
    case 'P': piece(tokenizer, line + 1); break;
    case 'T': token(tokenizer, (int32_t)strtol(line + 1, NULL, 10)); break;
    case 'I':
        printf("%d", (int)lora_tokenizer_vocabulary_size(tokenizer));
        for (int32_t role = 0; role < LR_ROLE_COUNT; role++)
            printf(" %d", (int)lora_tokenizer_special_id(tokenizer, role));
        break;
    default: break;
    }
    putchar('\n');
    fflush(stdout);
}

int main(int argc, char **argv)
{
    lora_context *context = NULL;
    lora_tokenizer *tokenizer = NULL;
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = 1;
    lora_status status = lora_context_create(&context, &options);
    if (status == LORA_OK) status = lora_tokenizer_load(context, argc > 1 ? argv[1] : "", &tokenizer);
    if (status != LORA_OK) {
        print_failure(status);
        putchar('\n');
    }
    char *line = NULL;
    size_t capacity = 0;
    while (status == LORA_OK && getline(&line, &capacity, stdin) > 0) answer(tokenizer, line);
    free(line);
    lora_tokenizer_free(tokenizer);
    lora_context_free(context);
    return status == LORA_OK ? 0 : 1;
}
