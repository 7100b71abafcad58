// Data sets of the workspace: a file of JSON lines each.
#ifndef SERVE_DATASETS_H
#define SERVE_DATASETS_H

#include "http.h"

json_t *datasets_list(server *s);
char *dataset_path(const server *s, const char *name); // free with free()
// For handlers that need a data set: answers 404 when it is not there.
bool dataset_is_there(request *r, const char *name);
// 409 when the name is taken.
bool dataset_is_free(request *r, const char *name);

void dataset_get(request *r);
void dataset_put(request *r);
void dataset_delete(request *r);
void dataset_download(request *r);
void dataset_add_rows(request *r);
void dataset_put_row(request *r);
void dataset_delete_row(request *r);
void dataset_split(request *r);
void dataset_check(request *r); // dataset_check.c
void dataset_fix(request *r);

#endif
