// Conversations that the page keeps: a file each.
#ifndef SERVE_CONVERSATIONS_H
#define SERVE_CONVERSATIONS_H

#include "http.h"

void conversations_list(request *r);
void conversation_get(request *r);
void conversation_put(request *r);
void conversation_delete(request *r);

#endif
