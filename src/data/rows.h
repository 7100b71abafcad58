// Reading a dataset's files, in two steps that know nothing of each other: a file becomes rows (JSON objects, whatever
// the format was), and a row becomes ids and labels.
#ifndef LR_ROWS_H
#define LR_ROWS_H

#include "src/data/dataset.h"
#include "src/text/chat.h"

#include <jansson.h>

// ---- files to rows: rows_json.c, rows_delimited.c, rows_text.c ----------------------------------------------------

// Where a row stands, for messages: "notes.jsonl:12", or "notes.json: row 12" where lines are not known.
typedef struct lr_place {
    const char *path;
    size_t number;
    bool is_line;
} lr_place;

#define LR_PLACE "%s%s%zu"
#define LR_PLACE_ARGUMENTS(place) (place)->path, (place)->is_line ? ":" : ": row ", (place)->number

// Takes one row, an object. *done: true when no more rows are wanted.
typedef lora_status (*lr_row_fn)(const json_t *row, const lr_place *place, bool *done, void *user);

// Reads any supported file, by its name's ending (".gz" aside); "-" is standard input.
lora_status lr_rows_read(lora_context *context, const char *path, lr_row_fn take, void *user);
lora_status lr_rows_json(const char *path, const char *text, size_t length, lr_row_fn take, void *user);
lora_status lr_rows_json_lines(const char *path, const char *text, size_t length, lr_row_fn take, void *user);
lora_status lr_rows_delimited(const lora_allocator *allocator, const char *path, const char *text, size_t length,
                              char delimiter, lr_row_fn take, void *user);
lora_status lr_rows_text(const char *path, const char *text, size_t length, lr_row_fn take, void *user);

// ---- rows to conversations: shapes.c ------------------------------------------------------------------------------

typedef enum lr_shape {
    LR_SHAPE_IDS,  // input_ids, labels: taken from the row itself
    LR_SHAPE_TEXT, // `text` as it stands
    LR_SHAPE_CHAT  // a conversation that ends with an assistant's turn
} lr_shape;

typedef struct lr_conversation {
    lr_shape shape;
    json_t *messages; // owned: [{"role", "content", ...}]
    json_t *extra;    // owned or NULL: further variables of the template ("tools")
    const char *text; // lent by the row
} lr_conversation;

// Recognises the row's shape by its keys. DATA says what is missing.
lora_status lr_conversation_read(const json_t *row, const lr_place *place, lr_conversation *out);
void lr_conversation_free(lr_conversation *conversation);

// ---- conversations to ids: tokenise.c -----------------------------------------------------------------------------

// What all rows of a load share; made once.
typedef struct lr_encoder {
    lora_context *context;
    const lora_tokenizer *tokenizer; // NULL: rows of ids only
    const lora_dataset_options *options;
    lr_chat *chat;    // NULL without a tokenizer
    int32_t begin[4]; // what the tokenizer puts in front of a text
    int32_t begin_count;
    int32_t end;          // end of text, or -1
    const char **special; // texts of the special tokens, lent by the tokenizer
    size_t special_count;
} lr_encoder;

lora_status lr_encoder_init(lora_context *context, const lora_tokenizer *tokenizer, const lora_dataset_options *options,
                            lr_encoder *out);
void lr_encoder_free(lr_encoder *encoder);

// Adds a row's ids to the dataset: one row, or several where a long text is split.
lora_status lr_encode_row(const lr_encoder *encoder, const json_t *row, const lr_place *place, lora_dataset *dataset);

// ---- the store: dataset.c -----------------------------------------------------------------------------------------

typedef struct lr_new_row {
    const int32_t *ids, *labels;
    size_t count;
    const char *prompt, *answer; // copied; NULL: none
    bool cut, terminated;
} lr_new_row;

lora_status lr_dataset_append(lora_dataset *dataset, const lr_new_row *row);

#endif
