/** @file status.h
 *  What a call answers: 0, or a negative code, with one line of text per thread.
 *
 *  A failed call leaves every handle as it was. The text names the file, tensor, key or argument, what was expected
 *  and what was found. No call aborts, exits, prints or raises a signal.
 */
#ifndef LORA_STATUS_H
#define LORA_STATUS_H

#include "abi.h"

LORA_BEGIN_DECLS

/** 0 or one of the negative LORA_ERROR_ codes. Codes are grouped by cause; a group may gain codes. */
typedef int32_t lora_status;

#define LORA_OK 0

/* The call itself */
#define LORA_ERROR_ARGUMENT (-1)    /**< an argument is out of range, or NULL where it may not be */
#define LORA_ERROR_STATE (-2)       /**< the handle is not in a state that allows this call */
#define LORA_ERROR_CANCELLED (-3)   /**< a cancel call or callback asked to stop */

/* Memory */
#define LORA_ERROR_MEMORY (-10)     /**< the allocator or device gave no memory */
#define LORA_ERROR_BUDGET (-11)     /**< no choice of settings fits the memory budget */

/* Files */
#define LORA_ERROR_NOT_FOUND (-20)  /**< no such file or directory */
#define LORA_ERROR_IO (-21)         /**< reading or writing failed (full disk, no permission, ...) */
#define LORA_ERROR_EXISTS (-22)     /**< the output is there and overwriting was not asked for */
#define LORA_ERROR_BUSY (-23)       /**< another process or thread is writing to this output */

/* What is in them */
#define LORA_ERROR_FORMAT (-30)     /**< a file is malformed, truncated or damaged */
#define LORA_ERROR_UNSUPPORTED (-31)/**< well-formed, but of a kind this library does not do */
#define LORA_ERROR_MISMATCH (-32)   /**< two things do not belong together (an adapter and a base, say) */
#define LORA_ERROR_DATA (-33)       /**< training or evaluation data is unusable */

/* Running */
#define LORA_ERROR_OVERFLOW (-40)   /**< the context window is full */
#define LORA_ERROR_NOT_FINITE (-41) /**< a weight, loss or gradient is NaN or infinite */
#define LORA_ERROR_NO_GRADIENT (-42)/**< a trained tensor got no gradient: it would not have learnt anything */
#define LORA_ERROR_DIVERGED (-43)   /**< the loss exploded */

/* The rest */
#define LORA_ERROR_BACKEND (-50)    /**< the backend is missing, of another ABI, or its device failed */
#define LORA_ERROR_INTERNAL (-60)   /**< a defect of this library */

/** The name of a code, for example "LORA_ERROR_FORMAT". Static; never NULL. */
LORA_API const char *lora_status_name(lora_status status);

/** The message of this thread's last failed call, one line of UTF-8; "" when none has failed.
 *  The library's; valid until the next failing call on this thread. */
LORA_API const char *lora_error_message(void);

LORA_END_DECLS
#endif
