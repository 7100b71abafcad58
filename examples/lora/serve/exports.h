// Merged models to take away: a directory or a .gguf file each.
#ifndef SERVE_EXPORTS_H
#define SERVE_EXPORTS_H

#include "http.h"

json_t *exports_list(server *s);
char *export_path(const server *s, const char *name); // free with free()
void export_download(request *r);
void export_delete(request *r);

#endif
