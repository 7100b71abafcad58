// SentencePiece's normalizer: the longest rule of a compiled character map at each place, spaces collapsed or kept, a
// dummy prefix, and every space written as U+2581.
//
// A map is a double-array trie (Yata et al.) of u32 units and the replacements, zero-terminated, one after another. A
// unit holds the label of its edge in bits 0-7 and 31, whether a leaf hangs below in bit 8, and the offset to its
// children in bits 10-30, shifted left by 8 when bit 9 is set. A leaf holds a replacement's place.
#include "pipeline.h"

#include <string.h>

struct lr_charsmap {
    uint32_t *units;
    size_t unit_count;
    char *replacements; // ends with a zero
    size_t replacement_size;
};

static uint32_t read_u32(const char *bytes)
{
    const uint8_t *b = (const uint8_t *)bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

lora_status lr_charsmap_create(const lora_allocator *allocator, const char *bytes, size_t length, lr_charsmap **out)
{
    if (length < 4 || read_u32(bytes) > length - 4 || read_u32(bytes) % 4 != 0)
        return lr_fail(LORA_ERROR_FORMAT, "the character map of the normalizer is damaged: %zu bytes", length);
    size_t trie = read_u32(bytes);
    lr_charsmap *map = lr_alloc_zeroed(allocator, 1, sizeof *map);
    if (!map) return LORA_ERROR_MEMORY;
    map->unit_count = trie / 4;
    map->replacement_size = length - 4 - trie;
    map->units = lr_alloc_array(allocator, map->unit_count, sizeof *map->units);
    map->replacements = lr_duplicate_range(allocator, bytes + 4 + trie, map->replacement_size);
    if (!map->units || !map->replacements) {
        lr_charsmap_free(map, allocator);
        return LORA_ERROR_MEMORY;
    }
    for (size_t i = 0; i < map->unit_count; i++) map->units[i] = read_u32(bytes + 4 + 4 * i);
    *out = map;
    return LORA_OK;
}

void lr_charsmap_free(lr_charsmap *map, const lora_allocator *allocator)
{
    if (!map) return;
    lr_free(allocator, map->units);
    lr_free(allocator, map->replacements);
    lr_free(allocator, map);
}

static size_t child_offset(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6); }

// Bytes of the longest key that the text begins with (0: none), and its replacement.
static size_t find_rule(const lr_charsmap *map, const char *text, size_t length, const char **replacement)
{
    size_t longest = 0;
    if (!map || map->unit_count == 0) return 0;
    size_t node = child_offset(map->units[0]);
    for (size_t i = 0; i < length; i++) {
        node ^= (uint8_t)text[i];
        if (node >= map->unit_count) break;
        uint32_t unit = map->units[node];
        if ((unit & 0x800000FFu) != (uint8_t)text[i]) break;
        node ^= child_offset(unit);
        if (!(unit >> 8 & 1)) continue;
        if (node >= map->unit_count) break;
        size_t place = map->units[node] & 0x7FFFFFFFu;
        if (place >= map->replacement_size) continue;
        longest = i + 1;
        *replacement = map->replacements + place;
    }
    return longest;
}

// The next stretch of input and what it becomes.
static size_t next_stretch(const lr_charsmap *map, const char *text, size_t length, const char **becomes, size_t *size)
{
    int32_t code;
    size_t consumed = find_rule(map, text, length, becomes);
    if (consumed > 0) {
        *size = strlen(*becomes);
        return consumed;
    }
    *becomes = text;
    *size = lr_utf8_next(text, length, &code);
    return *size;
}

lora_status lr_sentencepiece_normalize(const lr_step *step, const char *text, size_t length, bool first, lr_bytes *out)
{
    const char *becomes;
    size_t at = 0, size;
    while (step->collapse && at < length) {
        size_t consumed = next_stretch(step->charsmap, text + at, length - at, &becomes, &size);
        if (size != 1 || *becomes != ' ') break;
        at += consumed;
    }
    if (at == length) return LORA_OK;
    if (step->prefix == LR_PREFIX_ALWAYS || (step->prefix == LR_PREFIX_FIRST && first))
        LR_TRY(lr_bytes_append(out, LR_META, LR_META_SIZE));
    if (!step->charsmap && !step->collapse) return lr_mark_spaces(text, length, LR_META, LR_META_SIZE, out);
    bool after_space = step->collapse;
    while (at < length) {
        at += next_stretch(step->charsmap, text + at, length - at, &becomes, &size);
        while (after_space && size > 0 && *becomes == ' ') becomes++, size--;
        LR_TRY(lr_mark_spaces(becomes, size, LR_META, LR_META_SIZE, out));
        if (size > 0) after_space = step->collapse && becomes[size - 1] == ' ';
    }
    while (step->collapse && out->size >= LR_META_SIZE &&
           memcmp(out->data + out->size - LR_META_SIZE, LR_META, LR_META_SIZE) == 0)
        out->size -= LR_META_SIZE;
    return LORA_OK;
}
