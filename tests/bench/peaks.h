// What this machine does at best, on all threads: measured, not read from a data sheet.
#ifndef BENCH_PEAKS_H
#define BENCH_PEAKS_H

#include <stdint.h>

double seconds_now(void);

// Operations a second (a multiply and an add are two), or bytes read a second; 0: this processor has not the
// instructions, or this build is for another kind of processor.
double peak_f32(int32_t threads);       // fused multiply-add on the widest vectors
double peak_bf16_dot(int32_t threads);  // vdpbf16ps
double peak_bf16_tile(int32_t threads); // tdpbf16ps
double peak_int8_dot(int32_t threads);  // vpdpbusd
double peak_int8_tile(int32_t threads); // tdpbssd
double memory_bandwidth(int32_t threads);

#endif
