// What the server is and has: /api/state, /api/options, the page itself and the tutorials.
#ifndef SERVE_STATE_H
#define SERVE_STATE_H

#include "http.h"

void page_index(request *r);
void page_asset(request *r);
void state_get(request *r);
void options_get(request *r);
void tutorials_list(request *r);
void tutorial_get(request *r);

#endif
