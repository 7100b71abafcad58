// Every address of the server.
#include "conversations.h"
#include "datasets.h"
#include "exports.h"
#include "jobs.h"
#include "judging.h"
#include "openai.h"
#include "shelf.h"
#include "state.h"
#include "training.h"

#define MB ((size_t)1 << 20)

const route routes[] = {
    {"GET", "", page_index, BODY_NONE, 0},
    {"GET", "assets/*", page_asset, BODY_NONE, 0},
    {"POST", "v1/chat/completions", chat_completions, BODY_JSON, 4 * MB},
    {"POST", "v1/completions", completions, BODY_JSON, 4 * MB},
    {"GET", "v1/models", models_list, BODY_NONE, 0},
    {"GET", "v1/models/*", models_get, BODY_NONE, 0},
    {"GET", "api/state", state_get, BODY_NONE, 0},
    {"GET", "api/options", options_get, BODY_NONE, 0},
    {"GET", "api/tutorials", tutorials_list, BODY_NONE, 0},
    {"GET", "api/tutorials/*", tutorial_get, BODY_NONE, 0},
    {"GET", "api/datasets/*", dataset_get, BODY_NONE, 0},
    {"PUT", "api/datasets/*", dataset_put, BODY_FILE, 64 * MB},
    {"DELETE", "api/datasets/*", dataset_delete, BODY_NONE, 0},
    {"GET", "api/datasets/*/download", dataset_download, BODY_NONE, 0},
    {"POST", "api/datasets/*/rows", dataset_add_rows, BODY_JSON, 16 * MB},
    {"PUT", "api/datasets/*/rows/#", dataset_put_row, BODY_JSON, 4 * MB},
    {"DELETE", "api/datasets/*/rows/#", dataset_delete_row, BODY_NONE, 0},
    {"POST", "api/datasets/*/check", dataset_check, BODY_JSON, 65536},
    {"POST", "api/datasets/*/fix", dataset_fix, BODY_JSON, 65536},
    {"POST", "api/datasets/*/split", dataset_split, BODY_JSON, 65536},
    {"POST", "api/adapters/*/load", adapter_load, BODY_JSON, 65536},
    {"POST", "api/adapters/*/unload", adapter_unload, BODY_JSON, 65536},
    {"GET", "api/adapters/*/download", adapter_download, BODY_NONE, 0},
    {"PUT", "api/adapters/*", adapter_upload, BODY_FILE, 1024 * MB},
    {"DELETE", "api/adapters/*", adapter_delete, BODY_NONE, 0},
    {"POST", "api/plan", plan_post, BODY_JSON, MB},
    {"POST", "api/jobs", jobs_post, BODY_JSON, MB},
    {"GET", "api/jobs/*", job_get, BODY_NONE, 0},
    {"DELETE", "api/jobs/*", job_delete, BODY_NONE, 0},
    {"GET", "api/jobs/*/events", job_events, BODY_NONE, 0},
    {"GET", "api/jobs/*/report", job_report, BODY_NONE, 0},
    {"GET", "api/jobs/*/log", job_log, BODY_NONE, 0},
    {"POST", "api/jobs/*/stop", job_stop, BODY_JSON, 65536},
    {"POST", "api/jobs/*/resume", job_resume, BODY_JSON, 65536},
    {"PUT", "api/jobs/*/checklist/#", job_checklist, BODY_JSON, 65536},
    {"GET", "api/ab/*/next", ab_next, BODY_NONE, 0},
    {"POST", "api/ab/*/verdicts", ab_verdict, BODY_JSON, 65536},
    {"POST", "api/ab/*/undo", ab_undo, BODY_JSON, 65536},
    {"GET", "api/ab/*/result", ab_result, BODY_NONE, 0},
    {"GET", "api/ab/*/judges/~", ab_judge_file, BODY_NONE, 0},
    {"POST", "api/ab/*/judges", ab_add_judges, BODY_JSON, 64 * MB},
    {"GET", "api/exports/*/download", export_download, BODY_NONE, 0},
    {"DELETE", "api/exports/*", export_delete, BODY_NONE, 0},
    {"GET", "api/conversations", conversations_list, BODY_NONE, 0},
    {"GET", "api/conversations/*", conversation_get, BODY_NONE, 0},
    {"PUT", "api/conversations/*", conversation_put, BODY_JSON, 16 * MB},
    {"DELETE", "api/conversations/*", conversation_delete, BODY_NONE, 0},
    {0},
};
