// Numbers of integer types with AVX2, in 16 bits: what cpu/integer_groups.h asks for.
#ifndef LR_INTEGER_AVX2_H
#define LR_INTEGER_AVX2_H

#define LR_WIDTH 8
#include "cpu/integer_kernels.h"
#include "cpu/product_numbers.h"

typedef uint16_t sixteen __attribute__((vector_size(32)));
typedef uint16_t eight __attribute__((vector_size(16)));

LR_INLINE sixteen load_sixteen(const uint8_t *from)
{
    return (sixteen)_mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)from));
}

LR_INLINE sixteen load_signed_sixteen(const uint8_t *from)
{
    return (sixteen)_mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)from));
}

LR_INLINE sixteen sixteens(const uint8_t *bits)
{
    const sixteen bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    uint16_t word;
    memcpy(&word, bits, sizeof word);
    return (sixteen)(((word - (sixteen){0}) & bit) == bit) & 16;
}

LR_INLINE lr_vf floats_of(const uint16_t *half)
{
    const eight all = {half[0], half[1], half[2], half[3], half[4], half[5], half[6], half[7]};
    return (lr_vf)_mm256_cvtph_ps((__m128i)all);
}

#include "cpu/integer_groups.h"

#endif
