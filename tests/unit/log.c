/* log.c - log lines as they arrive on standard error. */
#include "common/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int saved_stderr = -1;
static int file_fd = -1;

/* From here on standard error is a file without a name. */
static void
catch_stderr(void)
{
    char path[] = "/tmp/tsstore-log-XXXXXX";

    unsetenv("JOURNAL_STREAM");
    file_fd = mkostemp(path, O_APPEND);
    cr_assert(file_fd >= 0);
    unlink(path);
    saved_stderr = dup(STDERR_FILENO);
    dup2(file_fd, STDERR_FILENO);
}

static void
release_stderr(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(file_fd);
}

TestSuite(log, .init = catch_stderr, .fini = release_stderr, .timeout = 30);

/* What was written since the last call, with a NUL behind it. */
static size_t
take(char *out, size_t capacity)
{
    const ssize_t n = pread(file_fd, out, capacity - 1, 0);

    cr_assert((long)n >= 0);
    out[n] = '\0';
    cr_assert_eq(ftruncate(file_fd, 0), 0);
    return (size_t)n;
}

static bool
matches(const char *text, const char *pattern)
{
    regex_t regex;
    bool is_match;

    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    is_match = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return is_match;
}

#define STAMP "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "

Test(log, a_line_has_time_level_program_and_text)
{
    static const char *const patterns[] = {
        STAMP "error ingestd: n=0\n$",
        STAMP "warning ingestd: n=1\n$",
        STAMP "info ingestd: n=2\n$",
        STAMP "debug ingestd: n=3\n$",
    };
    char text[512];

    ts_log_init("ingestd", TS_LOG_DEBUG);
    for (int level = TS_LOG_ERROR; level <= TS_LOG_DEBUG; level++) {
        ts_log((enum ts_log_level)level, "n=%d", level);
        take(text, sizeof text);
        cr_expect(matches(text, patterns[level]), "%s", text);
    }
}

Test(log, lines_above_the_level_are_dropped)
{
    char text[512];

    ts_log_init("queryd", TS_LOG_WARNING);
    ts_log(TS_LOG_INFO, "no");
    cr_assert_eq(take(text, sizeof text), 0);
    cr_assert_not(ts_log_is_on(TS_LOG_INFO));
    ts_log_set_level(TS_LOG_INFO);
    ts_log(TS_LOG_INFO, "yes");
    cr_assert_neq(take(text, sizeof text), 0);
    cr_assert(ts_log_is_on(TS_LOG_INFO));
}

Test(log, an_event_is_one_line_whatever_it_quotes)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a\nb", "a\\nb"},
        {"a\r\x1b[31mb\x7f", "a\\x0d\\x1b[31mb\\x7f"},
        {"tab\tbell\a", "tab\\x09bell\\x07"},
        {"\xc2\x9b"
         "2J",
         "\\u009b2J"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"ends with newlines\n\n", "ends with newlines"},
        {"\xc2", "\xc2"},
        {"", ""},
    };
    char text[512];

    ts_log_init("t", TS_LOG_INFO);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ts_log(TS_LOG_INFO, "%s", rows[i].text);
        take(text, sizeof text);
        text[strlen(text) - 1] = '\0'; /* its own newline */
        cr_expect_str_eq(strstr(text, "t: ") + 3, rows[i].want);
    }
}

Test(log, a_long_line_is_cut_behind_a_whole_character)
{
    char text[4096], long_text[4000];

    ts_log_init("t", TS_LOG_INFO);
    for (size_t shift = 0; shift < 4; shift++) {
        memset(long_text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof long_text; i += 4)
            memcpy(long_text + i, "\xf0\x9f\x8c\xa1", 5);
        ts_log(TS_LOG_INFO, "%s", long_text);
        cr_assert(take(text, sizeof text) <= TS_LOG_LINE_BYTES);
        cr_assert(matches(text, "\\.\\.\\.\n$"));
        cr_assert_eq((strlen(strstr(text, "t: ") + 3) - shift - 4) % 4, 0);
    }
}

Test(log, the_journal_gets_priorities)
{
    char text[512], stream[64];
    struct stat st;

    cr_assert_eq(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    ts_log_init("t", TS_LOG_DEBUG);
    ts_log(TS_LOG_ERROR, "a");
    ts_log(TS_LOG_WARNING, "b");
    ts_log(TS_LOG_INFO, "c");
    ts_log(TS_LOG_DEBUG, "d");
    take(text, sizeof text);
    cr_assert_str_eq(text, "<3>a\n<4>b\n<6>c\n<7>d\n");
}

Test(log, a_journal_that_standard_error_is_not_is_ignored)
{
    static const char *const streams[] = {"1:1", "", ":", "x:y", "8:", "99999999999999999999:1",
                                          "1:1 "};
    char text[512];

    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        setenv("JOURNAL_STREAM", streams[i], 1);
        ts_log_init("t", TS_LOG_INFO);
        ts_log(TS_LOG_INFO, "a");
        take(text, sizeof text);
        cr_expect(matches(text, STAMP "info t: a\n$"), "%s: %s", streams[i], text);
    }
}

Test(log, errno_is_kept)
{
    ts_log_init("t", TS_LOG_INFO);
    close(STDERR_FILENO);
    errno = ENOTTY;
    ts_log(TS_LOG_INFO, "to nobody");
    cr_assert_eq(errno, ENOTTY);
}

Test(log, a_limit_lets_so_many_through_and_tells_of_the_others)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(3, 3600);
    uint64_t dropped = 77;
    int n = 0;

    for (int i = 0; i < 10; i++)
        n += ts_log_allow(&limit, &dropped);
    /* An hour may end in between. */
    cr_assert(n == 3 || n == 6);
    if (n == 3)
        cr_assert_eq(dropped, 0);
}

Test(log, a_new_period_tells_how_many_were_dropped)
{
    struct ts_log_limit limit = {.per_period = 1, .period_ns = 20000000};
    uint64_t dropped = 0;
    uint64_t n_dropped = 0, n_told = 0;
    int n = 0;

    while (n < 3)
        if (ts_log_allow(&limit, &dropped)) {
            n_told += dropped;
            n++;
            cr_assert_eq(n_told, n_dropped);
        } else {
            n_dropped++;
        }
    cr_assert(n_dropped > 0);
}

#define N_THREADS 4
#define N_LINES 200

static struct ts_log_limit shared_limit = TS_LOG_LIMIT(100, 36000);
static _Atomic int n_allowed;

static void *
write_lines(void *arg)
{
    uint64_t dropped;

    for (int i = 0; i < N_LINES; i++) {
        ts_log(TS_LOG_INFO, "thread %c wrote line %03d and no other", *(const char *)arg, i);
        if (ts_log_allow(&shared_limit, &dropped))
            n_allowed++;
    }
    return NULL;
}

Test(log, lines_of_threads_do_not_mix_and_share_a_limit)
{
    static char names[N_THREADS] = {'a', 'b', 'c', 'd'};
    static char text[N_THREADS * N_LINES * 100];
    pthread_t threads[N_THREADS];
    int n_lines = 0;

    ts_log_init("t", TS_LOG_INFO);
    for (int i = 0; i < N_THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_lines, &names[i]), 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    take(text, sizeof text);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        n_lines++;
        cr_assert(matches(line, STAMP "info t: thread [a-d] wrote line [0-9]{3} and no other$"));
    }
    cr_assert_eq(n_lines, N_THREADS * N_LINES);
    cr_assert(n_allowed == 100 || n_allowed == 200);
}

static const struct {
    const char *label, *text, *want; /* what follows "message":" */
} json_texts[] = {
    {"plain", "store a: lost", "store a: lost\"}"},
    {"quote and backslash", "say \"x\\y\"", "say \\\"x\\\\y\\\"\"}"},
    {"newline inside", "a\nb", "a\\nb\"}"},
    {"control characters", "\x01\x1b[2J\x7f", "\\u0001\\u001b[2J\\u007f\"}"},
    {"C1 control", "\xc2\x9b", "\\u009b\"}"},
    {"UTF-8", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}"},
    {"no UTF-8", "a\xff\xc3z\xe2\x82", "a\\ufffd\\ufffdz\\ufffd\\ufffd\"}"},
    {"empty", "", "\"}"},
};

Test(log, a_line_of_json_is_json_whatever_it_quotes)
{
    static const char before_time[] = "{\"time\":\"", message[] = "\"message\":\"";
    char line[2 * TS_LOG_LINE_BYTES];

    ts_log_init("ingestd", TS_LOG_INFO);
    ts_log_set_format(TS_LOG_JSON);
    for (size_t i = 0; i < sizeof json_texts / sizeof json_texts[0]; i++) {
        const char *at;

        ts_log(TS_LOG_WARNING, "%s", json_texts[i].text);
        take(line, sizeof line);
        cr_expect_eq(strncmp(line, before_time, sizeof before_time - 1), 0, "%s", line);
        cr_expect_not_null(strstr(line, "\"level\":\"warning\",\"program\":\"ingestd\","));
        at = strstr(line, message);
        cr_assert_not_null(at, "%s", line);
        cr_expect_eq(
            strncmp(at + sizeof message - 1, json_texts[i].want, strlen(json_texts[i].want)), 0,
            "%s: %s", json_texts[i].label, line);
        cr_expect_eq(line[strlen(line) - 1], '\n');
    }
    ts_log_set_format(TS_LOG_TEXT);
}

Test(log, a_long_line_of_json_still_ends_as_one)
{
    char line[2 * TS_LOG_LINE_BYTES], text[TS_LOG_LINE_BYTES + 500];
    size_t n;

    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ts_log_set_format(TS_LOG_JSON);
    ts_log(TS_LOG_ERROR, "%s", text);
    n = take(line, sizeof line);
    cr_expect_leq(n, TS_LOG_LINE_BYTES);
    cr_expect_str_eq(line + n - 6, "...\"}\n");
    ts_log_set_format(TS_LOG_TEXT);
}
