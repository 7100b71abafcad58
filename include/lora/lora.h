/** @file lora.h
 *  liblora: LoRA fine-tuning of language models as plain C calls on opaque handles.
 *
 *      lora_context  ->  lora_model  ->  lora_adapter  ->  lora_trainer   (learn)
 *                                    ->  lora_session                     (answer)
 *      lora_tokenizer, lora_dataset, lora_check: usable on their own
 *
 *  Every call returns a lora_status: 0, or a negative code with lora_error_message(). See context.h for the calling
 *  convention and the rules on threads.
 */
#ifndef LORA_LORA_H
#define LORA_LORA_H

#include "abi.h"
#include "status.h"
#include "context.h"
#include "types.h"
#include "tokenizer.h"
#include "model.h"
#include "adapter.h"
#include "dataset.h"
#include "check.h"
#include "diagnose.h"
#include "trainer.h"
#include "session.h"
#include "metrics.h"
#include "evaluate.h"
#include "compare.h"
#include "ab.h"
#include "report.h"

#endif
