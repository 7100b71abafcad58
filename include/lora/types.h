/** @file types.h
 *  Storage types of tensors.
 */
#ifndef LORA_TYPES_H
#define LORA_TYPES_H

#include "abi.h"

/** How the numbers of a tensor are stored. The values are part of the ABI. Block types are those of GGUF: a row is a
 *  whole number of blocks. INT8 and NF4 keep their scales apart from the numbers. */
typedef int32_t lora_type;

#define LORA_TYPE_KEEP (-1) /**< in options: as the file has it */
#define LORA_TYPE_F32 0
#define LORA_TYPE_F16 1
#define LORA_TYPE_BF16 2
#define LORA_TYPE_I32 3
#define LORA_TYPE_INT8 4    /**< one f32 scale per row (absmax / 127) */
#define LORA_TYPE_NF4 5     /**< QLoRA's 4-bit NormalFloat, one f32 absmax per 64 numbers */
#define LORA_TYPE_Q8_0 6    /**< 32 int8 and one f16 scale */
#define LORA_TYPE_Q4_0 7
#define LORA_TYPE_Q4_1 8
#define LORA_TYPE_Q5_0 9
#define LORA_TYPE_Q5_1 10
#define LORA_TYPE_Q4_K 11
#define LORA_TYPE_Q5_K 12
#define LORA_TYPE_Q6_K 13
#define LORA_TYPE_COUNT 14

LORA_BEGIN_DECLS
/** "f32", "bf16", "q8_0", ...; "unknown" for anything else. Static. */
LORA_API const char *lora_type_name(lora_type type);
LORA_END_DECLS
#endif
