/* proc_sample.h - what /proc says about this machine, as numbers.
 *
 * Purpose    Texts of /proc in, one struct out; two structs in, one JSON object out.
 * Invariant  A parser sets its part of the sample only if it understood all that it needs; text
 *            that is cut, foreign or hostile is a failure or is skipped line by line, never a
 *            read past its end.
 * Threads    No state.
 * Errors     TS_E_PARAM, the text names the file. The sample is untouched.
 * Units      In the names. Processor times are in the kernel's ticks: only their ratios are used.
 * Source     proc(5); Documentation/admin-guide/iostats.rst for diskstats.
 */
#ifndef CLI_PROC_SAMPLE_H
#define CLI_PROC_SAMPLE_H

#include "common/error.h"
#include "common/text.h"

#include <stddef.h>
#include <stdint.h>

enum proc_cpu_mode {
    PROC_CPU_USER,
    PROC_CPU_NICE,
    PROC_CPU_SYSTEM,
    PROC_CPU_IDLE,
    PROC_CPU_IOWAIT,
    PROC_CPU_IRQ,
    PROC_CPU_SOFTIRQ,
    PROC_CPU_STEAL,
    PROC_N_CPU_MODES
};

struct proc_sample {
    int64_t monotonic_ns; /* when it was taken */

    uint64_t cpu_ticks[PROC_N_CPU_MODES];
    uint64_t n_cpus;

    uint64_t memory_total_bytes, memory_free_bytes, memory_available_bytes, memory_cached_bytes;
    uint64_t swap_total_bytes, swap_free_bytes;

    double load_1m, load_5m, load_15m;
    uint64_t n_running, n_threads;

    uint64_t disk_reads, disk_writes, disk_read_bytes, disk_written_bytes, disk_busy_ms;

    uint64_t net_received_bytes, net_received_packets, net_sent_bytes, net_sent_packets;
    uint64_t net_errors; /* and drops, both ways */

    double uptime_s;
};

/* One file each: /proc/stat, meminfo, loadavg, diskstats, net/dev, uptime. */
enum ts_err proc_parse_stat(const char *text, size_t bytes, struct proc_sample *out) TS_MUST_USE;
enum ts_err proc_parse_meminfo(const char *text, size_t bytes, struct proc_sample *out) TS_MUST_USE;
enum ts_err proc_parse_loadavg(const char *text, size_t bytes, struct proc_sample *out) TS_MUST_USE;
enum ts_err proc_parse_uptime(const char *text, size_t bytes, struct proc_sample *out) TS_MUST_USE;

/* Sums whole disks: partitions, and devices that stand on others (loop, dm, md, …), would count
 * the same bytes twice. A machine without any has zeros. */
enum ts_err proc_parse_diskstats(const char *text, size_t bytes,
                                 struct proc_sample *out) TS_MUST_USE;

/* Sums the interfaces to the outside: not the loopback, nor what containers and virtual machines
 * hang on. */
enum ts_err proc_parse_net_dev(const char *text, size_t bytes, struct proc_sample *out) TS_MUST_USE;

/* Reads all six files below `proc_dir` ("/proc"). Disks and network may be missing (containers),
 * the others not: TS_E_IO. */
enum ts_err proc_sample_take(const char *proc_dir, struct proc_sample *out) TS_MUST_USE;

/* Appends one flat JSON object: levels of `now`, and what happened since `before` per second. A
 * counter that went backwards (a device left) counts as nothing. */
void proc_sample_json(const struct proc_sample *before, const struct proc_sample *now,
                      struct ts_text *out);

#endif
