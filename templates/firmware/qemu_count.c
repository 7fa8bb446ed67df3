/* QEMU TCG plugin: prints the instructions executed from each passing of address `begin` to the next of `end`, and how
   many they were so far whenever one of the addresses `step` is passed.
   Declares the few functions of the plugin interface that it uses, alike in versions 1 (QEMU 4.2 to 8) and 2 (from 9):
   Debian ships no header for them. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct plugin_tb;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct plugin_tb *tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct plugin_tb *tb);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct plugin_tb *tb, void (*callback)(unsigned, void *), int flags,
                                                 void *data);
extern void qemu_plugin_outs(const char *text);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = PLUGIN_INTERFACE;

static uint64_t executed;
static uint64_t at_begin;
static uint64_t begin_address;
static uint64_t end_address;

enum { MOST_STEPS = 4096 };
static uint64_t step_addresses[MOST_STEPS];
static size_t steps;

static void on_block(unsigned cpu, void *instructions)
{
    (void)cpu;
    executed += (uintptr_t)instructions;
}

/* Both marks are function entries, so each starts a block, of equal length. Their own blocks are added first: begin's is
   not counted, end's is. */
static void on_begin(unsigned cpu, void *instructions)
{
    on_block(cpu, instructions);
    at_begin = executed;
}

static void on_end(unsigned cpu, void *instructions)
{
    on_block(cpu, instructions);
    char line[64];
    snprintf(line, sizeof line, "instructions %" PRIu64 "\n", executed - at_begin);
    qemu_plugin_outs(line);
}

/* A step is the entry of a function; its own block belongs to it. */
static void on_step(unsigned cpu, void *data)
{
    const uint64_t *const step = data; /* its address, and the instructions of its block */
    char line[64];
    snprintf(line, sizeof line, "step %" PRIu64 " at %" PRIu64 "\n", step[0], executed - at_begin);
    qemu_plugin_outs(line);
    on_block(cpu, (void *)(uintptr_t)step[1]);
}

static void translated(plugin_id id, struct plugin_tb *tb)
{
    (void)id;
    const uint64_t address = qemu_plugin_tb_vaddr(tb);
    for (size_t k = 0; k < steps; ++k) {
        uint64_t *const step = address == step_addresses[k] ? malloc(2 * sizeof *step) : NULL;
        if (step != NULL) {
            step[0] = address;
            step[1] = qemu_plugin_tb_n_insns(tb);
            qemu_plugin_register_vcpu_tb_exec_cb(tb, on_step, 0, step);
            return;
        }
    }
    void (*const callback)(unsigned, void *) =
        address == begin_address ? on_begin : address == end_address ? on_end : on_block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, callback, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "begin=", 6) == 0) {
            begin_address = strtoull(argv[i] + 6, NULL, 0);
        } else if (strncmp(argv[i], "end=", 4) == 0) {
            end_address = strtoull(argv[i] + 4, NULL, 0);
        } else if (strncmp(argv[i], "step=", 5) == 0 && steps < MOST_STEPS) {
            step_addresses[steps++] = strtoull(argv[i] + 5, NULL, 0);
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
