// Random numbers as a pure function of (seed, stream, index): Philox 4x32-10 (Salmon et al. 2011). There is no state,
// so any thread can draw any element, and resuming needs no more than the seed and a counter.
#ifndef LR_RANDOM_H
#define LR_RANDOM_H

#include <math.h>
#include <stdint.h>

typedef struct lr_random_block {
    uint32_t word[4];
} lr_random_block;

// Four words for the block `counter` (index / 4).
static inline lr_random_block lr_random_draw(uint64_t seed, uint32_t stream, uint64_t counter)
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = stream, c3 = 0;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1, c3 = (uint32_t)p0, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return (lr_random_block){{c0, c1, c2, c3}};
}

static inline uint32_t lr_random_u32(uint64_t seed, uint32_t stream, uint64_t index)
{
    return lr_random_draw(seed, stream, index / 4).word[index % 4];
}

// In [0, 1), a multiple of 2^-24.
static inline float lr_random_uniform(uint64_t seed, uint32_t stream, uint64_t index)
{
    return (float)(lr_random_u32(seed, stream, index) >> 8) * 0x1p-24f;
}

// Standard normal (Box and Muller 1958).
static inline float lr_random_normal(uint64_t seed, uint32_t stream, uint64_t index)
{
    lr_random_block block = lr_random_draw(seed, stream, index / 2 + ((uint64_t)1 << 62));
    uint32_t a = block.word[index % 2 * 2], b = block.word[index % 2 * 2 + 1];
    double u = ((double)a + 1.0) * 0x1p-32, v = (double)b * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

// In [0, bound), bound > 0; unbiased enough for shuffling (bound < 2^32).
static inline uint64_t lr_random_below(uint64_t seed, uint32_t stream, uint64_t index, uint64_t bound)
{
    return ((uint64_t)lr_random_u32(seed, stream, index) * bound) >> 32;
}

#endif
