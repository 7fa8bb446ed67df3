/* QEMU TCG plugin: prints the instructions executed from each passing of address `begin` to the next of `end`.
   Declares the few functions of plugin API version 1 that it uses; Debian ships no header for them. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct plugin_tb;
struct plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct plugin_tb *tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct plugin_tb *tb);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct plugin_tb *tb, void (*callback)(unsigned, void *), int flags,
                                                 void *data);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct plugin_tb *tb, int operation, void *target, uint64_t value);
extern void qemu_plugin_outs(const char *text);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

static uint64_t executed;
static uint64_t at_begin;
static uint64_t begin_address;
static uint64_t end_address;

/* Both marks are function entries, so each starts a block. The count is added when a block starts; the callbacks run
   before their own block's addition (they are registered first). */
static void on_begin(unsigned cpu, void *data)
{
    (void)cpu;
    (void)data;
    at_begin = executed;
}

static void on_end(unsigned cpu, void *data)
{
    (void)cpu;
    (void)data;
    char line[64];
    snprintf(line, sizeof line, "instructions %" PRIu64 "\n", executed - at_begin);
    qemu_plugin_outs(line);
}

static void translated(plugin_id id, struct plugin_tb *tb)
{
    (void)id;
    const uint64_t address = qemu_plugin_tb_vaddr(tb);
    if (address == begin_address) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_begin, 0, NULL);
    }
    if (address == end_address) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_end, 0, NULL);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &executed, qemu_plugin_tb_n_insns(tb));
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "begin=", 6) == 0) {
            begin_address = strtoull(argv[i] + 6, NULL, 0);
        } else if (strncmp(argv[i], "end=", 4) == 0) {
            end_address = strtoull(argv[i] + 4, NULL, 0);
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
