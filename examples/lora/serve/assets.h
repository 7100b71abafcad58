// The page's files and the tutorials, made part of the program by embed.py.
#ifndef SERVE_ASSETS_H
#define SERVE_ASSETS_H

#include <stddef.h>

typedef struct asset {
    const char *path, *type, *tag; // "app.js", its content type, an ETag with its quotes
    const unsigned char *bytes;    // gzip
    size_t packed, length;         // bytes as they are here, and unpacked
} asset;

typedef struct tutorial {
    const char *id, *title_en, *title_zh, *html_en, *html_zh;
} tutorial;

extern const asset assets[];       // ended by one without a path
extern const tutorial tutorials[]; // ended by one without an id

#endif
