// Packing for cpu/bf16_product.h, with AVX-512 and AVX512-BF16.
#include "cpu/bf16_product.h"
#include "cpu/product_kernels.h"
#include "cpu/x86/lanes.h"
#include "cpu/x86/transpose.h"

#include <string.h>

#define TILE 16
#define HALF (LR_BF16_NUMBERS / 2) // numbers of 16 columns of B

// ---- rounding ------------------------------------------------------------------------------------------------------

static __mmask32 words_before(int64_t count)
{
    return count >= 32 ? UINT32_MAX : count <= 0 ? 0 : (UINT32_C(1) << count) - 1;
}

static __m512i load_words(const uint16_t *from, int64_t count)
{
    if (count >= 32) return _mm512_loadu_si512(from);
    return _mm512_maskz_loadu_epi16(words_before(count), from);
}

// bf16 in the low half of each lane.
static __m512i words_of(__m512 x)
{
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
}

// What x is more than its bf16.
static __m512 rest_of(__m512 x)
{
    return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(words_of(x), 16)));
}

// The next bf16 number of each of 32; low and high become what is left.
static __m512i next_part(__m512 *low, __m512 *high, bool last)
{
    const __m512i part = (__m512i)_mm512_cvtne2ps_pbh(*high, *low);
    if (last) return part;
    const __m512i l = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(part));
    const __m512i h = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(part, 1));
    *low = _mm512_sub_ps(*low, _mm512_castsi512_ps(_mm512_slli_epi32(l, 16)));
    *high = _mm512_sub_ps(*high, _mm512_castsi512_ps(_mm512_slli_epi32(h, 16)));
    return part;
}

// ---- A -------------------------------------------------------------------------------------------------------------

int64_t lr_bf16_steps(const lr_product_term *term, const lr_bf16_parts *parts, bool is_pair)
{
    return ((is_pair ? parts->pair * term->k : term->k) + LR_BF16_STEP - 1) / LR_BF16_STEP;
}

static void take_row(uint16_t *target, const float *x, float alpha, int64_t depth, int32_t parts)
{
    const __m512 factor = _mm512_set1_ps(alpha);
    for (int64_t p = 0; p < depth; p += LR_BF16_STEP) {
        __m512 low = _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask_of(depth - p), x + p));
        __m512 high = _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask_of(depth - p - 16), x + p + 16));
        for (int32_t part = 0; part < parts; part++, target += LR_BF16_NUMBERS)
            _mm512_storeu_si512(target, next_part(&low, &high, part == parts - 1));
    }
}

// The products of a pair's parts: x_i of A stands against y_j of B.
static const uint8_t PAIR_A[6] = {0, 1, 0, 1, 0, 2}, PAIR_B[6] = {0, 0, 1, 1, 2, 0};

static void take_pair_row(uint16_t *target, const float *x, float alpha, int64_t rank, int32_t products, int64_t steps)
{
    uint16_t places[6 * 64 + LR_BF16_STEP] = {0};
    for (int64_t p = 0; p < rank; p += 16) {
        const __mmask16 mask = mask_of(rank - p);
        __m512 value = _mm512_mul_ps(_mm512_set1_ps(alpha), _mm512_maskz_loadu_ps(mask, x + p));
        for (int part = 0; part < 3; part++, value = rest_of(value))
            for (int32_t i = 0; i < products; i++)
                if (PAIR_A[i] == part)
                    _mm256_mask_storeu_epi16(places + i * rank + p, mask, (__m256i)_mm512_cvtneps_pbh(value));
    }
    for (int64_t s = 0; s < steps; s++)
        memcpy(target + s * LR_BF16_NUMBERS, places + s * LR_BF16_STEP, LR_BF16_STEP * sizeof *places);
}

// The inner numbers of `steps` steps from step `first` on.
static int64_t depth_of(const lr_product_term *term, int64_t first, int64_t steps)
{
    const int64_t rest = term->k - first * LR_BF16_STEP;
    return rest < steps * LR_BF16_STEP ? rest : steps * LR_BF16_STEP;
}

static void copy_row(uint16_t *target, const uint16_t *x, int64_t depth)
{
    for (int64_t p = 0; p < depth; p += LR_BF16_STEP, target += LR_BF16_NUMBERS)
        _mm512_storeu_si512(target, load_words(x + p, depth - p));
}

void lr_bf16_take(uint16_t *target, const lr_product_term *term, const lr_bf16_parts *parts, bool is_pair,
                  int64_t first, int64_t steps, int64_t i, int64_t rows)
{
    const int64_t depth = depth_of(term, first, steps), at = i * term->a.stride + first * LR_BF16_STEP;
    for (int64_t row = 0; row < rows; row++, target += LR_BF16_STEP) {
        const int64_t from = at + row * term->a.stride;
        if (is_pair)
            take_pair_row(target, (const float *)term->a.data + from, term->alpha, term->k, parts->pair, steps);
        else if (term->a.type == LORA_TYPE_BF16)
            copy_row(target, (const uint16_t *)term->a.data + from, depth);
        else
            take_row(target, (const float *)term->a.data + from, term->alpha, depth, parts->a);
    }
    const int64_t blocks = is_pair ? steps : steps * parts->a;
    for (int64_t row = rows; row < LR_BF16_PANEL; row++, target += LR_BF16_STEP)
        for (int64_t block = 0; block < blocks; block++)
            memset(target + block * LR_BF16_NUMBERS, 0, LR_BF16_STEP * sizeof *target);
}

// ---- B -------------------------------------------------------------------------------------------------------------

static void transpose_tile(uint16_t *target, const void *rows, int64_t bytes)
{
    lr_transpose_dwords(target, LR_BF16_STEP * sizeof *target, rows, bytes);
}

// The same, from `cut` pairs before this step on: that many belong to the step before.
static void transpose_cut_tile(uint16_t *target, int cut, const uint16_t *rows, int64_t bytes)
{
    uint16_t *late = target - cut * LR_BF16_STEP, *early = late - LR_BF16_NUMBERS + TILE * LR_BF16_STEP;
    lr_transpose_cut_dwords(early, late, cut, LR_BF16_STEP * sizeof *target, rows - 2 * cut, bytes);
}

// Pairs of numbers by which all rows begin behind the beginning of a line of the cache, if they do.
static int pairs_into_line(const lr_operand *b, const uint16_t *data)
{
    const int64_t bytes = (int64_t)((uintptr_t)data % 64);
    return b->stride * (int64_t)sizeof *data % 64 == 0 && bytes % 4 == 0 ? (int)(bytes / 4) : 0;
}

// What is fetched before it is packed: short parts of many rows, or few lines of each, are not foreseen.
#define STEPS_AHEAD (8 * LR_BF16_STEP)
#define ROWS_AHEAD 32

// B lies as [n, k]. Rows whose distance is a power of two share few places of the L1 cache, where a line does not stay
// until the next step: so lines are read whole, wherever rows begin. Those of the first and the last step hold other
// numbers too, and are not.
static void pack_rows(uint16_t *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    const uint16_t *data = (const uint16_t *)b->data + j * b->stride + p;
    const int64_t bytes = b->stride * (int64_t)sizeof *data, end = depth;
    const int cut = pairs_into_line(b, data);
    uint16_t part[TILE * LR_BF16_STEP];
    for (; depth > 0; depth -= LR_BF16_STEP, data += LR_BF16_STEP) {
        for (int64_t first = 0; first < LR_BF16_PANEL; first += TILE, target += HALF) {
            const uint16_t *rows = data + first * b->stride;
            if (depth >= LR_BF16_STEP && first + TILE <= width) {
                for (int64_t row = 0; row < TILE; row++)
                    _mm_prefetch(rows + row * b->stride + STEPS_AHEAD, _MM_HINT_T1);
                if (cut && depth < end) transpose_cut_tile(target, cut, rows, bytes);
                if (!cut || depth == end || depth < 2 * LR_BF16_STEP) transpose_tile(target, rows, bytes);
                continue;
            }
            memset(part, 0, sizeof part);
            for (int64_t row = 0; row < TILE && first + row < width; row++)
                memcpy(part + row * LR_BF16_STEP, rows + row * b->stride,
                       (size_t)(depth < LR_BF16_STEP ? depth : LR_BF16_STEP) * sizeof *part);
            transpose_tile(target, part, LR_BF16_STEP * sizeof *part);
        }
    }
}

// A row that is read line by line, wherever it begins.
typedef struct row_reader {
    const uint16_t *line;
    int64_t skip;    // numbers of a line before the next one of the row
    __m512i current; // the line, as far as it is of the row
    __m512i order;   // where the next 32 numbers are in this line and the next
} row_reader;

static row_reader read_row(const uint16_t *row, int64_t width)
{
    static const uint16_t places[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    const int64_t skip = (int64_t)((uintptr_t)row % 64 / sizeof *row);
    const __mmask32 used = words_before(skip + width) & ~words_before(skip);
    return (row_reader){.line = row - skip, .skip = skip,
                        .current = _mm512_maskz_loadu_epi16(used, row - skip),
                        .order = _mm512_add_epi16(_mm512_loadu_si512(places), _mm512_set1_epi16((int16_t)skip))};
}

// The next 32 numbers of `width` that the row has yet, zeros beyond them.
static __m512i next_words(row_reader *row, int64_t width)
{
    row->line += 32;
    const __m512i next = _mm512_maskz_loadu_epi16(words_before(row->skip + width - 32), row->line);
    const __m512i words = _mm512_permutex2var_epi16(row->current, row->order, next);
    row->current = next;
    return words;
}

// Of two rows of 32 numbers: the pairs of the first and of the other 16 columns.
typedef struct pair_order {
    __m512i low, high;
} pair_order;

static pair_order order_of_pairs(void)
{
    uint16_t order[2][32];
    for (int i = 0; i < 16; i++) {
        order[0][2 * i] = (uint16_t)i, order[0][2 * i + 1] = (uint16_t)(32 + i);
        order[1][2 * i] = (uint16_t)(16 + i), order[1][2 * i + 1] = (uint16_t)(48 + i);
    }
    return (pair_order){_mm512_loadu_si512(order[0]), _mm512_loadu_si512(order[1])};
}

// B lies as [k, n]: its rows are read along all panels.
static void pack_columns(uint16_t *target, int64_t apart, const lr_operand *b, int64_t p, int64_t depth, int64_t j,
                         int64_t width)
{
    const pair_order order = order_of_pairs();
    const uint16_t *row = (const uint16_t *)b->data + p * b->stride + j;
    for (; depth > 0; depth -= LR_BF16_STEP, target += LR_BF16_NUMBERS) {
        for (int64_t q = 0; q < TILE; q++, row += 2 * b->stride) {
            uint16_t *to = target + q * LR_BF16_STEP;
            row_reader even_row = read_row(row, 2 * q < depth ? width : 0);
            row_reader odd_row = read_row(row + b->stride, 2 * q + 1 < depth ? width : 0);
            for (int64_t c = 0; c < width; c += LR_BF16_PANEL, to += apart) {
                _mm_prefetch(row + c + ROWS_AHEAD * b->stride, _MM_HINT_T1);
                _mm_prefetch(row + c + (ROWS_AHEAD + 1) * b->stride, _MM_HINT_T1);
                const __m512i even = next_words(&even_row, 2 * q < depth ? width - c : 0);
                const __m512i odd = next_words(&odd_row, 2 * q + 1 < depth ? width - c : 0);
                _mm512_storeu_si512(to, _mm512_permutex2var_epi16(even, order.low, odd));
                _mm512_storeu_si512(to + HALF, _mm512_permutex2var_epi16(even, order.high, odd));
            }
        }
    }
}

// Place `place` of a pair's B for 16 columns from j on, bf16 in the low half of each lane.
static __m512i pair_words(const lr_product_term *term, int32_t products, int64_t place, int64_t j, __mmask16 mask)
{
    if (place >= products * term->k) return _mm512_setzero_si512();
    const lr_operand *b = &term->b;
    const float *data = b->data;
    const int64_t p = place % term->k;
    __m512 value;
    if (b->transposed) {
        const __m512i rows = _mm512_mullo_epi32(
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32((int)b->stride));
        value = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, rows, data + j * b->stride + p, 4);
    } else {
        value = _mm512_maskz_loadu_ps(mask, data + p * b->stride + j);
    }
    for (int part = PAIR_B[place / term->k]; part > 0; part--) value = rest_of(value);
    return words_of(value);
}

static void pack_pair(uint16_t *target, const lr_product_term *term, int32_t products, int64_t steps, int64_t j,
                      int64_t width)
{
    for (int64_t place = 0; steps > 0; steps--) {
        for (int64_t q = 0; q < TILE; q++, place += 2) {
            for (int64_t half = 0; half < 2; half++) {
                const __mmask16 mask = mask_of(width - half * TILE);
                const __m512i even = pair_words(term, products, place, j + half * TILE, mask);
                const __m512i odd = pair_words(term, products, place + 1, j + half * TILE, mask);
                _mm512_storeu_si512(target + half * HALF + q * LR_BF16_STEP,
                                    _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
            }
        }
        target += LR_BF16_NUMBERS;
    }
}

// B of another type: some numbers of each row are rounded in the cache, and go on as B in bf16.
#define NARROWED 512                              // numbers of a row at once, whole blocks
#define NARROWED_STRIDE (NARROWED + LR_BF16_STEP) // no power of two

// Asks for numbers [at, at + n) of a stored row.
static void fetch_numbers(const lr_operand *b, int64_t row, int64_t at, int64_t n)
{
    const char *from = (const char *)b->data + row * (int64_t)lr_row_bytes(b->type, b->stride);
    const char *end = from + lr_row_bytes(b->type, at + n);
    for (from += lr_row_bytes(b->type, at); from < end; from += 64) _mm_prefetch(from, _MM_HINT_T1);
}

// 16 numbers of f32 or f16, as far as they are there.
static inline __attribute__((always_inline)) __m512 load_floats(lora_type type, const void *row, int64_t at,
                                                                int64_t there)
{
    const float *floats = (const float *)row + at;
    const uint16_t *halves = (const uint16_t *)row + at;
    if (there >= 16)
        return type == LORA_TYPE_F16 ? _mm512_cvtph_ps(_mm256_loadu_si256((const void *)halves))
                                     : _mm512_loadu_ps(floats);
    const __mmask16 mask = mask_of(there);
    return type == LORA_TYPE_F16 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, halves))
                                 : _mm512_maskz_loadu_ps(mask, floats);
}

// n numbers of a row, zeros up to a whole step.
static inline __attribute__((always_inline)) void narrow(uint16_t *target, lora_type type, const void *row, int64_t n)
{
    int64_t q = 0;
    for (; q + LR_BF16_STEP <= n; q += LR_BF16_STEP)
        _mm512_storeu_si512(target + q, (__m512i)_mm512_cvtne2ps_pbh(load_floats(type, row, q + 16, 16),
                                                                     load_floats(type, row, q, 16)));
    if (q < n)
        _mm512_storeu_si512(target + q, (__m512i)_mm512_cvtne2ps_pbh(load_floats(type, row, q + 16, n - q - 16),
                                                                     load_floats(type, row, q, n - q)));
}

// target[i][.. n]: numbers [at, at + n) of `rows` <= 32 rows. Those at `next` are wanted soon, of weights.
static void narrow_rows(uint16_t *target, const lr_operand *b, int64_t row, int64_t rows, int64_t at, int64_t n,
                        int64_t next_row, int64_t next_at)
{
    _Alignas(64) float numbers[NARROWED];
    for (int64_t i = 0; i < rows; i++, target += NARROWED_STRIDE) {
        const int64_t first = (row + i) * b->stride + at;
        if (b->type == LORA_TYPE_F32) {
            narrow(target, LORA_TYPE_F32, (const float *)b->data + first, n);
        } else if (b->type == LORA_TYPE_F16) {
            narrow(target, LORA_TYPE_F16, (const uint16_t *)b->data + first, n);
        } else {
            fetch_numbers(b, next_row + i, next_at, n);
            lr_product_avx512.unpack(numbers, b, row + i, at, n);
            narrow(target, LORA_TYPE_F32, numbers, n);
        }
    }
}

// A step of B that lies as [k, n], of 32 such rows: pairs of them become pairs of numbers.
static void pair_rows(uint16_t *target, int64_t apart, const uint16_t *rows, int64_t width)
{
    const pair_order order = order_of_pairs();
    for (int64_t q = 0; q < TILE; q++, target += LR_BF16_STEP, rows += 2 * NARROWED_STRIDE) {
        uint16_t *to = target;
        for (int64_t c = 0; c < width; c += LR_BF16_PANEL, to += apart) {
            const __m512i even = _mm512_load_si512(rows + c), odd = _mm512_load_si512(rows + NARROWED_STRIDE + c);
            _mm512_storeu_si512(to, _mm512_permutex2var_epi16(even, order.low, odd));
            _mm512_storeu_si512(to + HALF, _mm512_permutex2var_epi16(even, order.high, odd));
        }
    }
}

static void pack_narrowed(uint16_t *target, int64_t apart, const lr_operand *b, int64_t p, int64_t depth, int64_t j,
                          int64_t width)
{
    _Alignas(64) uint16_t room[LR_BF16_PANEL * NARROWED_STRIDE];
    const lr_operand narrowed = {.data = room, .stride = NARROWED_STRIDE, .type = LORA_TYPE_BF16, .transposed = true};
    const int64_t across = b->transposed ? depth : width, down = b->transposed ? width : depth;
    const int64_t row = b->transposed ? j : p, at = b->transposed ? p : j;
    for (int64_t r = 0; r < down; r += LR_BF16_PANEL) {
        const int64_t rows = down - r < LR_BF16_PANEL ? down - r : LR_BF16_PANEL;
        for (int64_t q = 0; q < across; q += NARROWED) {
            const int64_t n = across - q < NARROWED ? across - q : NARROWED;
            const bool ends = q + n == across;
            narrow_rows(room, b, row + r, rows, at + q, n, ends ? row + r + LR_BF16_PANEL : row + r,
                        ends ? at : at + q + n);
            if (b->transposed) {
                pack_rows(target + r / LR_BF16_PANEL * apart + q * LR_BF16_PANEL, &narrowed, 0, n, 0, rows);
                continue;
            }
            for (int64_t missing = rows; missing < LR_BF16_STEP; missing++)
                memset(room + missing * NARROWED_STRIDE, 0, NARROWED * sizeof *room);
            pair_rows(target + r * LR_BF16_PANEL + q / LR_BF16_PANEL * apart, apart, room, n);
        }
    }
}

void lr_bf16_pack(uint16_t *target, int64_t apart, const lr_product_term *term, const lr_bf16_parts *parts,
                  bool is_pair, int64_t first, int64_t steps, int64_t j, int64_t width)
{
    const int64_t p = first * LR_BF16_STEP, depth = depth_of(term, first, steps);
    const lr_operand *b = &term->b;
    if (!is_pair && b->type != LORA_TYPE_BF16) {
        pack_narrowed(target, apart, b, p, depth, j, width);
        return;
    }
    if (!is_pair && !b->transposed) {
        pack_columns(target, apart, b, p, depth, j, width);
        return;
    }
    for (; width > 0; width -= LR_BF16_PANEL, j += LR_BF16_PANEL, target += apart) {
        const int64_t some = width < LR_BF16_PANEL ? width : LR_BF16_PANEL;
        if (is_pair) pack_pair(target, term, parts->pair, steps, j, some);
        else pack_rows(target, b, p, depth, j, some);
    }
}
