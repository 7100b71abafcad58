// Who may ask: Host (against DNS rebinding), Origin (against other sites' pages), and the token.
#ifndef SERVE_ACCESS_H
#define SERVE_ACCESS_H

#include "http.h"

// Answers 400, 401 or 403 and returns false for whom it is not meant.
bool may_ask(request *r, const char *method);
// Draws a token into `text`; false when the system gives no randomness.
bool draw_token(char *text, size_t length);
// `host` reaches no further than this computer.
bool is_loopback(const char *host);

#endif
