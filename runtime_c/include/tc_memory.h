/* memcpy and memset, also where the toolchain ships no C library headers (the compiler needs the functions anyway). */
#ifndef TC_MEMORY_H
#define TC_MEMORY_H

#if defined(__has_include)
#if __has_include(<string.h>)
#include <string.h>
#define TC_HAS_STRING_H 1
#endif
#else
#include <string.h>
#define TC_HAS_STRING_H 1
#endif

#ifndef TC_HAS_STRING_H
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
#endif

#endif
