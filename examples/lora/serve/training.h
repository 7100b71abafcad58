// A training's settings as they come over the network: those of the program's options, and names of the workspace.
#ifndef SERVE_TRAINING_H
#define SERVE_TRAINING_H

#include "../general.h"
#include "../train_settings.h"
#include "jobs.h"

typedef struct training {
    train_settings settings;
    train_plan plan;
    json_t *texts; // that the settings point to
} training;

// EXIT_DONE; EXIT_USAGE after complain(). Keys of the server's own ("dataset", "adapter", ...) are left to the caller.
int training_read(const application *app, const json_t *settings, training *out);
void training_free(training *t);
// The rows to learn ("dataset") and those held out ("validation": a data set or a share; not given: `share`, 0 for
// none, which is NULL). Free both.
lora_status training_data(const server *s, lora_context *context, const lora_model *model, const json_t *settings,
                          const train_plan *plan, double share, lora_dataset **data, lora_dataset **validation);
bool check_validation(request *r,
                      const json_t *settings); // "validation" is a data set that is there, a share, or not given
// For checks: answers and returns false when the settings make no sense.
bool check_training(request *r, const json_t *settings);

void plan_post(request *r);

#endif
