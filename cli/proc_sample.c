/* proc_sample.c - /proc to numbers to JSON. */
#include "cli/proc_sample.h"

#include "cli/arguments.h"
#include "cli/when.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES (256 * 1024) /* /proc/stat of a large machine is some 40 KiB */
#define MAX_DEVICE_BYTES 64
#define SECTOR_BYTES 512 /* of diskstats, whatever the disk has */

/* What is left of a text. Everything below takes from its front. */
struct scan {
    const char *at, *end;
};

static bool
next_line(struct scan *text, struct scan *out_line)
{
    const char *newline;

    if (text->at == text->end)
        return false;
    newline = memchr(text->at, '\n', (size_t)(text->end - text->at));
    out_line->at = text->at;
    out_line->end = newline != NULL ? newline : text->end;
    text->at = newline != NULL ? newline + 1 : text->end;
    return true;
}

static void
skip_blanks(struct scan *line)
{
    while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
        line->at++;
}

/* The next word, of non-blanks. */
static bool
next_word(struct scan *line, struct scan *out_word)
{
    skip_blanks(line);
    out_word->at = line->at;
    while (line->at < line->end && *line->at != ' ' && *line->at != '\t')
        line->at++;
    out_word->end = line->at;
    return out_word->at < out_word->end;
}

/* The next word, which must be nothing but digits and fit. */
static bool
next_u64(struct scan *line, uint64_t *out_value)
{
    struct scan word;
    uint64_t value = 0;

    if (!next_word(line, &word))
        return false;
    for (; word.at < word.end; word.at++) {
        const unsigned digit = (unsigned char)*word.at - (unsigned)'0';

        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out_value = value;
    return true;
}

/* The next word as a decimal with at most nine digits behind the point. strtod() would need a NUL
 * behind it and would take "inf", "nan" and hexadecimal. */
static bool
next_decimal(struct scan *line, double *out_value)
{
    struct scan word, whole;
    uint64_t integer, fraction = 0, scale = 1;

    if (!next_word(line, &word))
        return false;
    whole = word;
    whole.end = memchr(word.at, '.', (size_t)(word.end - word.at));
    if (whole.end == NULL)
        whole.end = word.end;
    if (!next_u64(&whole, &integer))
        return false;
    for (const char *at = whole.end < word.end ? whole.end + 1 : word.end; at < word.end; at++) {
        if (*at < '0' || *at > '9' || scale >= 1000000000u)
            return false;
        fraction = fraction * 10 + (uint64_t)(*at - '0');
        scale *= 10;
    }
    *out_value = (double)integer + (double)fraction / (double)scale;
    return true;
}

static bool
starts_with(struct scan text, const char *prefix)
{
    const size_t bytes = strlen(prefix);

    return (size_t)(text.end - text.at) >= bytes && memcmp(text.at, prefix, bytes) == 0;
}

static bool
starts_with_any(struct scan text, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (starts_with(text, prefixes[i]))
            return true;
    }
    return false;
}

enum ts_err
proc_parse_stat(const char *text, size_t bytes, struct proc_sample *out)
{
    struct scan rest = {text, text + bytes}, line, word;
    uint64_t ticks[PROC_N_CPU_MODES] = {0}, n_cpus = 0;
    bool has_total = false;

    while (next_line(&rest, &line) && next_word(&line, &word) && starts_with(word, "cpu")) {
        if (word.end - word.at > 3) {
            n_cpus++;
            continue;
        }
        /* Kernels add modes at the end; the first four were always there. */
        for (size_t i = 0; i < PROC_N_CPU_MODES; i++) {
            if (!next_u64(&line, &ticks[i])) {
                if (i <= PROC_CPU_IDLE || line.at < line.end)
                    return TS_FAIL(TS_E_PARAM, "stat: cpu line has no number at field %zu", i + 1);
                break;
            }
        }
        has_total = true;
    }
    if (!has_total)
        return TS_FAIL(TS_E_PARAM, "stat: no cpu line");
    memcpy(out->cpu_ticks, ticks, sizeof ticks);
    out->n_cpus = n_cpus;
    return TS_OK;
}

enum ts_err
proc_parse_meminfo(const char *text, size_t bytes, struct proc_sample *out)
{
    struct proc_sample got = *out;
    const struct {
        const char *name;
        uint64_t *field;
    } rows[] = {
        {"MemTotal:", &got.memory_total_bytes},         {"MemFree:", &got.memory_free_bytes},
        {"MemAvailable:", &got.memory_available_bytes}, {"Cached:", &got.memory_cached_bytes},
        {"SwapTotal:", &got.swap_total_bytes},          {"SwapFree:", &got.swap_free_bytes},
    };
    struct scan rest = {text, text + bytes}, line, word;
    bool has_total = false;

    while (next_line(&rest, &line) && next_word(&line, &word)) {
        for (size_t i = 0; i < COUNTOF(rows); i++) {
            uint64_t kib;

            if ((size_t)(word.end - word.at) != strlen(rows[i].name) ||
                !starts_with(word, rows[i].name))
                continue;
            if (!next_u64(&line, &kib) || __builtin_mul_overflow(kib, 1024u, rows[i].field))
                return TS_FAIL(TS_E_PARAM, "meminfo: no number behind %s", rows[i].name);
            has_total = has_total || i == 0;
        }
    }
    /* Containers may hide lines; without a total it is no meminfo. */
    if (!has_total)
        return TS_FAIL(TS_E_PARAM, "meminfo: no MemTotal");
    *out = got;
    return TS_OK;
}

enum ts_err
proc_parse_loadavg(const char *text, size_t bytes, struct proc_sample *out)
{
    struct scan rest = {text, text + bytes}, line, tasks, running;
    double load[3];
    uint64_t n_running, n_threads;

    if (!next_line(&rest, &line) || !next_decimal(&line, &load[0]) ||
        !next_decimal(&line, &load[1]) || !next_decimal(&line, &load[2]) ||
        !next_word(&line, &tasks))
        return TS_FAIL(TS_E_PARAM, "loadavg: three averages expected");
    running = tasks;
    running.end = memchr(tasks.at, '/', (size_t)(tasks.end - tasks.at));
    if (running.end == NULL)
        return TS_FAIL(TS_E_PARAM, "loadavg: running/threads expected");
    tasks.at = running.end + 1;
    if (!next_u64(&running, &n_running) || !next_u64(&tasks, &n_threads))
        return TS_FAIL(TS_E_PARAM, "loadavg: running/threads expected");
    out->load_1m = load[0];
    out->load_5m = load[1];
    out->load_15m = load[2];
    out->n_running = n_running;
    out->n_threads = n_threads;
    return TS_OK;
}

enum ts_err
proc_parse_uptime(const char *text, size_t bytes, struct proc_sample *out)
{
    struct scan rest = {text, text + bytes}, line;
    double uptime_s;

    if (!next_line(&rest, &line) || !next_decimal(&line, &uptime_s))
        return TS_FAIL(TS_E_PARAM, "uptime: a number of seconds expected");
    out->uptime_s = uptime_s;
    return TS_OK;
}

/* True if `name` is the disk `disk` with a partition's number behind it: sda1, nvme0n1p2. */
static bool
is_partition_of(struct scan name, struct scan disk)
{
    const size_t disk_bytes = (size_t)(disk.end - disk.at);

    if (disk_bytes == 0 || (size_t)(name.end - name.at) <= disk_bytes ||
        memcmp(name.at, disk.at, disk_bytes) != 0)
        return false;
    name.at += disk_bytes;
    if (*name.at == 'p' && name.end - name.at > 1)
        name.at++;
    for (; name.at < name.end; name.at++) {
        if (*name.at < '0' || *name.at > '9')
            return false;
    }
    return true;
}

/* The counters of one line that are wanted, in the kernel's order: reads, merged, sectors, ms,
 * writes, merged, sectors, ms, in flight, busy ms. */
static bool
add_disk(struct scan *line, struct proc_sample *sum)
{
    uint64_t field[10], read_bytes, written_bytes;

    for (size_t i = 0; i < COUNTOF(field); i++) {
        if (!next_u64(line, &field[i]))
            return false;
    }
    if (__builtin_mul_overflow(field[2], SECTOR_BYTES, &read_bytes) ||
        __builtin_mul_overflow(field[6], SECTOR_BYTES, &written_bytes))
        return false;
    sum->disk_reads += field[0];
    sum->disk_writes += field[4];
    sum->disk_read_bytes += read_bytes;
    sum->disk_written_bytes += written_bytes;
    sum->disk_busy_ms += field[9];
    return true;
}

enum ts_err
proc_parse_diskstats(const char *text, size_t bytes, struct proc_sample *out)
{
    static const char *const stacked[] = {"loop", "ram", "zram", "dm-", "md", "sr", "fd", "drbd"};
    struct scan rest = {text, text + bytes}, line, name, disk = {text, text};
    struct proc_sample sum = *out;

    sum.disk_reads = sum.disk_writes = sum.disk_read_bytes = 0;
    sum.disk_written_bytes = sum.disk_busy_ms = 0;
    while (next_line(&rest, &line)) {
        uint64_t major, minor;

        if (!next_u64(&line, &major) || !next_u64(&line, &minor) || !next_word(&line, &name))
            return TS_FAIL(TS_E_PARAM, "diskstats: major, minor and name expected");
        if (starts_with_any(name, stacked, COUNTOF(stacked)) || is_partition_of(name, disk))
            continue;
        disk = name; /* its partitions follow */
        if (!add_disk(&line, &sum))
            return TS_FAIL(TS_E_PARAM, "diskstats: ten counters expected");
    }
    *out = sum;
    return TS_OK;
}

/* Received: bytes packets errs drop fifo frame compressed multicast; sent: the same eight. */
static bool
add_interface(struct scan *line, struct proc_sample *sum)
{
    uint64_t field[12];

    for (size_t i = 0; i < COUNTOF(field); i++) {
        if (!next_u64(line, &field[i]))
            return false;
    }
    sum->net_received_bytes += field[0];
    sum->net_received_packets += field[1];
    sum->net_sent_bytes += field[8];
    sum->net_sent_packets += field[9];
    sum->net_errors += field[2] + field[3] + field[10] + field[11];
    return true;
}

enum ts_err
proc_parse_net_dev(const char *text, size_t bytes, struct proc_sample *out)
{
    static const char *const inner[] = {"lo:", "veth", "docker", "br-", "virbr", "tap", "ifb"};
    struct scan rest = {text, text + bytes}, line;
    struct proc_sample sum = *out;

    sum.net_received_bytes = sum.net_received_packets = 0;
    sum.net_sent_bytes = sum.net_sent_packets = sum.net_errors = 0;
    while (next_line(&rest, &line)) {
        const char *colon = memchr(line.at, ':', (size_t)(line.end - line.at));

        skip_blanks(&line);
        /* Two lines of heading have no colon. An alias, "eth0:1:", ends at the last one. */
        if (colon == NULL || starts_with_any(line, inner, COUNTOF(inner)))
            continue;
        line.at = (const char *)memrchr(line.at, ':', (size_t)(line.end - line.at)) + 1;
        if (!add_interface(&line, &sum))
            return TS_FAIL(TS_E_PARAM, "net/dev: twelve counters expected");
    }
    *out = sum;
    return TS_OK;
}

/* Reads one file of /proc into buffer; a longer one is cut at its last whole line. */
static enum ts_err
read_file(const char *proc_dir, const char *name, char *buffer, size_t *out_bytes)
{
    char path[512];
    size_t bytes = 0;
    ssize_t got = -1;
    int fd;

    snprintf(path, sizeof path, "%s/%s", proc_dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "open %s", path);
    while (bytes < FILE_BYTES && (got = read(fd, buffer + bytes, FILE_BYTES - bytes)) != 0) {
        if (got > 0)
            bytes += (size_t)got;
        else if (errno != EINTR)
            break;
    }
    if (got < 0) {
        const enum ts_err err = TS_FAIL_ERRNO(TS_E_IO, "read %s", path);

        close(fd);
        return err;
    }
    close(fd);
    if (bytes == FILE_BYTES) {
        while (bytes > 0 && buffer[bytes - 1] != '\n')
            bytes--;
    }
    *out_bytes = bytes;
    return TS_OK;
}

enum ts_err
proc_sample_take(const char *proc_dir, struct proc_sample *out)
{
    static const struct {
        const char *name;
        enum ts_err (*parse)(const char *text, size_t bytes, struct proc_sample *out);
        bool may_miss;
    } files[] = {
        {"stat", proc_parse_stat, false},          {"meminfo", proc_parse_meminfo, false},
        {"loadavg", proc_parse_loadavg, false},    {"uptime", proc_parse_uptime, false},
        {"diskstats", proc_parse_diskstats, true}, {"net/dev", proc_parse_net_dev, true},
    };
    static _Thread_local char buffer[FILE_BYTES];
    struct proc_sample sample = {.monotonic_ns = cli_monotonic_ns()};

    for (size_t i = 0; i < COUNTOF(files); i++) {
        size_t bytes = 0;
        enum ts_err err = read_file(proc_dir, files[i].name, buffer, &bytes);

        if (err == TS_OK)
            err = files[i].parse(buffer, bytes, &sample);
        if (err != TS_OK && !files[i].may_miss)
            return err;
    }
    *out = sample;
    return TS_OK;
}

static double
per_second(uint64_t before, uint64_t now, double seconds)
{
    return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static void
cpu_json(const struct proc_sample *before, const struct proc_sample *now, struct ts_text *out)
{
    static const char *const names[] = {"user",   "nice", "system",  "idle",
                                        "iowait", "irq",  "softirq", "steal"};
    double moved[PROC_N_CPU_MODES], all = 0;

    for (size_t i = 0; i < PROC_N_CPU_MODES; i++) {
        moved[i] = per_second(before->cpu_ticks[i], now->cpu_ticks[i], 1);
        all += moved[i];
    }
    ts_text_printf(out, "{\"cpu.busy_percent\":%.2f",
                   all > 0 ? 100 * (all - moved[PROC_CPU_IDLE] - moved[PROC_CPU_IOWAIT]) / all : 0);
    for (size_t i = 0; i < PROC_N_CPU_MODES; i++)
        ts_text_printf(out, ",\"cpu.%s_percent\":%.2f", names[i],
                       all > 0 ? 100 * moved[i] / all : 0);
    ts_text_printf(out, ",\"cpu.count\":%ju", (uintmax_t)now->n_cpus);
}

void
proc_sample_json(const struct proc_sample *before, const struct proc_sample *now,
                 struct ts_text *out)
{
    const double s = (double)(now->monotonic_ns - before->monotonic_ns) / 1e9;
    const struct {
        const char *name;
        uint64_t before, now;
    } rates[] = {
        {"disk.reads", before->disk_reads, now->disk_reads},
        {"disk.writes", before->disk_writes, now->disk_writes},
        {"disk.read_bytes", before->disk_read_bytes, now->disk_read_bytes},
        {"disk.written_bytes", before->disk_written_bytes, now->disk_written_bytes},
        {"disk.busy_ms", before->disk_busy_ms, now->disk_busy_ms},
        {"net.received_bytes", before->net_received_bytes, now->net_received_bytes},
        {"net.received_packets", before->net_received_packets, now->net_received_packets},
        {"net.sent_bytes", before->net_sent_bytes, now->net_sent_bytes},
        {"net.sent_packets", before->net_sent_packets, now->net_sent_packets},
        {"net.errors", before->net_errors, now->net_errors},
    };
    const struct {
        const char *name;
        uint64_t value;
    } levels[] = {
        {"memory.total_bytes", now->memory_total_bytes},
        {"memory.available_bytes", now->memory_available_bytes},
        {"memory.free_bytes", now->memory_free_bytes},
        {"memory.cached_bytes", now->memory_cached_bytes},
        {"swap.total_bytes", now->swap_total_bytes},
        {"swap.free_bytes", now->swap_free_bytes},
        {"tasks.running", now->n_running},
        {"tasks.threads", now->n_threads},
    };

    cpu_json(before, now, out);
    for (size_t i = 0; i < COUNTOF(levels); i++)
        ts_text_printf(out, ",\"%s\":%ju", levels[i].name, (uintmax_t)levels[i].value);
    ts_text_printf(out, ",\"load.1m\":%.2f,\"load.5m\":%.2f,\"load.15m\":%.2f", now->load_1m,
                   now->load_5m, now->load_15m);
    for (size_t i = 0; i < COUNTOF(rates); i++)
        ts_text_printf(out, ",\"%s_per_s\":%.2f", rates[i].name,
                       per_second(rates[i].before, rates[i].now, s));
    ts_text_printf(out, ",\"uptime_s\":%.2f}", now->uptime_s);
}
