#include "eval_settings.h"

void eval_settings_init(eval_settings *settings)
{
    *settings = (eval_settings){.max_new_tokens = 256, .max_length = 512};
}

int make_eval_plan(const application *app, const eval_settings *s, eval_plan *plan)
{
    static const char *const cuts[] = {"latin", "characters", "spaces", NULL}; // LORA_WORDS_
    static const char *const ways[] = {"answer", "likelihood", NULL};          // behind LORA_CLASSIFY_NONE
    lora_evaluation_options *o = &plan->evaluation;
    lora_dataset_options_init(&plan->dataset);
    lora_generate_options_init(&plan->generation);
    lora_resampling_init(&plan->resampling);
    lora_evaluation_options_init(o);
    plan->dataset.max_length = (int32_t)s->max_length;
    plan->dataset.max_rows = (int32_t)s->max_rows;
    plan->dataset.train_on_prompt = s->train_on_prompt;
    plan->dataset.template_source = s->template_source;
    plan->generation.max_new_tokens = (int32_t)s->max_new_tokens;
    plan->generation.temperature = (float)s->temperature;
    plan->generation.seed = plan->resampling.seed = (uint64_t)app->seed;
    o->generation = &plan->generation;
    o->resampling = &plan->resampling;
    o->metrics = s->metrics.items;
    o->metric_count = s->metrics.count;
    o->labels = s->labels.items;
    o->label_count = s->labels.count;
    o->bleu_tokenizer = s->tokenizer;
    o->stem = s->stem;
    int status = s->words ? choose(app, "words", s->words, cuts, &o->words) : EXIT_DONE;
    if (status != EXIT_DONE || !s->classify) return status;
    status = choose(app, "classify", s->classify, ways, &o->classify);
    o->classify += LORA_CLASSIFY_BY_ANSWER;
    return status;
}
