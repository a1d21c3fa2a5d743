/* metrics.c - see metrics.h. */
#include "daemon/metrics.h"

#include "common/tsstore.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void
metrics_begin(struct ts_text *out, const char *name, const char *type, const char *help)
{
    ts_text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void
metrics_sample(struct ts_text *out, const char *name, const char *suffix)
{
    ts_text_puts(out, name);
    ts_text_puts(out, suffix);
    ts_text_puts(out, "{");
}

void
metrics_label(struct ts_text *out, const char *label, const char *value)
{
    if (out->bytes > 0 && out->at[out->bytes - 1] != '{')
        ts_text_puts(out, ",");
    ts_text_puts(out, label);
    ts_text_puts(out, "=\"");
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            ts_text_puts(out, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\')
            ts_text_puts(out, "\\");
        ts_text_add(out, value, 1);
    }
    ts_text_puts(out, "\"");
}

/* A sample without labels has no braces. */
static void
end_labels(struct ts_text *out)
{
    if (out->bytes > 0 && out->at[out->bytes - 1] == '{')
        out->bytes--;
    else
        ts_text_puts(out, "}");
    ts_text_puts(out, " ");
}

void
metrics_u64(struct ts_text *out, uint64_t value)
{
    end_labels(out);
    ts_text_u64(out, value);
    ts_text_puts(out, "\n");
}

void
metrics_number(struct ts_text *out, double value)
{
    char digits[40];

    end_labels(out);
    if (!isfinite(value)) {
        ts_text_puts(out, isnan(value) ? "NaN\n" : value > 0 ? "+Inf\n" : "-Inf\n");
        return;
    }
    /* As short as it can be without becoming another number. */
    snprintf(digits, sizeof digits, "%.15g", value);
    if (strtod(digits, NULL) != value)
        snprintf(digits, sizeof digits, "%.17g", value);
    ts_text_puts(out, digits);
    ts_text_puts(out, "\n");
}

void
metrics_one(struct ts_text *out, const char *name, const char *type, const char *help,
            uint64_t value)
{
    metrics_begin(out, name, type, help);
    metrics_sample(out, name, "");
    metrics_u64(out, value);
}

/* The number that the first line of this form has; 0 if there is none. */
static uint64_t
number_of(const char *path, const char *format)
{
    unsigned long long number = 0;
    FILE *file = fopen(path, "re");
    char line[256];

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, format, &number) == 1)
            break;
    fclose(file);
    return number;
}

void
metrics_process(struct ts_text *out, const char *daemon)
{
    struct rusage usage;

    metrics_begin(out, "tsstore_info", "gauge", "Which program this is.");
    metrics_sample(out, "tsstore_info", "");
    metrics_label(out, "daemon", daemon);
    metrics_label(out, "version", ts_version());
    metrics_u64(out, 1);
    metrics_one(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                number_of("/proc/self/statm", "%*u %llu") * (uint64_t)sysconf(_SC_PAGESIZE));
    metrics_one(out, "process_threads", "gauge", "Threads.",
                number_of("/proc/self/status", "Threads: %llu"));
    metrics_one(out, "process_written_bytes_total", "counter",
                "Bytes of files that this process made the kernel write, mapped ones included.",
                number_of("/proc/self/io", "write_bytes: %llu"));
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    metrics_begin(out, "process_cpu_seconds_total", "counter", "Processor time.");
    metrics_sample(out, "process_cpu_seconds_total", "");
    metrics_number(out, (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}
