// Renders templates for the tests: reads a JSON array of {"template", "variables"} and writes one of {"status", "text",
// "message"} in the same order.
#include "lib/error.h"
#include "lib/jinja.h"

#include <stdio.h>
#include <string.h>

static json_t *render_one(const json_t *job)
{
    lr_jinja *jinja = NULL;
    lr_bytes out;
    const json_t *source = json_object_get(job, "template");
    lr_bytes_init(&out, &lr_system_allocator, (size_t)1 << 26);
    lora_status status = lr_jinja_compile(&lr_system_allocator, "template", json_string_value(source),
                                          json_string_length(source), &jinja);
    if (status == LORA_OK) status = lr_jinja_render(jinja, json_object_get(job, "variables"), &out);
    json_t *result =
        json_pack("{s:i, s:s, s:o}", "status", (int)status, "message", status == LORA_OK ? "" : lr_error_text(), "text",
                  json_stringn(out.data ? out.data : "", out.size));
    lr_bytes_free(&out);
    lr_jinja_free(jinja);
    return result;
}

int main(void)
{
    json_error_t error;
    json_t *jobs = json_loadf(stdin, JSON_ALLOW_NUL, &error), *results = json_array();
    if (!json_is_array(jobs)) {
        fprintf(stderr, "standard input is no JSON array: %s\n", error.text);
        return 2;
    }
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        json_t *result = render_one(json_array_get(jobs, i));
        if (!result) {
            fprintf(stderr, "case %zu: the text is not UTF-8\n", i);
            return 1;
        }
        json_array_append_new(results, result);
    }
    json_dumpf(results, stdout, JSON_COMPACT);
    json_decref(results);
    json_decref(jobs);
    return 0;
}
