// Blocks of the storage types with scales beside the numbers: random ones, and what they mean, in double, number by
// number as the formats' own descriptions put it (ggml's block structs, bitsandbytes' 4-bit and row-wise 8-bit types).
#ifndef BLOCKS_H
#define BLOCKS_H

#include <lora/types.h>
#include <stdint.h>

int64_t block_numbers(lora_type type); // 1 for plain types
int64_t block_bytes(lora_type type);
// Fills a block from a source of random 32-bit words; values are of the order of 1.
void block_random(lora_type type, uint8_t *block, uint32_t (*word)(void *), void *source);
// Number i of a block; `scale`: of INT8 and NF4.
double block_value(lora_type type, const uint8_t *block, float scale, int64_t i);
double half_value(const uint8_t *bytes);

#endif
