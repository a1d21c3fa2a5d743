/* proc_sample.c - the texts of /proc, as kernels and as nobody writes them. */
#include "cli/proc_sample.h"

#include "cli/arguments.h"
#include "common/json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

typedef enum ts_err parse_fn(const char *text, size_t bytes, struct proc_sample *out);

static const char stat_text[] = "cpu  3436 1 3191 260620 757 2 82 262 9 0\n"
                                "cpu0 1122 0 1015 131929 17 0 8 123 0 0\n"
                                "cpu1 2313 0 2176 128690 739 0 73 139 0 0\n"
                                "intr 12345 0 0\nctxt 99\n";
static const char meminfo_text[] = "MemTotal:       24684084 kB\n"
                                   "MemFree:        24200472 kB\n"
                                   "MemAvailable:   24307188 kB\n"
                                   "Buffers:            1148 kB\n"
                                   "Cached:           252732 kB\n"
                                   "SwapCached:            7 kB\n"
                                   "SwapTotal:             8 kB\n"
                                   "SwapFree:              4 kB\n";
static const char loadavg_text[] = "0.16 1.11 20.04 1/91 9734\n";
static const char uptime_text[] = "1345.26 2606.21\n";
static const char diskstats_text[] =
    "   7       0 loop0 5 0 500 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    " 254       0 vda 100 1 2000 23 200 1 4000 54 0 116 299 8 2 5 6 2 1\n"
    " 254       1 vda1 99 1 1999 23 199 1 3999 54 0 116 299 8 2 5 6 2 1\n"
    " 254      16 vdb 1 0 1 0 1 0 1 0 0 1 0\n"
    " 259       0 nvme0n1 10 0 10 0 10 0 10 0 0 10 0\n"
    " 259       1 nvme0n1p1 10 0 10 0 10 0 10 0 0 10 0\n"
    " 253       0 dm-0 10 0 10 0 10 0 10 0 0 10 0\n";
static const char net_text[] =
    "Inter-|   Receive                                      |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes ...\n"
    "    lo:    3193      29    0    0    0     0          0         0     3193      29 0 0 0 0 0 "
    "0\n"
    "  eth0: 87740704    2205    1    2    0     0          0         0    90381     983 3 4 0 0 0 "
    "0\n"
    "eth1:10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n"
    "veth12: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n";

#define PARSE(parser, text, out) parser(text, strlen(text), out)

Test(proc_sample, reads_what_a_kernel_writes)
{
    struct proc_sample s = {0};

    cr_assert_eq(PARSE(proc_parse_stat, stat_text, &s), TS_OK);
    cr_expect_eq(s.n_cpus, 2);
    cr_expect_eq(s.cpu_ticks[PROC_CPU_USER], 3436);
    cr_expect_eq(s.cpu_ticks[PROC_CPU_STEAL], 262);
    cr_assert_eq(PARSE(proc_parse_meminfo, meminfo_text, &s), TS_OK);
    cr_expect_eq(s.memory_total_bytes, 24684084ull * 1024);
    cr_expect_eq(s.memory_cached_bytes, 252732ull * 1024, "not SwapCached");
    cr_expect_eq(s.swap_free_bytes, 4096);
    cr_assert_eq(PARSE(proc_parse_loadavg, loadavg_text, &s), TS_OK);
    cr_expect_float_eq(s.load_15m, 20.04, 1e-9);
    cr_expect_eq(s.n_running, 1);
    cr_expect_eq(s.n_threads, 91);
    cr_assert_eq(PARSE(proc_parse_uptime, uptime_text, &s), TS_OK);
    cr_expect_float_eq(s.uptime_s, 1345.26, 1e-9);
}

Test(proc_sample, counts_whole_disks_once)
{
    struct proc_sample s = {.disk_reads = 999};

    cr_assert_eq(PARSE(proc_parse_diskstats, diskstats_text, &s), TS_OK);
    cr_expect_eq(s.disk_reads, 111);
    cr_expect_eq(s.disk_writes, 211);
    cr_expect_eq(s.disk_read_bytes, (2000 + 1 + 10) * 512);
    cr_expect_eq(s.disk_written_bytes, (4000 + 1 + 10) * 512);
    cr_expect_eq(s.disk_busy_ms, 127);
    cr_assert_eq(proc_parse_diskstats("", 0, &s), TS_OK, "a machine without disks");
    cr_expect_eq(s.disk_reads, 0);
}

Test(proc_sample, counts_interfaces_to_the_outside)
{
    struct proc_sample s = {0};

    cr_assert_eq(PARSE(proc_parse_net_dev, net_text, &s), TS_OK);
    cr_expect_eq(s.net_received_bytes, 87740714);
    cr_expect_eq(s.net_sent_packets, 985);
    cr_expect_eq(s.net_errors, 10);
}

static const struct {
    const char *label;
    parse_fn *parse;
    const char *text;
} hostile[] = {
    {"empty stat", proc_parse_stat, ""},
    {"stat without a cpu line", proc_parse_stat, "intr 1 2 3\n"},
    {"cpu line cut", proc_parse_stat, "cpu  1 2"},
    {"cpu line with a word", proc_parse_stat, "cpu  1 2 3 four 5\n"},
    {"cpu line with a word late", proc_parse_stat, "cpu  1 2 3 4 5 six 7\n"},
    {"negative ticks", proc_parse_stat, "cpu  1 2 -3 4 5 6 7 8\n"},
    {"ticks beyond 64 bits", proc_parse_stat, "cpu  1 2 3 18446744073709551616 5 6 7 8\n"},
    {"only single processors", proc_parse_stat, "cpu0 1 2 3 4 5 6 7 8\n"},
    {"empty meminfo", proc_parse_meminfo, ""},
    {"meminfo without its total", proc_parse_meminfo, "MemFree: 5 kB\n"},
    {"meminfo without a number", proc_parse_meminfo, "MemTotal: kB\n"},
    {"meminfo cut at its name", proc_parse_meminfo, "MemTotal:"},
    {"meminfo beyond 64 bits", proc_parse_meminfo, "MemTotal: 18446744073709551615 kB\n"},
    {"empty loadavg", proc_parse_loadavg, ""},
    {"loadavg cut", proc_parse_loadavg, "0.1 0.2"},
    {"loadavg without a slash", proc_parse_loadavg, "0.1 0.2 0.3 12 5\n"},
    {"loadavg with nothing at the slash", proc_parse_loadavg, "0.1 0.2 0.3 / 5\n"},
    {"loadavg nan", proc_parse_loadavg, "nan 0.2 0.3 1/2 5\n"},
    {"loadavg infinite", proc_parse_loadavg, "inf 0.2 0.3 1/2 5\n"},
    {"loadavg exponent", proc_parse_loadavg, "1e9 0.2 0.3 1/2 5\n"},
    {"loadavg with two points", proc_parse_loadavg, "1.2.3 0.2 0.3 1/2 5\n"},
    {"loadavg with endless digits", proc_parse_loadavg, "1.00000000000000000001 0 0 1/2 5\n"},
    {"empty uptime", proc_parse_uptime, ""},
    {"uptime of blanks", proc_parse_uptime, "   \t  "},
    {"negative uptime", proc_parse_uptime, "-1.0 2.0\n"},
    {"uptime of a point", proc_parse_uptime, ".\n"},
    {"disk without a name", proc_parse_diskstats, " 8 0\n"},
    {"disk with words", proc_parse_diskstats, "sda 1 2 3\n"},
    {"disk cut", proc_parse_diskstats, " 8 0 sda 1 2 3 4 5 6 7 8 9\n"},
    {"disk sectors beyond 64 bits", proc_parse_diskstats,
     " 8 0 sda 1 2 18446744073709551615 4 5 6 7 8 9 10\n"},
    {"interface cut", proc_parse_net_dev, "eth0: 1 2 3 4 5 6 7 8 9 10 11\n"},
    {"interface of a colon", proc_parse_net_dev, ":\n"},
    {"interface with words", proc_parse_net_dev, "eth0: a b c\n"},
};

Test(proc_sample, refuses_hostile_text_and_leaves_the_sample_alone)
{
    for (size_t i = 0; i < COUNTOF(hostile); i++) {
        const size_t bytes = strlen(hostile[i].text);
        /* Exactly as long as the text, so that a sanitizer sees a read past its end. */
        char *text = malloc(bytes + (bytes == 0));
        struct proc_sample sample, before;

        cr_assert_not_null(text);
        memcpy(text, hostile[i].text, bytes);
        memset(&sample, 0x5a, sizeof sample);
        memcpy(&before, &sample, sizeof before);
        cr_expect_eq(hostile[i].parse(text, bytes, &sample), TS_E_PARAM, "%s", hostile[i].label);
        cr_expect_arr_eq(&sample, &before, sizeof sample, "%s", hostile[i].label);
        free(text);
    }
}

Test(proc_sample, reads_no_byte_past_a_text_cut_anywhere)
{
    static const struct {
        parse_fn *parse;
        const char *text;
    } whole[] = {
        {proc_parse_stat, stat_text},           {proc_parse_meminfo, meminfo_text},
        {proc_parse_loadavg, loadavg_text},     {proc_parse_uptime, uptime_text},
        {proc_parse_diskstats, diskstats_text}, {proc_parse_net_dev, net_text},
    };

    for (size_t i = 0; i < COUNTOF(whole); i++) {
        for (size_t bytes = 1; bytes < strlen(whole[i].text); bytes++) {
            char *text = malloc(bytes);
            struct proc_sample sample = {0};
            enum ts_err err;

            cr_assert_not_null(text);
            memcpy(text, whole[i].text, bytes);
            err = whole[i].parse(text, bytes, &sample);
            cr_expect(err == TS_OK || err == TS_E_PARAM);
            free(text);
        }
    }
}

static void
expect_json(const struct proc_sample *before, const struct proc_sample *now, const char *part)
{
    struct ts_text text;

    ts_text_init(&text);
    proc_sample_json(before, now, &text);
    cr_expect_eq(ts_json_check(text.at, text.bytes, NULL), TS_OK, "%s", ts_error_text());
    ts_text_add(&text, "", 1);
    cr_expect_not_null(strstr(text.at, part), "%s not in %s", part, text.at);
    ts_text_done(&text);
}

Test(proc_sample, writes_rates_per_second_and_shares_in_percent)
{
    struct proc_sample before = {.monotonic_ns = 1000000000}, now = before;

    now.monotonic_ns += 2000000000;
    now.cpu_ticks[PROC_CPU_USER] = 50;
    now.cpu_ticks[PROC_CPU_IDLE] = 150;
    now.disk_read_bytes = 8192;
    expect_json(&before, &now, "\"cpu.busy_percent\":25.00");
    expect_json(&before, &now, "\"cpu.idle_percent\":75.00");
    expect_json(&before, &now, "\"disk.read_bytes_per_s\":4096.00");
}

Test(proc_sample, writes_json_when_nothing_moved_or_counters_went_back)
{
    struct proc_sample before = {0}, now = {0};

    expect_json(&before, &now, "\"cpu.busy_percent\":0.00");
    before.net_sent_bytes = UINT64_MAX;
    before.cpu_ticks[PROC_CPU_USER] = 9;
    now.monotonic_ns = 1;
    now.disk_reads = UINT64_MAX;
    now.load_1m = 1.8e19;
    expect_json(&before, &now, "\"net.sent_bytes_per_s\":0.00");
}

Test(proc_sample, takes_a_sample_of_this_machine)
{
    struct proc_sample sample = {0};

    cr_assert_eq(proc_sample_take("/proc", &sample), TS_OK, "%s", ts_error_text());
    cr_expect_gt(sample.memory_total_bytes, 0);
    cr_expect_gt(sample.monotonic_ns, 0);
    cr_expect_eq(proc_sample_take("/nonexistent", &sample), TS_E_IO);
}
