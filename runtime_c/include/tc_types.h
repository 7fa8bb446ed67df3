/* Shared types and attributes of the generated code. C99, and C++ for the public header. */
#ifndef TC_TYPES_H
#define TC_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define TC_ALIGN(bytes) __attribute__((aligned(bytes)))
/* Kernel bodies are inlined into instances whose shapes are constants, so that the compiler specialises them. */
#define TC_INLINE static inline __attribute__((always_inline, unused))
#define TC_NOINLINE __attribute__((noinline))
#else
#define TC_ALIGN(bytes)
#define TC_INLINE static inline
#define TC_NOINLINE
#endif

/* In front of a loop over kernel taps, a small constant number: unrolled also by GCC at -O2. Clang does it unasked. */
#if defined(__GNUC__) && !defined(__clang__)
#define TC_UNROLL _Pragma("GCC unroll 8")
#else
#define TC_UNROLL
#endif

#endif
