// The two tables of lib/hash_map.h, filled to the brim, and protobuf's wire format.
#include "support.h"

#include "lib/hash_map.h"
#include "lib/protobuf_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const lora_allocator *const memory = &lr_system_allocator;

static void texts(void **state)
{
    enum { COUNT = 5000 };
    static char keys[COUNT][16];
    lr_text_map map = {0};
    assert_int_equal(lr_text_map_get(&map, "a", 1), -1); // empty, before init
    assert_int_equal(lr_text_map_init(&map, memory, COUNT), LORA_OK);
    for (int32_t i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "key %d", (int)i);
        lr_text_map_put(&map, keys[i], strlen(keys[i]), i);
    }
    for (int32_t i = 0; i < COUNT; i++) assert_int_equal(lr_text_map_get(&map, keys[i], strlen(keys[i])), i);
    assert_int_equal(lr_text_map_get(&map, keys[7], strlen(keys[7]) - 1), -1);
    assert_int_equal(lr_text_map_get(&map, "", 0), -1);
    lr_text_map_put(&map, keys[7], strlen(keys[7]), 70);
    assert_int_equal(lr_text_map_get(&map, "key 7", 5), 70);
    lr_text_map_free(&map, memory);
}

static void pairs(void **state)
{
    lr_pair_map map = {0};
    assert_null(lr_pair_map_get(&map, 1, 2));
    assert_int_equal(lr_pair_map_init(&map, memory, 10000), LORA_OK);
    for (int32_t i = 0; i < 100; i++)
        for (int32_t j = 0; j < 100; j++) lr_pair_map_put(&map, i, j, (uint32_t)(i * 100 + j), i + j);
    for (int32_t i = 0; i < 100; i++)
        for (int32_t j = 0; j < 100; j++) {
            assert_int_equal(lr_pair_map_get(&map, i, j)->rank, i * 100 + j);
            assert_int_equal(lr_pair_map_get(&map, i, j)->id, i + j);
        }
    assert_null(lr_pair_map_get(&map, 100, 0));
    assert_null(lr_pair_map_get(&map, -1, 0));
    lr_pair_map_free(&map, memory);
}

static void reads_fields(void **state)
{
    // 1: varint 300; 2: "hi"; 3: 1.5f; 4: fixed64 1
    static const uint8_t bytes[] = {0x08, 0xAC, 0x02, 0x12, 2, 'h', 'i', 0x1D, 0, 0, 0xC0,
                                    0x3F, 0x21, 1,    0,    0, 0,   0,   0,    0, 0};
    lr_protobuf reader = {bytes, bytes + sizeof bytes, "test.model"};
    lr_protobuf_field field;
    bool more;
    assert_int_equal(lr_protobuf_next(&reader, &field, &more), LORA_OK);
    assert_true(more && field.number == 1 && field.wire == 0 && field.value == 300);
    assert_int_equal(lr_protobuf_next(&reader, &field, &more), LORA_OK);
    assert_true(more && field.number == 2 && field.size == 2 && memcmp(field.bytes, "hi", 2) == 0);
    assert_int_equal(lr_protobuf_next(&reader, &field, &more), LORA_OK);
    assert_true(more && field.number == 3 && lr_protobuf_float(&field) == 1.5f);
    assert_int_equal(lr_protobuf_next(&reader, &field, &more), LORA_OK);
    assert_true(more && field.number == 4 && field.value == 1);
    assert_int_equal(lr_protobuf_next(&reader, &field, &more), LORA_OK);
    assert_false(more);
}

static void refuses_damage(void **state)
{
    static const struct {
        uint8_t bytes[12];
        size_t size;
    } cases[] = {{{0x08}, 1},       // no value
                 {{0x08, 0xFF}, 2}, // a varint without end
                 {{0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 12},
                 {{0x12, 5, 'h', 'i'}, 4}, // longer than what there is
                 {{0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, 10},
                 {{0x1D, 0, 0}, 3},
                 {{0x0B}, 1}}; // a group: not in use
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *copy = malloc(cases[i].size);
        memcpy(copy, cases[i].bytes, cases[i].size);
        lr_protobuf reader = {copy, copy + cases[i].size, "test.model"};
        lr_protobuf_field field;
        bool more;
        assert_fails(LORA_ERROR_FORMAT, lr_protobuf_next(&reader, &field, &more), "test.model");
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(pairs), cmocka_unit_test(reads_fields),
                                       cmocka_unit_test(refuses_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
