// Merged models to take away: a directory or a .gguf file each.
#ifndef SERVE_EXPORTS_H
#define SERVE_EXPORTS_H

#include "http.h"

json_t *exports_list(server *s);
void export_download(request *r);
void export_delete(request *r);

#endif
