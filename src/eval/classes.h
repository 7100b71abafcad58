// Figures that follow from counts of classes.
#ifndef LR_CLASSES_H
#define LR_CLASSES_H

#include <lora/metrics.h>

// counts [3, classes]: rows that were right, rows of the class, rows said to be of it.
lora_class_score lr_score_class(const double *counts, size_t classes, size_t class);
lora_classification lr_summarise_counts(const double *counts, size_t classes);

#endif
