/* output.c - the words and forms that all verbs share. */
#include "cli/output.h"

#include "cli/when.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_EVERY_NS 200000000
#define PROGRESS_AFTER_NS 1000000000

static void
put_stamp(void)
{
    const time_t now = time(NULL);
    struct tm parts;
    char stamp[32];

    if (localtime_r(&now, &parts) != NULL &&
        strftime(stamp, sizeof stamp, "%Y/%m/%d %H:%M:%S ", &parts) > 0)
        fputs(stamp, stderr);
}

int
cli_fail(const struct cli_common *common, enum ts_err err, const char *what)
{
    const char *text = ts_error_text();
    struct ts_text line;

    ts_text_init(&line);
    if (what != NULL)
        ts_text_printf(&line, "%s: ", what);
    ts_text_puts(&line, text[0] != '\0' ? text : ts_error_default_text(err));
    fflush(stdout);
    if (common->wants_json) {
        struct ts_text json;

        ts_text_init(&json);
        ts_text_puts(&json, "{\"error\":");
        ts_text_json_string(&json, line.at, line.bytes);
        cli_json_text(&json, ",", "code", ts_error_name(err));
        ts_text_puts(&json, "}\n");
        fwrite(json.at, 1, json.bytes, stderr);
        ts_text_done(&json);
    } else {
        struct ts_text visible;

        ts_text_init(&visible);
        cli_add_visible(&visible, line.at, line.bytes);
        put_stamp();
        fprintf(stderr, "%.*s\n", (int)visible.bytes, visible.at != NULL ? visible.at : "");
        ts_text_done(&visible);
    }
    ts_text_done(&line);
    return 1;
}

void
cli_notice(const char *format, ...)
{
    va_list args;

    put_stamp();
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

enum ts_err
cli_print(struct ts_text *text)
{
    if (text->failed)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (text->bytes > 0 && fwrite(text->at, 1, text->bytes, stdout) != text->bytes)
        return TS_FAIL_ERRNO(TS_E_IO, "write standard output");
    ts_text_clear(text);
    return TS_OK;
}

enum ts_err
cli_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return TS_FAIL_ERRNO(TS_E_IO, "write standard output");
    return TS_OK;
}

void
cli_json_text(struct ts_text *out, const char *before, const char *name, const char *value)
{
    ts_text_printf(out, "%s\"%s\":", before, name);
    ts_text_json_string(out, value, strlen(value));
}

void
cli_json_number(struct ts_text *out, const char *before, const char *name, int64_t value)
{
    ts_text_printf(out, "%s\"%s\":%" PRId64, before, name, value);
}

void
cli_human_bytes(uint64_t bytes, char out_text[CLI_HUMAN_BYTES])
{
    static const char *const units[] = {"KB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(out_text, CLI_HUMAN_BYTES, "%" PRIu64 " B", bytes);
        return;
    }
    while (value >= 1024 && unit + 1 < COUNTOF(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(out_text, CLI_HUMAN_BYTES, "%.2f %s", value, units[unit]);
}

void
cli_grouped(uint64_t number, char out_text[CLI_GROUPED_BYTES])
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *at = out_text;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
}

/* True for a byte sequence that a terminal only draws. U+0080..U+009F are control characters in
 * two bytes. */
static bool
is_visible(const uint8_t *data, size_t sequence_bytes)
{
    if (sequence_bytes == 1)
        return data[0] >= 0x20 && data[0] != 0x7f;
    return sequence_bytes > 2 || (sequence_bytes == 2 && !(data[0] == 0xc2 && data[1] < 0xa0));
}

void
cli_add_visible(struct ts_text *out, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    while (bytes > 0) {
        const size_t sequence_bytes = ts_utf8_sequence_bytes(at, bytes);
        const size_t step = sequence_bytes > 0 ? sequence_bytes : 1;

        if (is_visible(at, sequence_bytes))
            ts_text_add(out, at, step);
        else if (at[0] == '\n' || at[0] == '\r' || at[0] == '\t')
            ts_text_puts(out, at[0] == '\n' ? "\\n" : at[0] == '\r' ? "\\r" : "\\t");
        else
            for (size_t i = 0; i < step; i++)
                ts_text_printf(out, "\\x%02x", at[i]);
        at += step;
        bytes -= step;
    }
}

enum ts_err
cli_load_config(const struct cli_common *common, struct ts_config *out_config)
{
    enum ts_err err = ts_config_load(out_config, common->config);

    if (err == TS_OK && common->data_dir != NULL) {
        err = ts_config_set_flag(out_config, "store.base_path", common->data_dir);
        if (err != TS_OK)
            TS_CONTEXT("--path");
    }
    return err;
}

void
cli_progress_init(struct cli_progress *progress)
{
    *progress = (struct cli_progress){
        .is_on = isatty(STDERR_FILENO) == 1,
        .next_ns = cli_monotonic_ns() + PROGRESS_AFTER_NS,
    };
}

bool
cli_progress_is_due(struct cli_progress *progress)
{
    return progress->is_on && cli_monotonic_ns() >= progress->next_ns;
}

void
cli_progress_show(struct cli_progress *progress, const char *format, ...)
{
    va_list args;

    fputs("\r\033[K", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fflush(stderr);
    progress->is_shown = true;
    progress->next_ns = cli_monotonic_ns() + PROGRESS_EVERY_NS;
}

void
cli_progress_end(struct cli_progress *progress)
{
    if (progress->is_shown)
        fputs("\r\033[K", stderr);
    *progress = (struct cli_progress){0};
}
