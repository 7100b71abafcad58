// Double quantization: the scales of 4-bit blocks kept as 8-bit codes of their difference from an offset, in blocks of
// their own (QLoRA, section 3), coded as bitsandbytes does it: scale = map[code] * absmax + offset.
#ifndef LR_NESTED_SCALES_H
#define LR_NESTED_SCALES_H

#include <stddef.h>
#include <stdint.h>

#define LR_NESTED_BLOCK 256 // scales that share an absmax

// scales[i] for i < count; `map` has 256 numbers, `absmax` one for each `block` scales. Products and sums are rounded
// one after the other.
void lr_nested_expand(float *scales, size_t count, const uint8_t *codes, const float *map, const float *absmax,
                      size_t block, float offset);

// The map: a dynamic tree of 8-bit numbers, signed, ascending from -0.993 to 1 (Dettmers 2016, arXiv 1511.04561).
void lr_nested_map(float map[256]);
// codes[count] and absmax[ceil(count / LR_NESTED_BLOCK)] for scales; *offset is their mean.
void lr_nested_compress(uint8_t *codes, float *absmax, float *offset, const float *map, const float *scales,
                        size_t count);

#endif
