// A few numbers of the base's weights, written into an adapter's file, by which an adapter is told to be on the wrong
// base even when all shapes fit. They are compared loosely, so that a rounded or quantised copy of the base is the same
// base.
#ifndef LR_ADAPTER_SAMPLES_H
#define LR_ADAPTER_SAMPLES_H

#include "adapter.h"

#define LR_SAMPLE_TEXT 1024

// The samples as text, for the file's metadata.
lora_status lr_samples_write(const lora_adapter *adapter, char text[LR_SAMPLE_TEXT]);
// MISMATCH, naming both bases, when `text` (as found in `file`) is of other weights.
lora_status lr_samples_compare(const lora_adapter *adapter, const char *file, const char *text);

#endif
