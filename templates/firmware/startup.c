/* Start-up for Cortex-M and RV32: vector table, memory initialisation, FPU, the memory functions that compilers rely on. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t tc_data[], tc_data_end[], tc_data_load[], tc_bss[], tc_bss_end[], tc_stack_high[];

int main(void);
void tc_start(void);
void tc_fault(void);
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((((uintptr_t)d | (uintptr_t)s) & 3u) == 0u) {
        for (; n >= 4u; n -= 4u, d += 4, s += 4) {
            *(uint32_t *)(void *)d = *(const uint32_t *)(const void *)s;
        }
    }
    while (n-- > 0u) {
        *d++ = *s++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if (d <= s || d >= s + n) {
        return memcpy(to, from, n);
    }
    while (n-- > 0u) {
        d[n] = s[n];
    }
    return to;
}

void *memset(void *to, int value, size_t n)
{
    uint8_t *d = to;
    while (n-- > 0u) {
        *d++ = (uint8_t)value;
    }
    return to;
}

__attribute__((used)) void tc_start(void)
{
    const uint32_t *from = tc_data_load;
    for (uint32_t *to = tc_data; to < tc_data_end; ++to) {
        *to = *from++;
    }
    for (uint32_t *to = tc_bss; to < tc_bss_end; ++to) {
        *to = 0u;
    }
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to the floating-point unit */
    __asm volatile("dsb\n isb");
#endif
    (void)main();
    for (;;) {
    }
}

#if defined(__riscv)
__attribute__((naked, used, section(".vectors"))) void tc_reset(void)
{
    __asm volatile("la sp, tc_stack_high\n call tc_start");
}
#else
__attribute__((naked, used)) void tc_reset(void)
{
    __asm volatile("ldr r0, =tc_stack_high\n mov sp, r0\n bl tc_start");
}

/* Initial stack pointer, reset, then faults. */
__attribute__((used, section(".vectors"))) const void *const tc_vectors[16] = {
    tc_stack_high, (const void *)tc_reset, (const void *)tc_fault, (const void *)tc_fault,
    (const void *)tc_fault, (const void *)tc_fault, (const void *)tc_fault, (const void *)tc_fault,
    NULL, NULL, NULL, (const void *)tc_fault, (const void *)tc_fault, NULL, (const void *)tc_fault, (const void *)tc_fault};
#endif
