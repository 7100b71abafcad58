/** @file abi.h
 *  The binary interface: its number, and how a symbol is exported.
 *
 *  The ABI number is the SONAME's and moves only when a program built against an older header would break. It is
 *  not the release number. What may change without moving it: new functions, new fields at the end of an option
 *  struct (every such struct begins with its size), new status codes inside a group.
 */
#ifndef LORA_ABI_H
#define LORA_ABI_H

#include <stddef.h>
#include <stdint.h>

#define LORA_ABI_VERSION 0
#define LORA_VERSION_MAJOR 0
#define LORA_VERSION_MINOR 1
#define LORA_VERSION_PATCH 0

#if defined(_WIN32)
#define LORA_API __declspec(dllexport)
#else
#define LORA_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define LORA_BEGIN_DECLS extern "C" {
#define LORA_END_DECLS }
#else
#define LORA_BEGIN_DECLS
#define LORA_END_DECLS
#endif

LORA_BEGIN_DECLS

/** The ABI number of the library that is running; compare with LORA_ABI_VERSION. */
LORA_API uint32_t lora_abi_version(void);

/** The release as text, for example "0.1.0". Static; never NULL. */
LORA_API const char *lora_version(void);

LORA_END_DECLS
#endif
