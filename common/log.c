/* log.c - makes a line on the stack, escapes it, writes it once. */
#include "common/log.h"

#include "common/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COUNT_BITS 24 /* of ts_log_limit.state; the period number is above them */
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

static const struct {
    const char *name;
    int priority; /* of syslog */
} levels[] = {
    [TS_LOG_ERROR] = {"error", 3},
    [TS_LOG_WARNING] = {"warning", 4},
    [TS_LOG_INFO] = {"info", 6},
    [TS_LOG_DEBUG] = {"debug", 7},
};

/* Set by ts_log_init() before there are threads, but for the level. */
static const char *program_name = "tsstore";
static bool is_journal;
static _Atomic int current_level = TS_LOG_INFO;
static _Atomic int current_format = TS_LOG_TEXT;

/* Somebody may have redirected standard error after systemd set the variable: believe it only if
 * it names the very file that descriptor 2 is. */
static bool
stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    uint64_t device, inode;
    struct stat st;
    int end = -1;

    if (text == NULL || sscanf(text, "%" SCNu64 ":%" SCNu64 "%n", &device, &inode, &end) != 2)
        return false;
    if (text[end] != '\0' || fstat(STDERR_FILENO, &st) != 0)
        return false;
    return (uint64_t)st.st_dev == device && (uint64_t)st.st_ino == inode;
}

void
ts_log_init(const char *program, enum ts_log_level level)
{
    program_name = program;
    is_journal = stderr_is_journal();
    ts_log_set_level(level);
}

void
ts_log_set_level(enum ts_log_level level)
{
    /* Relaxed: nothing else hangs on the level. */
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

void
ts_log_set_format(enum ts_log_format format)
{
    atomic_store_explicit(&current_format, (int)format, memory_order_relaxed);
}

bool
ts_log_is_on(enum ts_log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

const char *
ts_log_level_name(enum ts_log_level level)
{
    return (size_t)level < sizeof levels / sizeof levels[0] ? levels[level].name : "?";
}

static size_t
add_prefix(char *line, size_t capacity, enum ts_log_level level, bool is_json)
{
    struct timespec now;
    char time[96];
    size_t used = 0;
    struct tm utc;
    int n;

    if (is_journal)
        used = (size_t)snprintf(line, capacity, "<%d>", levels[level].priority);
    if (is_journal && !is_json)
        return used;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    snprintf(time, sizeof time, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900,
             utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
             now.tv_nsec / 1000000);
    n = snprintf(line + used, capacity - used,
                 is_json ? "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%.64s\",\"message\":\""
                         : "%s %s %.64s: ",
                 time, levels[level].name, program_name);
    return used + (size_t)n;
}

/* How `text` begins in a line: its own bytes, or an escape if a terminal or a reader of lines
 * would act on them. C1 controls are two bytes in UTF-8. Returns the bytes of text used up. */
static size_t
escape_text(const char *text, char out[8])
{
    const unsigned char c = (unsigned char)text[0];
    const unsigned char next = c != 0 ? (unsigned char)text[1] : 0;

    if (c == 0xc2 && next >= 0x80 && next <= 0x9f) {
        snprintf(out, 8, "\\u00%02x", next);
        return 2;
    }
    if (c == '\n')
        memcpy(out, "\\n", 3);
    else if (c < 0x20 || c == 0x7f)
        snprintf(out, 8, "\\x%02x", c);
    else
        out[0] = (char)c, out[1] = '\0';
    return 1;
}

/* The same in a JSON string. What is no UTF-8 becomes U+FFFD. */
static size_t
escape_json(const char *text, char out[8])
{
    const unsigned char c = (unsigned char)text[0];
    const size_t n = ts_utf8_sequence_bytes(text, strnlen(text, 4));

    if (c == 0xc2 && n == 2 && (unsigned char)text[1] <= 0x9f) {
        snprintf(out, 8, "\\u00%02x", (unsigned char)text[1]);
        return 2;
    }
    if (c == '"' || c == '\\')
        out[0] = '\\', out[1] = (char)c, out[2] = '\0';
    else if (c == '\n')
        memcpy(out, "\\n", 3);
    else if (c < 0x20 || c == 0x7f)
        snprintf(out, 8, "\\u00%02x", c);
    else if (n == 0)
        memcpy(out, "\\ufffd", 7);
    else
        memcpy(out, text, n), out[n] = '\0';
    return n == 0 ? 1 : n;
}

/* Appends the escaped text at line + used, at most up to `capacity`; returns the end. What does
 * not fit is replaced by "...", behind a whole character. */
static size_t
add_escaped(char *line, size_t used, size_t capacity, const char *text, bool is_json)
{
    const size_t start = used;
    char piece[8];

    while (*text != '\0') {
        const size_t taken = is_json ? escape_json(text, piece) : escape_text(text, piece);
        const size_t n = strlen(piece);

        if (used + n + 3 > capacity) {
            for (int i = 0; i < 3 && used > start && ((unsigned char)text[0] & 0xc0) == 0x80; i++)
                text--, used--;
            memcpy(line + used, "...", 3);
            return used + 3;
        }
        memcpy(line + used, piece, n);
        used += n;
        text += taken;
    }
    return used;
}

void
ts_log(enum ts_log_level level, const char *format, ...)
{
    const bool is_json = atomic_load_explicit(&current_format, memory_order_relaxed) == TS_LOG_JSON;
    const int saved_errno = errno;
    char text[TS_LOG_LINE_BYTES];
    char line[TS_LOG_LINE_BYTES];
    size_t used;
    ssize_t written;
    va_list args;
    int n;

    if ((size_t)level >= sizeof levels / sizeof levels[0] || !ts_log_is_on(level))
        return;
    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        text[0] = '\0';
    for (used = strlen(text); used > 0 && text[used - 1] == '\n'; used--)
        text[used - 1] = '\0';

    used = add_prefix(line, sizeof line, level, is_json);
    used = add_escaped(line, used, sizeof line - 3, text, is_json);
    if (is_json)
        line[used++] = '"', line[used++] = '}';
    line[used++] = '\n';
    do
        written = write(STDERR_FILENO, line, used);
    while (written < 0 && errno == EINTR);
    errno = saved_errno;
}

bool
ts_log_allow(struct ts_log_limit *limit, uint64_t *out_dropped)
{
    uint64_t state = atomic_load_explicit(&limit->state, memory_order_relaxed);
    struct timespec now;
    uint64_t period_no, n_seen, next;

    clock_gettime(CLOCK_MONOTONIC, &now);
    period_no = ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) / limit->period_ns;
    /* Never 0, which is the state of a limit not used yet; COUNT_BITS are taken off its top. */
    period_no = (period_no << COUNT_BITS >> COUNT_BITS) + 1;
    /* Relaxed: the word is all there is, one exchange decides who may write. */
    do {
        n_seen = state >> COUNT_BITS == period_no ? state & COUNT_MASK : 0;
        if (n_seen >= limit->per_period || n_seen == COUNT_MASK) {
            atomic_fetch_add_explicit(&limit->n_dropped, 1, memory_order_relaxed);
            return false;
        }
        next = period_no << COUNT_BITS | (n_seen + 1);
    } while (!atomic_compare_exchange_weak_explicit(&limit->state, &state, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    *out_dropped = atomic_exchange_explicit(&limit->n_dropped, 0, memory_order_relaxed);
    return true;
}
