// The adapters that the server knows: those of the command line and those of the workspace, each loaded when it is
// first needed.
#ifndef SERVE_SHELF_H
#define SERVE_SHELF_H

#include "http.h"

typedef struct shelf shelf;
typedef struct held_adapter held_adapter; // a loaded adapter in somebody's use

shelf *shelf_open(server *s, int *status); // NULL after complaining; *status is then the exit status
void shelf_close(shelf *shelf);

// An adapter for use, loaded if it is not; it stays in memory until it is given back. NOT_FOUND: no such name.
lora_status shelf_take(shelf *shelf, const char *name, held_adapter **out);
const lora_adapter *held(const held_adapter *adapter);
void shelf_give_back(held_adapter *adapter); // NULL is fine

bool shelf_has(shelf *shelf, const char *name);
char *shelf_path(shelf *shelf, const char *name); // its directory; NULL: no such name. Free with free()
json_t *shelf_list(shelf *shelf);                 // as /api/state has it
void shelf_look_again(shelf *shelf);              // after something was put into the workspace

void adapter_load(request *r);
void adapter_unload(request *r);
void adapter_delete(request *r);
void adapter_download(request *r);
void adapter_upload(request *r);

#endif
