// Masks of vectors of 16 lanes.
#ifndef LR_X86_LANES_H
#define LR_X86_LANES_H

#include <immintrin.h>
#include <stdint.h>

// The first `count` lanes: none below 0, all from 16 on.
static inline __mmask16 mask_of(int64_t count)
{
    return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

#endif
