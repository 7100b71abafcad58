// Products of integers with AVX2: vpmaddwd multiplies pairs of 16-bit numbers, which never overflow.
#define LR_WIDTH 8
#include "cpu/integer_kernels.h"
#include "cpu/product_kernels.h"
#include "cpu/product_numbers.h"

typedef int16_t number;
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

typedef struct fine {
    int16_t numbers[16];
} fine;

LR_INLINE lr_vi add_products(lr_vi sum, lr_vi w, lr_vi x)
{
    return sum + (lr_vi)_mm256_madd_epi16((__m256i)w, (__m256i)x);
}

LR_INLINE void put_fine(fine *to, const int32_t *numbers)
{
    for (int i = 0; i < 16; i++) to->numbers[i] = (int16_t)numbers[i];
}

LR_INLINE lr_vi fine_products(lr_vi w, const fine *x)
{
    return (lr_vi)_mm256_madd_epi16((__m256i)w, _mm256_loadu_si256((const void *)x->numbers));
}

#define ROWS 6
#define PRODUCT lr_product_avx2
#define KERNELS lr_integer_avx2
#include "cpu/integer_vector.h"
