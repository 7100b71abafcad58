// Zip files in and out.
#ifndef SERVE_ZIP_H
#define SERVE_ZIP_H

#include "http.h"

// A directory as a zip download called `name`.
void answer_directory(request *r, const char *path, const char *name);
// Unpacks a zip of plain files into the new directory `to`; the files of its only folder come up. Answers 400, 413 or
// 422 and returns false when it is no zip, has paths that lead elsewhere, links, or is too large.
bool unpack_zip(request *r, const char *zip, const char *to);

#endif
