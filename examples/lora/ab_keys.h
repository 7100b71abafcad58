// Judging a blind test by keys, on a terminal or from standard input.
#ifndef AB_KEYS_H
#define AB_KEYS_H

#include "app.h"

// Shows pair after pair until the judge has seen all, presses q, or the input ends; `path` is written after every
// verdict.
int judge_by_keys(const application *app, lora_ab *test, const char *judge, const char *path);

#endif
