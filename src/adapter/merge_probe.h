// How far a merged model is from its base with the adapters attached: log-probabilities of the next token on fixed ids.
#ifndef LR_MERGE_PROBE_H
#define LR_MERGE_PROBE_H

#include "src/model/pass.h"

// Fills probe_max_difference and probe_mean_divergence.
lora_status lr_merge_probe(const lr_binding *attached, const lora_model *merged, lora_merge_report *report);

#endif
