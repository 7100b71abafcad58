/** @file types.h
 *  Storage types of tensors.
 */
#ifndef LORA_TYPES_H
#define LORA_TYPES_H

#include "abi.h"

/** How the numbers of a tensor are stored. The values are part of the ABI. Block types are those of GGUF (ggml's
 *  structs): a row is a whole number of blocks. INT8 and NF4 are bitsandbytes' and keep their scales apart from the
 *  numbers. Activations, adapters and optimizer state are f32 whatever the weights are, but for what training keeps
 *  of activations (lora_trainer_options.activations). */
typedef int32_t lora_type;

#define LORA_TYPE_KEEP (-1) /**< in options: as the file has it */
#define LORA_TYPE_F32 0
#define LORA_TYPE_F16 1
#define LORA_TYPE_BF16 2
#define LORA_TYPE_I32 3
#define LORA_TYPE_INT8 4    /**< LLM.int8: w = q * absmax / 127, one f32 absmax per row */
#define LORA_TYPE_NF4 5     /**< QLoRA's 4-bit NormalFloat, two in a byte, the first in its high half; one f32 absmax
                                 per 64 numbers, a row a whole number of these */
#define LORA_TYPE_Q8_0 6    /**< 32 numbers: scale (f16), 32 int8: 8.5 bits a number */
#define LORA_TYPE_Q4_0 7    /**< 32 numbers: scale (f16), 4 bits each; 4.5 bits */
#define LORA_TYPE_Q4_1 8    /**< the same with a minimum (f16); 5 bits */
#define LORA_TYPE_Q5_0 9    /**< as Q4_0 with 5 bits each; 5.5 bits */
#define LORA_TYPE_Q5_1 10   /**< as Q4_1 with 5 bits each; 6 bits */
#define LORA_TYPE_Q4_K 11   /**< 256 numbers in groups of 32 with 6-bit scales and minima; 4.5 bits */
#define LORA_TYPE_Q5_K 12   /**< the same with 5 bits each; 5.5 bits */
#define LORA_TYPE_Q6_K 13   /**< 256 numbers in groups of 16 with 8-bit scales, 6 bits each; 6.5625 bits */
#define LORA_TYPE_COUNT 14

LORA_BEGIN_DECLS
/** "f32", "bf16", "q8_0", ...; "unknown" for anything else. Static. */
LORA_API const char *lora_type_name(lora_type type);
LORA_END_DECLS
#endif
