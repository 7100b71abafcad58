// Reading GGUF files, and refusing damaged ones.
#include "gguf_builder.h"
#include "support.h"

#include <string.h>

// ---- reading ------------------------------------------------------------------------------------------------------

static void assert_good(const lr_gguf *file)
{
    lr_gguf_text text;
    int64_t integer;
    double real;
    assert_int_equal(file->pair_count, 7);
    assert_int_equal(file->count, 2);
    assert_int_equal(lr_gguf_string(file, "general.architecture", &text), LORA_OK);
    assert_int_equal(text.length, 5);
    assert_memory_equal(text.bytes, "llama", 5);
    assert_int_equal(lr_gguf_int(file, "n", 0, &integer), LORA_OK);
    assert_int_equal(integer, 70000);
    assert_int_equal(lr_gguf_int(file, "flag", 0, &integer), LORA_OK);
    assert_int_equal(integer, 1);
    assert_int_equal(lr_gguf_real(file, "eps", 0, &real), LORA_OK);
    assert_true(real == 0.5);

    const lr_gguf_value *tokens = lr_gguf_find(file, "tokens");
    assert_int_equal(tokens->count, 3);
    assert_int_equal(tokens->item_type, LR_GGUF_STRING);
    const uint8_t *at = tokens->items;
    assert_int_equal(lr_gguf_next_text(&at).length, 1);
    assert_int_equal(lr_gguf_next_text(&at).length, 0);
    assert_memory_equal(lr_gguf_next_text(&at).bytes, "bcd", 3);

    const lr_tensor_entry *w = lr_gguf_tensor(file, "w"), *q = lr_gguf_tensor(file, "q");
    assert_int_equal(w->type, LORA_TYPE_F32);
    assert_int_equal(w->dimensions, 2);
    assert_int_equal(w->shape[0], 2); // outermost first
    assert_int_equal(w->shape[1], 3);
    assert_int_equal(w->size, 24);
    assert_int_equal(file->file.bytes[w->offset + 5], 5);
    assert_int_equal(q->type, LORA_TYPE_Q8_0);
    assert_string_equal(q->type_name, "q8_0");
    assert_int_equal(q->size, 68);
    assert_int_equal(file->file.bytes[q->offset], 100);
    assert_null(lr_gguf_tensor(file, "x"));
    assert_null(lr_gguf_find(file, "x"));
}

static void reads(void **state)
{
    builder self;
    lr_gguf file;
    build_good(&self);
    for (uint8_t version = 2; version <= 3; version++) {
        self.bytes[4] = version;
        assert_int_equal(open_built(&self, &file), LORA_OK);
        assert_good(&file);
        lr_gguf_close(&file);
        lr_gguf_close(&file);
    }
}

static void reads_every_scalar(void **state)
{
    static const struct {
        uint32_t type;
        int size;
        uint64_t bits;
        int64_t integer;
        double real;
    } scalars[] = {
        {0, 1, 0xFF, 255, 0},     {1, 1, 0xFF, -1, 0},       {2, 2, 0xFFFE, 65534, 0},
        {3, 2, 0xFFFE, -2, 0},    {4, 4, 0xFFFFFFFD, 4294967293, 0}, {5, 4, 0xFFFFFFFD, -3, 0},
        {7, 1, 0, 0, 0},          {10, 8, 1ull << 40, 1ll << 40, 0}, {11, 8, (uint64_t)-4, -4, 0},
        {6, 4, 0xC0200000, 0, -2.5}, {12, 8, 0x3FF8000000000000, 0, 1.5},
    };
    builder self;
    lr_gguf file;
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        begin_gguf(&self, 3, 0, 1);
        put_key(&self, "k", scalars[i].type);
        put_number(&self, scalars[i].bits, scalars[i].size);
        assert_int_equal(open_built(&self, &file), LORA_OK);
        int64_t integer = 9;
        double real = 9;
        bool is_real = scalars[i].type == 6 || scalars[i].type == 12;
        lora_status as_integer = lr_gguf_int(&file, "k", 9, &integer), as_real = lr_gguf_real(&file, "k", 9, &real);
        assert_int_equal(as_integer, is_real ? LORA_ERROR_FORMAT : LORA_OK);
        assert_int_equal(as_real, is_real ? LORA_OK : LORA_ERROR_FORMAT);
        if (is_real)
            assert_true(real == scalars[i].real);
        else
            assert_true(integer == scalars[i].integer);
        lr_gguf_text text;
        assert_fails(LORA_ERROR_FORMAT, lr_gguf_string(&file, "k", &text), "t.gguf: key k: expected a string");
        assert_int_equal(lr_gguf_int(&file, "missing", 7, &integer), LORA_OK);
        assert_int_equal(integer, 7);
        lr_gguf_close(&file);
    }
    begin_gguf(&self, 3, 0, 1);
    put_key(&self, "k", 10);
    put_number(&self, UINT64_MAX, 8);
    assert_int_equal(open_built(&self, &file), LORA_OK);
    int64_t integer;
    assert_fails(LORA_ERROR_FORMAT, lr_gguf_int(&file, "k", 9, &integer), "too large");
    lr_gguf_close(&file);
}

// Sizes of ggml's blocks: 144 bytes per 256 numbers of q4_K, and so on (numbers as in the gguf package).
static void knows_the_sizes_of_types(void **state)
{
    static const struct {
        uint32_t id;
        int64_t size;
        int32_t type;
    } types[] = {
        {0, 1024, LORA_TYPE_F32},
        {1, 512, LORA_TYPE_F16},
        {30, 512, LORA_TYPE_BF16},
        {2, 144, LORA_TYPE_Q4_0},
        {3, 160, LORA_TYPE_Q4_1},
        {6, 176, LORA_TYPE_Q5_0},
        {7, 192, LORA_TYPE_Q5_1},
        {8, 272, LORA_TYPE_Q8_0},
        {12, 144, LORA_TYPE_Q4_K},
        {13, 176, LORA_TYPE_Q5_K},
        {14, 210, LORA_TYPE_Q6_K},
        {26, 1024, LORA_TYPE_I32},
        {10, 84, -1},
        {11, 110, -1},
        {15, 292, -1},
        {20, 144, -1},
        {27, 2048, -1},
        {39, 136, -1},
        {4, 0, -1},
        {99, 0, -1},
    };
    builder self;
    lr_gguf file;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        begin_gguf(&self, 3, 1, 0);
        put_tensor(&self, "t", 1, (uint64_t[]){256}, types[i].id, 0);
        pad_to(&self, 32);
        self.size += (size_t)types[i].size;
        assert_int_equal(open_built(&self, &file), LORA_OK);
        assert_int_equal(file.entries[0].type, types[i].type);
        assert_int_equal(file.entries[0].size, types[i].size);
        uint64_t bytes;
        if (types[i].type >= 0) {
            assert_true(lr_type_bytes(types[i].type, 1, 256, &bytes));
            assert_int_equal(bytes, types[i].size);
        } else if (types[i].size == 0) {
            assert_string_equal(file.entries[0].type_name, "unknown");
        }
        lr_gguf_close(&file);
    }
    uint64_t bytes;
    assert_false(lr_type_bytes(LORA_TYPE_Q8_0, 1, 33, &bytes));
    assert_false(lr_type_bytes(LORA_TYPE_F32, INT64_MAX, INT64_MAX, &bytes));
    assert_false(lr_type_bytes(LORA_TYPE_F32, -1, 4, &bytes));
    assert_false(lr_type_bytes(LORA_TYPE_COUNT, 1, 4, &bytes));
}

// ---- refusing -----------------------------------------------------------------------------------------------------

static void assert_refused(const builder *self, lora_status status, const char *text)
{
    lr_gguf file;
    assert_fails(status, open_built(self, &file), text);
    assert_non_null(strstr(lora_error_message(), "t.gguf"));
    lr_gguf_close(&file); // was left zeroed
}

static void refuses_bad_headers(void **state)
{
    builder self;
    begin_gguf(&self, 1, 0, 0);
    assert_refused(&self, LORA_ERROR_UNSUPPORTED, "version 1,");
    begin_gguf(&self, 0x03000000, 0, 0);
    assert_refused(&self, LORA_ERROR_UNSUPPORTED, "big-endian");
    begin_gguf(&self, 3, 0, 0);
    self.bytes[0] = 'g';
    assert_refused(&self, LORA_ERROR_FORMAT, "not a GGUF");
    begin_gguf(&self, 3, UINT64_MAX, 0);
    assert_refused(&self, LORA_ERROR_FORMAT, "tensors, which its 24 bytes cannot hold");
    begin_gguf(&self, 3, 0, UINT64_MAX / 2);
    assert_refused(&self, LORA_ERROR_FORMAT, "keys, which its 24 bytes cannot hold");
}

static void refuses_bad_pairs(void **state)
{
    builder self;
    begin_gguf(&self, 3, 0, 1);
    put_key(&self, "k", 13);
    put_number(&self, 0, 8);
    assert_refused(&self, LORA_ERROR_FORMAT, "key k has the unknown type 13");
    begin_gguf(&self, 3, 0, 1);
    put_key(&self, "k", 7);
    put_number(&self, 2, 1);
    assert_refused(&self, LORA_ERROR_FORMAT, "bool of 0 or 1");
    begin_gguf(&self, 3, 0, 1);
    put_key(&self, "", 4);
    put_number(&self, 2, 4);
    assert_refused(&self, LORA_ERROR_FORMAT, "a key at byte 32 is empty");
    begin_gguf(&self, 3, 0, 1);
    put_number(&self, 3, 8);
    put(&self, "a\0b", 3);
    put_number(&self, 4, 4);
    put_number(&self, 2, 4);
    assert_refused(&self, LORA_ERROR_FORMAT, "holds a zero");
    begin_gguf(&self, 3, 0, 1);
    put_key(&self, "k", 8);
    put_number(&self, 3, 8);
    put(&self, "a\0b", 3);
    assert_refused(&self, LORA_ERROR_FORMAT, "its text holds a zero");
    begin_gguf(&self, 3, 0, 1);
    put_key(&self, "k", 8);
    put_number(&self, UINT64_MAX, 8);
    assert_refused(&self, LORA_ERROR_FORMAT, "cut off");
    begin_gguf(&self, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_key(&self, "twice", 4);
        put_number(&self, 2, 4);
    }
    assert_refused(&self, LORA_ERROR_FORMAT, "key twice is there twice");
}

static void refuses_bad_arrays(void **state)
{
    static const struct {
        uint32_t item;
        uint64_t count;
        lora_status status;
        const char *text;
    } arrays[] = {
        {9, 0, LORA_ERROR_UNSUPPORTED, "array of arrays"},
        {13, 1, LORA_ERROR_FORMAT, "unknown type 13"},
        {0, UINT64_MAX, LORA_ERROR_FORMAT, "items, which the rest"},
        {12, UINT64_MAX / 8 + 2, LORA_ERROR_FORMAT, "items, which the rest"},
        {8, 1ull << 61, LORA_ERROR_FORMAT, "items, which the rest"},
        {8, 2, LORA_ERROR_FORMAT, "items, which the rest"},
        {4, 3, LORA_ERROR_FORMAT, "items, which the rest"},
    };
    builder self;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        begin_gguf(&self, 3, 0, 1);
        put_key(&self, "k", 9);
        put_number(&self, arrays[i].item, 4);
        put_number(&self, arrays[i].count, 8);
        put_number(&self, 0, 8);
        assert_refused(&self, arrays[i].status, arrays[i].text);
    }
    begin_gguf(&self, 3, 0, 1);
    put_key(&self, "k", 9);
    put_number(&self, 8, 4);
    put_number(&self, 1, 8);
    put_number(&self, 9, 8); // a text that is longer than the file
    put_number(&self, 0, 8);
    assert_refused(&self, LORA_ERROR_FORMAT, "cut off");
}

static void refuse_tensors(const uint64_t *extents, uint32_t dimensions, uint32_t type, uint64_t offset,
                           const char *text)
{
    builder self;
    begin_gguf(&self, 3, 1, 0);
    put_tensor(&self, "t", dimensions, extents, type, offset);
    pad_to(&self, 32);
    put_number(&self, 0, 8);
    put_number(&self, 0, 8);
    assert_refused(&self, LORA_ERROR_FORMAT, text);
}

static void refuses_bad_tensors(void **state)
{
    refuse_tensors((uint64_t[]){1, 1, 1, 1, 1}, 5, 0, 0, "tensor t has 5 dimensions");
    refuse_tensors((uint64_t[]){1ull << 32, 1ull << 32}, 2, 0, 0, "shape is too large");
    refuse_tensors((uint64_t[]){UINT64_MAX}, 1, 0, 0, "shape is too large");
    refuse_tensors((uint64_t[]){1ull << 62}, 1, 0, 0, "shape is too large");
    refuse_tensors((uint64_t[]){33}, 1, 8, 0, "multiple of 32 for q8_0");
    refuse_tensors((uint64_t[]){5}, 1, 0, 0, "its 20 bytes at 0 of the data lie outside");
    refuse_tensors((uint64_t[]){1}, 1, 0, 32, "lie outside");
    refuse_tensors((uint64_t[]){1}, 1, 0, UINT64_MAX - 31, "lie outside");
    refuse_tensors((uint64_t[]){1}, 1, 0, 4, "no multiple of the alignment 32");

    builder self;
    for (int twice = 0; twice < 2; twice++) {
        begin_gguf(&self, 3, 2, 0);
        put_tensor(&self, "a", 1, (uint64_t[]){4}, 0, 0);
        put_tensor(&self, twice ? "a" : "b", 1, (uint64_t[]){4}, 0, 0);
        pad_to(&self, 32);
        put(&self, "0123456789abcdef", 16);
        assert_refused(&self, LORA_ERROR_FORMAT, twice ? "tensor a is there twice" : "overlap");
    }
}

static void honours_the_alignment(void **state)
{
    static const uint32_t alignments[] = {1, 8, 64, 0, 24, 1u << 30};
    builder self;
    lr_gguf file;
    for (int i = 0; i < 6; i++) {
        begin_gguf(&self, 3, 1, 1);
        put_key(&self, "general.alignment", 4);
        put_number(&self, alignments[i], 4);
        put_tensor(&self, "t", 1, (uint64_t[]){1}, 0, 0);
        if (i < 3) {
            pad_to(&self, alignments[i]);
            size_t offset = self.size;
            put_number(&self, 5, 4);
            assert_int_equal(open_built(&self, &file), LORA_OK);
            assert_int_equal(file.entries[0].offset, offset);
            lr_gguf_close(&file);
        } else {
            assert_refused(&self, LORA_ERROR_FORMAT, "expected a power of two");
        }
    }
}

// A cut in the header or in tensor data is refused (the padding at the end may miss); a flipped bit never makes an
// entry that lies outside the file.
static void survives_damage(void **state)
{
    builder self;
    lr_gguf file;
    build_good(&self);
    size_t size = self.size, padding = size - 68;
    while (padding % 32 != 0) padding--; // where the last tensor begins
    for (self.size = 0; self.size < padding + 68; self.size++) assert_refused(&self, LORA_ERROR_FORMAT, "");
    self.size = size;
    for (size_t bit = 0; bit < size * 8; bit++) {
        self.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (open_built(&self, &file) == LORA_OK) {
            for (size_t i = 0; i < file.count; i++)
                assert_true(file.entries[i].offset + file.entries[i].size <= file.file.size);
            const lr_gguf_value *tokens = lr_gguf_find(&file, "tokens");
            if (tokens && tokens->type == LR_GGUF_ARRAY && tokens->item_type == LR_GGUF_STRING) {
                const uint8_t *at = tokens->items;
                for (uint64_t i = 0; i < tokens->count; i++) lr_gguf_next_text(&at);
            }
            lr_gguf_close(&file);
        }
        self.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void reports_every_failed_allocation(void **state)
{
    builder built;
    build_good(&built);
    memory_file bytes = {built.bytes, built.size};
    lora_file_access files = access_to_memory(&bytes);
    long failures = 0;
    for (;; failures++) {
        failing_allocator self;
        lr_gguf file;
        failing_allocator_init(&self, failures);
        lora_status status = lr_gguf_open(&self.allocator, &files, "t", &file);
        if (status == LORA_OK) lr_gguf_close(&file);
        assert_int_equal(self.live, 0);
        if (!self.failed) break;
        assert_fails(LORA_ERROR_MEMORY, status, "out of memory");
    }
    assert_true(failures >= 12); // file, pairs, 7 keys, entries, 2 names, ...
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(reads_every_scalar),
        cmocka_unit_test(knows_the_sizes_of_types),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(refuses_bad_pairs),
        cmocka_unit_test(refuses_bad_arrays),
        cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(honours_the_alignment),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(reports_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
