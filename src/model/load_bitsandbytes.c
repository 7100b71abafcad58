// Weights as bitsandbytes saves them. 4-bit: the numbers of a weight, flattened, in a tensor of bytes, and beside it
// WEIGHT.absmax, WEIGHT.quant_map, with double quantization WEIGHT.nested_absmax and WEIGHT.nested_quant_map, and
// WEIGHT.quant_state.bitsandbytes__nf4, a JSON text. 8-bit: int8 rows, and beside them SCB, the rows' absmax.
#include "source.h"

#include "lib/json.h"
#include "lib/nested_scales.h"
#include "lib/tensor_file.h"

#include <string.h>

#define NF4_BLOCK 64
#define STATE ".quant_state.bitsandbytes__"

typedef struct reading {
    const lr_weights *weights;
    const lr_weight *weight;
    const char *file;
    lr_stored *stored;
} reading;

// The tensor that has this weight's name with `suffix` in place of the last `cut` characters; NULL: not there.
static lora_status find_beside(const reading *read, size_t cut, const char *suffix, lr_weight **out)
{
    const size_t length = strlen(read->weight->name) - cut;
    char *name = lr_format(read->weights->allocator, "%.*s%s", (int)length, read->weight->name, suffix);
    *out = name ? lr_weights_find(read->weights, name) : NULL;
    if (*out) (*out)->taken = true;
    lr_free(read->weights->allocator, name);
    return name ? LORA_OK : LORA_ERROR_MEMORY;
}

// One that has to be there, of so many bytes.
static lora_status need_beside(const reading *read, size_t cut, const char *suffix, uint64_t size, lr_weight **out)
{
    LR_TRY(find_beside(read, cut, suffix, out));
    if (!*out)
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor '%s' is quantized by bitsandbytes, but its '%s' is missing",
                       read->file, read->weight->name, suffix);
    if ((*out)->entry->size != size)
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor '%s' has %llu bytes, expected %llu", read->file, (*out)->name,
                       (unsigned long long)(*out)->entry->size, (unsigned long long)size);
    return LORA_OK;
}

// `count` f32 numbers for `stored->scales`: where they lie, or a copy where that is no place for floats.
static lora_status lend_scales(const reading *read, const uint8_t *bytes, size_t count)
{
    if ((uintptr_t)bytes % _Alignof(float) == 0) {
        read->stored->scales = (const float *)(const void *)bytes;
        return LORA_OK;
    }
    read->stored->made = lr_alloc_array(read->weights->allocator, count, sizeof(float));
    if (!read->stored->made) return LORA_ERROR_MEMORY;
    memcpy(read->stored->made, bytes, count * sizeof(float));
    read->stored->scales = read->stored->made;
    return LORA_OK;
}

// ---- 4 bits --------------------------------------------------------------------------------------------------------

typedef struct quant_state {
    int64_t block, nested_block; // nested_block 0: absmax is f32
    float offset;
} quant_state;

static lora_status read_shape(const reading *read, const char *name, const json_t *shape)
{
    const json_t *rows = json_array_get(shape, 0), *cols = json_array_get(shape, 1);
    if (json_array_size(shape) != 2 || !json_is_integer(rows) || !json_is_integer(cols) ||
        json_integer_value(rows) < 1 || json_integer_value(cols) < 1)
        return lr_fail(LORA_ERROR_FORMAT, "%s: %s: expected two numbers as its 'shape'", read->file, name);
    lr_stored *stored = read->stored;
    stored->dimensions = 2;
    stored->rows = json_integer_value(rows);
    stored->cols = json_integer_value(cols);
    stored->type = LORA_TYPE_NF4;
    uint64_t size;
    if (stored->cols % NF4_BLOCK != 0)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: tensor '%s' has rows of %lld numbers; 4-bit rows must be whole blocks of %d", read->file,
                       read->weight->name, (long long)stored->cols, NF4_BLOCK);
    if (!lr_type_bytes(LORA_TYPE_NF4, stored->rows, stored->cols, &size) || size != stored->size)
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor '%s' has %llu bytes, which is not what its %s says (%lld x %lld)",
                       read->file, read->weight->name, (unsigned long long)stored->size, name, (long long)stored->rows,
                       (long long)stored->cols);
    return LORA_OK;
}

static lora_status read_state(const reading *read, const char *name, const json_t *object, quant_state *out)
{
    double offset;
    LR_TRY(lr_json_int(object, name, "blocksize", 0, &out->block));
    LR_TRY(lr_json_int(object, name, "nested_blocksize", 0, &out->nested_block));
    LR_TRY(lr_json_real(object, name, "nested_offset", 0, &offset));
    out->offset = (float)offset;
    if (out->block < NF4_BLOCK || out->block % NF4_BLOCK != 0 || out->nested_block < 0)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: %s: blocks of %lld numbers are not read; expected 64 or a multiple",
                       read->file, name, (long long)out->block);
    return read_shape(read, name, json_object_get(object, "shape"));
}

// The values of the codes are those of NF4 and no others.
static lora_status check_map(const reading *read)
{
    static const float ends[3] = {-1.0f, 0.0f, 1.0f};
    float map[16];
    lr_weight *tensor;
    LR_TRY(need_beside(read, 0, ".quant_map", sizeof map, &tensor));
    memcpy(map, tensor->bytes, sizeof map);
    bool ascends = map[0] == ends[0] && map[7] == ends[1] && map[15] == ends[2];
    for (int i = 1; i < 16; i++) ascends &= map[i] > map[i - 1];
    if (ascends && map[1] == -0.6961928009986877f && map[8] == 0.07958029955625534f) return LORA_OK;
    return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor '%s' does not hold the 16 values of nf4", read->file,
                   tensor->name);
}

static lora_status expand_scales(const reading *read, const quant_state *state, size_t stored_count, float *scales)
{
    const size_t nested = (stored_count + (size_t)state->nested_block - 1) / (size_t)state->nested_block;
    lr_weight *codes, *absmax, *map;
    LR_TRY(need_beside(read, 0, ".absmax", stored_count, &codes));
    LR_TRY(need_beside(read, 0, ".nested_absmax", nested * sizeof(float), &absmax));
    LR_TRY(need_beside(read, 0, ".nested_quant_map", 256 * sizeof(float), &map));
    float values[256], *copy = lr_alloc_array(read->weights->allocator, nested, sizeof *copy);
    if (!copy) return LORA_ERROR_MEMORY;
    memcpy(values, map->bytes, sizeof values);
    memcpy(copy, absmax->bytes, nested * sizeof *copy);
    lr_nested_expand(scales, stored_count, codes->bytes, values, copy, (size_t)state->nested_block, state->offset);
    lr_free(read->weights->allocator, copy);
    return LORA_OK;
}

// One f32 for every 64 numbers: double quantization is undone, larger blocks are repeated.
static lora_status read_scales(const reading *read, const quant_state *state)
{
    lr_stored *stored = read->stored;
    const size_t count = (size_t)lr_type_scales(LORA_TYPE_NF4, stored->rows, stored->cols);
    const size_t repeat = (size_t)(state->block / NF4_BLOCK), stored_count = (count + repeat - 1) / repeat;
    lr_weight *absmax;
    if (!state->nested_block) LR_TRY(need_beside(read, 0, ".absmax", stored_count * sizeof(float), &absmax));
    if (!state->nested_block && repeat == 1) return lend_scales(read, absmax->bytes, count);

    float *scales = stored->made = lr_alloc_array(read->weights->allocator, count, sizeof *scales);
    if (!scales) return LORA_ERROR_MEMORY;
    stored->scales = scales;
    if (state->nested_block) LR_TRY(expand_scales(read, state, stored_count, scales));
    else memcpy(scales, absmax->bytes, stored_count * sizeof *scales);
    for (size_t i = count; repeat > 1 && i-- > 0;) scales[i] = scales[i / repeat];
    return LORA_OK;
}

static lora_status read_nf4(const reading *read, const lr_weight *text)
{
    json_t *object;
    quant_state state;
    LR_TRY(lr_json_parse(text->name, (const char *)text->bytes, (size_t)text->entry->size, &object));
    lora_status status = read_state(read, text->name, object, &state);
    json_decref(object);
    if (status == LORA_OK) status = check_map(read);
    return status == LORA_OK ? read_scales(read, &state) : status;
}

// ---- 8 bits --------------------------------------------------------------------------------------------------------

static lora_status read_int8(const reading *read)
{
    const size_t cut = strlen("weight");
    lr_stored *stored = read->stored;
    lr_weight *scales, *format;
    if (stored->dimensions != 2) return LORA_OK; // its shape will be refused
    LR_TRY(need_beside(read, cut, "SCB", (uint64_t)stored->rows * sizeof(float), &scales));
    LR_TRY(find_beside(read, cut, "weight_format", &format));
    if (format && format->entry->size == 1 && format->bytes[0] != 0)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor '%s' has the layout %d; only 0 (rows) is read", read->file,
                       read->weight->name, format->bytes[0]);
    stored->type = LORA_TYPE_INT8;
    return lend_scales(read, scales->bytes, (size_t)stored->rows);
}

lora_status lr_bitsandbytes_read(const lr_weights *weights, const lr_weight *weight, const char *file,
                                 lr_stored *stored)
{
    const reading read = {weights, weight, file, stored};
    lr_weight *text;
    LR_TRY(find_beside(&read, 0, STATE "nf4", &text));
    if (text) return read_nf4(&read, text);
    LR_TRY(find_beside(&read, 0, STATE "fp4", &text));
    if (text)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor '%s' is stored as fp4, which is not supported; nf4 is", file,
                       weight->name);
    if (stored->type < 0 && strcmp(weight->entry->type_name, "I8") == 0) return read_int8(&read);
    return LORA_OK;
}
