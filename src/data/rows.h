// Reading a dataset's files, in two steps that know nothing of each other: a file becomes rows (JSON objects, whatever
// the format was), and a row becomes ids and labels.
#ifndef LR_ROWS_H
#define LR_ROWS_H

#include "src/data/dataset.h"
#include "src/text/chat.h"

#include <jansson.h>

// ---- files to rows: sources.c, encoding.c, rows_json.c, rows_delimited.c, rows_text.c -----------------------------

// Where a row stands, for messages: "notes.jsonl:12", or "notes.json: row 12" where lines are not known.
typedef struct lr_place {
    const char *path;
    size_t number;
    bool is_line;
    bool is_table; // the row's keys are the first line of a table
} lr_place;

#define LR_PLACE "%s%s%zu"
#define LR_PLACE_ARGUMENTS(place) (place)->path, (place)->is_line ? ":" : ": row ", (place)->number

// Where a file's rows go.
typedef struct lr_row_sink {
    // Takes one row. *done: true when no more rows are wanted.
    lora_status (*take)(const json_t *row, const lr_place *place, bool *done, void *user);
    // A row that cannot be read; the thread's message says why. LORA_OK: go on behind it. NULL: the reading ends.
    lora_status (*refuse)(const lr_place *place, lora_status status, void *user);
    void *user;
} lr_row_sink;

// Reads what the host names: a file, a folder with LLaMA-Factory's dataset_info.json, or "dataset_info.json:NAME".
lora_status lr_rows_read(lora_context *context, const char *path, const lr_row_sink *sink);
// Reads any supported file, by its name's ending (".gz" aside); "-" is standard input.
lora_status lr_rows_read_file(lora_context *context, const char *path, const lr_row_sink *sink);
lora_status lr_rows_refuse(const lr_row_sink *sink, const lr_place *place, lora_status status);
lora_status lr_rows_json(const char *path, const char *text, size_t length, const lr_row_sink *sink);
lora_status lr_rows_json_lines(const char *path, const char *text, size_t length, const lr_row_sink *sink);
lora_status lr_rows_delimited(const lora_allocator *allocator, const char *path, const char *text, size_t length,
                              const char *delimiter, const lr_row_sink *sink);
lora_status lr_rows_text(const char *path, const char *text, size_t length, const lr_row_sink *sink);

// The delimiter that a table's first line speaks for; `usual` where it speaks for none. `usual` NULL: the text need not
// be a table, and *out is NULL where it is none.
lora_status lr_find_delimiter(const lora_allocator *allocator, const char *text, size_t length, const char *usual,
                              const char **out);
// The number of fields that tabs cut each line into, the same in all of two lines or more; else 1.
size_t lr_count_even_fields(const char *text);

// Text of a file as UTF-8 without a byte-order mark: *text is replaced where it was UTF-16 or GB18030. DATA names the
// line that is in none of these. *encoding: a static name.
lora_status lr_decode_text(const lora_allocator *allocator, const char *path, char **text, size_t *length,
                           const char **encoding);

// ---- columns: columns.c -------------------------------------------------------------------------------------------

typedef enum lr_column {
    LR_COLUMN_INSTRUCTION,
    LR_COLUMN_PROMPT,
    LR_COLUMN_QUERY, // the question, or where there is another one its input
    LR_COLUMN_INPUT,
    LR_COLUMN_OUTPUT,
    LR_COLUMN_COMPLETION,
    LR_COLUMN_SYSTEM,
    LR_COLUMN_HISTORY,
    LR_COLUMN_MESSAGES,
    LR_COLUMN_CHOSEN,
    LR_COLUMN_REJECTED,
    LR_COLUMN_TEXT,
    LR_COLUMN_LABEL,
    LR_COLUMN_TOOLS,
    LR_COLUMN_IDS,
    LR_COLUMN_COUNT
} lr_column;

// The column that a name means, as dataset.h lists them; letter case and surrounding spaces aside. -1: none.
int lr_column_find(const char *name, size_t length);

// A row by its columns. Null values are left out; where two names mean one column, the one listed first holds.
typedef struct lr_fields {
    const char *key[LR_COLUMN_COUNT]; // as the row has it; without a value the column's first name
    json_t *value[LR_COLUMN_COUNT];   // lent by the row; NULL: none
} lr_fields;

void lr_fields_read(const json_t *row, lr_fields *out);

// ---- rows to conversations: shapes.c ------------------------------------------------------------------------------

typedef enum lr_shape {
    LR_SHAPE_IDS,     // input_ids, labels: taken from the row itself
    LR_SHAPE_TEXT,    // `text` as it stands
    LR_SHAPE_CHAT,    // a conversation that ends with an assistant's turn
    LR_SHAPE_REJECTED // an answer that was marked as bad: nothing to learn
} lr_shape;

typedef struct lr_conversation {
    lr_shape shape;
    json_t *messages; // owned: [{"role", "content", ...}]
    json_t *extra;    // owned or NULL: further variables of the template ("tools")
    const char *text; // lent by the row
    bool labelled;    // the answer is a label
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
