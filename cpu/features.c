// What the processor and the operating system allow, as LORA_CPU_ bits.
#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

// The register state that the operating system saves: bits 1, 2 for AVX, 5 to 7 too for AVX-512.
static uint64_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool has(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

// Linux gives the tile registers to a process that asks for them; asking twice does no harm.
static bool may_use_tiles(uint64_t state)
{
#if defined(__linux__)
    return (state & 0x60000) == 0x60000 && syscall(SYS_arch_prctl, 0x1023, 18) == 0; // ARCH_REQ_XCOMP_PERM, TILEDATA
#else
    (void)state;
    return false;
#endif
}

static bool is_made_by(uint32_t signature)
{
    uint32_t a, b, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature;
}

// Zen 4: with AVX-512 the only one of its family.
static bool has_add_units(void)
{
    uint32_t a, b, c, d;
    if (!is_made_by(signature_AMD_ebx) || !__get_cpuid(1, &a, &b, &c, &d)) return false;
    return (a >> 8 & 0xF) + (a >> 20 & 0xFF) == 0x19;
}

int32_t lr_cpu_detect_features(void)
{
    uint32_t a, b, c, d, b7, c7, d7;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return 0;
    const uint64_t state = saved_state();
    if ((state & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) || !has(b7, bit_AVX2)) return 0;
    int32_t features = LORA_CPU_AVX2 | (is_made_by(signature_INTEL_ebx) ? LORA_CPU_FETCH_AHEAD : 0);
    const uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((state & 0xE6) != 0xE6 || !has(b7, avx512)) return features;
    features |= LORA_CPU_AVX512;
    if (has_add_units()) features |= LORA_CPU_ADD_UNITS;
    if (has(c7, bit_AVX512VNNI)) features |= LORA_CPU_AVX512_VNNI;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, 1u << 5)) features |= LORA_CPU_AVX512_BF16;
    const uint32_t tiles = 1u << 22 | 1u << 24 | 1u << 25; // AMX-BF16, AMX-TILE, AMX-INT8
    if ((features & LORA_CPU_AVX512_BF16) && has(d7, tiles) && may_use_tiles(state)) features |= LORA_CPU_AMX_BF16;
    return features;
}
#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif

static bool has_dot_products(void)
{
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return false;
#endif
}

int32_t lr_cpu_detect_features(void)
{
    return LORA_CPU_NEON | (has_dot_products() ? LORA_CPU_NEON_DOTPROD : 0); // NEON is part of the base architecture
}
#else
int32_t lr_cpu_detect_features(void)
{
    return 0;
}
#endif
