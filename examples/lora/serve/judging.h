// Judging a blind test: a file each, read and written whole at every verdict.
#ifndef SERVE_JUDGING_H
#define SERVE_JUDGING_H

#include "http.h"

void ab_next(request *r);
void ab_verdict(request *r);
void ab_undo(request *r);
void ab_result(request *r);
void ab_judge_file(request *r);
void ab_add_judges(request *r);

#endif
