/* in_socket.c - feeders of all manners on the Unix socket, good and hostile. */
#include "ingestd/in_socket.h"

#include "common/log.h"
#include "ingestd/socket_connection.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64], path[100];
static struct ts_config config;
static struct settings settings;
static struct catalog *catalog;
static int durable_fd;
static struct in_socket *in;

static void
start(void)
{
    const struct in_socket_options options = {
        .path = path, .durable_fd = durable_fd, .catalog = catalog, .settings = &settings};

    cr_assert_eq(in_socket_start(&options, &in), TS_OK, "%s", ts_error_text());
}

static void
set_up(void)
{
    strcpy(dir, "/tmp/tsstore-socket-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/run/sub/feed.sock", dir);
    cr_assert_geq(sodium_init(), 0);
    ts_log_set_level(TS_LOG_ERROR);
    ts_config_init(&config);
    config.max_line_bytes = 100000;
    settings_init(&settings, &config);
    durable_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cr_assert_eq(catalog_open(dir, NULL, durable_fd, &catalog), TS_OK, "%s", ts_error_text());
    start();
}

static int
remove_one(const char *name, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(name);
}

static void
tear_down(void)
{
    in_socket_stop(in);
    catalog_close(catalog);
    close(durable_fd);
    settings_done(&settings);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(in_socket, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- a feeder ---- */

static int
dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval limit = {.tv_sec = 20};
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(address.sun_path, path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0, "%s",
                 strerror(errno));
    return fd;
}

static void
say(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);

        cr_assert_gt(sent, 0, "%s", strerror(errno));
        text += sent;
        bytes -= (size_t)sent;
    }
}

static void
say_text(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

/* One answer without its newline; "" at the end of the connection. */
static const char *
hear(int fd)
{
    static _Thread_local char line[1024];
    size_t bytes = 0;

    while (bytes < sizeof line - 1 && recv(fd, line + bytes, 1, 0) == 1 && line[bytes] != '\n')
        bytes++;
    line[bytes] = '\0';
    return line;
}

static bool
is_ok(const char *answer)
{
    return strncmp(answer, "OK 1", 4) == 0;
}

/* Reads until n lines came or the connection ended; returns how many came. */
static size_t
hear_lines(int fd, size_t n)
{
    static char buffer[65536];
    size_t heard = 0;
    ssize_t got;

    while (heard < n && (got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            heard += buffer[i] == '\n';
    }
    return heard;
}

static int
enter(const char *store, const char *key)
{
    const int fd = dial();
    char line[300];

    snprintf(line, sizeof line, "AUTH %s %s\n", store, key);
    say_text(fd, line);
    cr_assert_str_eq(hear(fd), "OK");
    return fd;
}

static void
create(const char *name, enum ts_type type, uint32_t sync_ms, char out_key[TS_KEY_TEXT_BYTES])
{
    struct ts_options options;

    ts_options_init(&options);
    options.num_blocks = 256;
    options.type = type;
    options.sync_ms = sync_ms;
    cr_assert_eq(catalog_create(catalog, name, &options, out_key), TS_OK, "%s", ts_error_text());
}

/* The store's next record number. */
static uint64_t
next_no(const char *name)
{
    struct catalog_store *entry;
    struct ts_state state;

    cr_assert_eq(catalog_find(catalog, (struct ts_span){.at = name, .bytes = strlen(name)}, &entry),
                 TS_OK);
    ts_view_state(ts_store_view(entry->store), &state);
    catalog_release(entry);
    return state.next_no;
}

/* ---- the protocol ---- */

Test(in_socket, each_line_has_one_answer_in_order)
{
    char key[TS_KEY_TEXT_BYTES];
    char lines[160];
    int64_t ahead_ns;
    int fd;

    create("b", TS_TYPE_JSON, 1000, key);
    fd = enter("b", key);
    ahead_ns = ((int64_t)time(NULL) + 3600) * 1000000000;
    snprintf(lines, sizeof lines,
             "{\"a\":1}\nbad\n\n \r\n{\"t\":\n  [1,2]  \r\n@5 1\n@%jd 1\n1\nquit\n2\n",
             (intmax_t)ahead_ns);
    say_text(fd, lines);
    cr_expect(is_ok(hear(fd)));
    cr_expect_str_eq(hear(fd), "ERROR invalid JSON: invalid character 'b' looking for beginning of "
                               "value");
    cr_expect_str_eq(hear(fd), "ERROR invalid JSON: unexpected end of JSON input");
    cr_expect(is_ok(hear(fd)));
    cr_expect_str_eq(hear(fd), "ERROR store failed: timestamp must be greater than newest entry");
    snprintf(lines, sizeof lines, "OK %jd", (intmax_t)ahead_ns);
    cr_expect_str_eq(hear(fd), lines);
    snprintf(lines, sizeof lines, "OK %jd", (intmax_t)ahead_ns + 1);
    cr_expect_str_eq(hear(fd), lines);
    cr_expect_str_eq(hear(fd), "OK bye");
    cr_expect_str_eq(hear(fd), "", "the connection ends");
    close(fd);
}

Test(in_socket, the_first_line_opens_or_ends_the_connection)
{
    char key[TS_KEY_TEXT_BYTES], other[TS_KEY_TEXT_BYTES];
    char lines[6][200];
    const char *wants[] = {"ERROR invalid auth format, expected: AUTH <store> <api-key>",
                           "ERROR invalid auth format, expected: AUTH <store> <api-key>",
                           "ERROR authentication failed",
                           "ERROR authentication failed",
                           "ERROR authentication failed",
                           "ERROR authentication failed"};

    create("b", TS_TYPE_JSON, 1000, key);
    create("c", TS_TYPE_JSON, 1000, other);
    strcpy(lines[0], "AUTH b\n");
    strcpy(lines[1], "{\"a\":1}\n");
    strcpy(lines[2], "AUTH b tsstore_x\n");
    snprintf(lines[3], sizeof lines[3], "AUTH b %s\n", other);
    snprintf(lines[4], sizeof lines[4], "AUTH nope %s\n", key);
    snprintf(lines[5], sizeof lines[5], "AUTH ../b %s\n", key);
    for (size_t i = 0; i < COUNTOF(lines); i++) {
        const int fd = dial();

        say_text(fd, lines[i]);
        cr_expect_str_eq(hear(fd), wants[i], "%s", lines[i]);
        cr_expect_str_eq(hear(fd), "", "the connection ends");
        close(fd);
    }
}

Test(in_socket, a_first_line_without_an_end_is_not_collected)
{
    static char noise[64 * 1024];
    const int fd = dial();

    memset(noise, 'x', sizeof noise);
    say(fd, noise, sizeof noise);
    cr_expect_str_eq(hear(fd), "ERROR invalid auth format, expected: AUTH <store> <api-key>");
    close(fd);
}

Test(in_socket, a_line_may_come_in_crumbs)
{
    char key[TS_KEY_TEXT_BYTES];
    char text[256];
    int fd = dial();

    create("b", TS_TYPE_JSON, 1000, key);
    snprintf(text, sizeof text, "AUTH b %s\n{\"a\":1}\n[2]\n", key);
    for (const char *at = text; *at != '\0'; at++)
        say(fd, at, 1);
    cr_expect_str_eq(hear(fd), "OK");
    cr_expect(is_ok(hear(fd)));
    cr_expect(is_ok(hear(fd)));
    close(fd);
}

/* Lengths of a line, without newline, around each buffer's end. The limit is 100000. */
static const struct {
    size_t bytes;
    bool fits;
} lengths[] = {
    {SOCKET_REST_BYTES - 1, true},
    {SOCKET_REST_BYTES, true},
    {SOCKET_REST_BYTES + 1, true},
    {99999, true},
    {100000, true},
    {100001, false},
    {SOCKET_READ_BYTES - 1, false},
    {SOCKET_READ_BYTES, false},
    {SOCKET_READ_BYTES + 1, false},
    {3 * SOCKET_READ_BYTES + 7, false},
};

Test(in_socket, a_line_of_any_length_has_one_answer)
{
    char key[TS_KEY_TEXT_BYTES];
    char *line = malloc(4 * SOCKET_READ_BYTES);
    int fd;

    create("b", TS_TYPE_JSON, 1000, key);
    fd = enter("b", key);
    for (size_t i = 0; i < COUNTOF(lengths); i++) {
        const size_t bytes = lengths[i].bytes;

        memset(line, 'x', bytes);
        line[0] = line[bytes - 1] = '"';
        memcpy(line + bytes, "\n1\n", 3);
        say(fd, line, bytes + 3);
        if (lengths[i].fits)
            cr_expect(is_ok(hear(fd)), "%zu", bytes);
        else
            cr_expect_str_eq(hear(fd), "ERROR line too long", "%zu", bytes);
        cr_expect(is_ok(hear(fd)), "%zu: the next line counts", bytes);
    }
    close(fd);
    free(line);
}

Test(in_socket, a_last_line_without_newline_is_dropped)
{
    char key[TS_KEY_TEXT_BYTES];
    int fd;

    create("b", TS_TYPE_JSON, 1000, key);
    fd = enter("b", key);
    say_text(fd, "1\n2");
    shutdown(fd, SHUT_WR);
    cr_expect(is_ok(hear(fd)));
    cr_expect_str_eq(hear(fd), "");
    cr_expect_eq(next_no("b"), 2);
    close(fd);
}

/* ---- clients that do not listen ---- */

Test(in_socket, who_does_not_read_is_not_read_from_and_loses_nothing)
{
    enum { LINES = 200000 };
    char key[TS_KEY_TEXT_BYTES];
    char *lines = malloc(LINES * 2);
    struct pollfd wait = {.events = POLLOUT};
    size_t said = 0, heard = 0;
    int slow, other;

    create("b", TS_TYPE_JSON, 1000, key);
    for (size_t i = 0; i < LINES; i++)
        memcpy(lines + 2 * i, i % 2 == 0 ? "1\n" : "z\n", 2);
    slow = wait.fd = enter("b", key);
    /* Until its buffers are full: nothing moves for a while. */
    while (said < LINES * 2 && poll(&wait, 1, 500) == 1) {
        const ssize_t sent = send(slow, lines + said, LINES * 2 - said, MSG_DONTWAIT);

        said += sent > 0 ? (size_t)sent : 0;
    }
    cr_expect_lt(said, LINES * 2, "the server takes no end of lines");
    other = enter("b", key);
    say_text(other, "5\n");
    cr_expect(is_ok(hear(other)), "others go on");
    while (heard < LINES) {
        const size_t got = hear_lines(slow, 1);
        ssize_t sent;

        cr_assert_gt(got, 0);
        heard += got;
        sent = send(slow, lines + said, LINES * 2 - said, MSG_DONTWAIT);
        said += sent > 0 ? (size_t)sent : 0;
    }
    cr_expect_eq(heard, LINES);
    cr_expect_eq(next_no("b"), LINES / 2 + 2);
    close(slow);
    close(other);
    free(lines);
}

Test(in_socket, who_writes_and_leaves_is_stored)
{
    enum { LINES = 5000 }; /* in one write, which the kernel's buffers hold */
    static char lines[LINES * 10 + 1];
    char key[TS_KEY_TEXT_BYTES];
    int fd;

    create("b", TS_TYPE_TEXT, 1000, key);
    fd = enter("b", key);
    for (int i = 0; i < LINES; i++)
        memcpy(lines + (size_t)i * 10, "a reading\n", 10);
    say_text(fd, lines);
    close(fd);
    for (int i = 0; i < 1000 && next_no("b") <= LINES; i++)
        usleep(10000);
    cr_expect_eq(next_no("b"), LINES + 1);
}

Test(in_socket, who_says_nothing_is_sent_away)
{
    int fd;

    config.auth_timeout_ms = 100;
    settings_replace(&settings, &config);
    fd = dial();
    cr_expect_str_eq(hear(fd), "ERROR authentication timed out");
    cr_expect_str_eq(hear(fd), "");
    close(fd);
}

Test(in_socket, one_feeder_too_many_is_told)
{
    char key[TS_KEY_TEXT_BYTES];
    int first, second;

    create("b", TS_TYPE_JSON, 1000, key);
    config.max_feeders = 1;
    settings_replace(&settings, &config);
    first = enter("b", key);
    second = dial();
    cr_expect_str_eq(hear(second), "ERROR too many connections");
    cr_expect_str_eq(hear(second), "");
    say_text(first, "1\n");
    cr_expect(is_ok(hear(first)));
    close(first);
    close(second);
}

/* ---- durability, removal, many at once ---- */

Test(in_socket, a_store_that_syncs_each_record_answers_when_it_is_durable)
{
    char key[TS_KEY_TEXT_BYTES];
    struct catalog_store *entry;
    int fd;

    create("e", TS_TYPE_JSON, TS_SYNC_EACH, key);
    cr_assert_eq(catalog_find(catalog, (struct ts_span){"e", 1}, &entry), TS_OK);
    fd = enter("e", key);
    for (uint64_t no = 1; no <= 20; no++) {
        say_text(fd, "1\n");
        cr_expect(is_ok(hear(fd)));
        cr_expect_geq(ts_store_durable_no(entry->store), no);
    }
    say_text(fd, "1\nbad\n2\nquit\n");
    cr_expect(is_ok(hear(fd)));
    cr_expect_eq(strncmp(hear(fd), "ERROR", 5), 0);
    cr_expect(is_ok(hear(fd)));
    cr_expect_str_eq(hear(fd), "OK bye");
    cr_expect_geq(ts_store_durable_no(entry->store), 22);
    close(fd);
    catalog_release(entry);
}

Test(in_socket, who_leaves_while_the_disk_works_is_stored)
{
    char key[TS_KEY_TEXT_BYTES];

    create("e", TS_TYPE_JSON, TS_SYNC_EACH, key);
    for (int i = 0; i < 50; i++) {
        const int fd = enter("e", key);

        say_text(fd, "1\n2\n3\n");
        close(fd);
    }
    for (int i = 0; i < 1000 && next_no("e") <= 150; i++)
        usleep(10000);
    cr_expect_eq(next_no("e"), 151);
}

Test(in_socket, a_removed_store_takes_nothing_more)
{
    char key[TS_KEY_TEXT_BYTES];
    char store[100];
    int fd;

    create("b", TS_TYPE_JSON, 1000, key);
    fd = enter("b", key);
    snprintf(store, sizeof store, "%s/b", dir);
    nftw(store, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    catalog_sweep(catalog);
    say_text(fd, "1\n");
    cr_expect_str_eq(hear(fd), "ERROR store failed: store is closed");
    close(fd);
}

static char feeder_key[TS_KEY_TEXT_BYTES];

static void *
feed(void *arg)
{
    const int fd = enter("b", feeder_key);
    int64_t *times = arg;

    for (int i = 0; i < 1000; i++) {
        say_text(fd, "{\"a\":1}\n");
        times[i] = strtoll(hear(fd) + 3, NULL, 10);
    }
    close(fd);
    return NULL;
}

static int
by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

Test(in_socket, no_two_feeders_get_the_same_time)
{
    enum { FEEDERS = 4 };
    static int64_t times[FEEDERS][1000];
    int64_t *all = &times[0][0];
    pthread_t threads[FEEDERS];

    create("b", TS_TYPE_JSON, 1000, feeder_key);
    for (int i = 0; i < FEEDERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, feed, times[i]), 0);
    for (int i = 0; i < FEEDERS; i++)
        pthread_join(threads[i], NULL);
    qsort(all, FEEDERS * 1000, sizeof *all, by_value);
    cr_expect_gt(all[0], 0);
    for (int i = 1; i < FEEDERS * 1000; i++)
        cr_assert_lt(all[i - 1], all[i]);
}

/* ---- start and stop ---- */

Test(in_socket, the_socket_file_is_0660_and_goes_at_the_stop)
{
    struct stat st;

    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0660);
    in_socket_stop(in);
    in = NULL;
    cr_expect_neq(stat(path, &st), 0);
}

Test(in_socket, a_live_server_is_not_thrown_out)
{
    const struct in_socket_options options = {
        .path = path, .durable_fd = -1, .catalog = catalog, .settings = &settings};
    struct in_socket *other = NULL;
    int fd;

    cr_expect_eq(in_socket_start(&options, &other), TS_E_LOCKED);
    cr_expect_null(other);
    fd = dial(); /* the first one is still there */
    close(fd);
}

Test(in_socket, a_stale_socket_is_replaced_and_a_file_is_not)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct in_socket_options options = {
        .path = path, .durable_fd = -1, .catalog = catalog, .settings = &settings};
    FILE *file;
    int fd;

    in_socket_stop(in);
    in = NULL;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    start();
    in_socket_stop(in);
    in = NULL;
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fclose(file);
    cr_expect_eq(in_socket_start(&options, &in), TS_E_IO);
    cr_expect_eq(access(path, F_OK), 0);
}

Test(in_socket, the_stop_waits_for_nobody_longer_than_its_time)
{
    char key[TS_KEY_TEXT_BYTES];
    struct timespec before, after;
    int silent, half, slow;

    create("b", TS_TYPE_JSON, 1000, key);
    silent = dial();
    half = enter("b", key);
    say_text(half, "{\"a\"");
    slow = enter("b", key);
    while (send(slow, "1\n1\n1\n1\n1\n1\n1\n1\n", 16, MSG_DONTWAIT) > 0)
        continue;
    clock_gettime(CLOCK_MONOTONIC, &before);
    in_socket_stop(in);
    in = NULL;
    clock_gettime(CLOCK_MONOTONIC, &after);
    cr_expect_lt(after.tv_sec - before.tv_sec, IN_SOCKET_STOP_MS / 1000 + 2);
    close(silent);
    close(half);
    close(slow);
}

/* ---- schemas and drops ---- */

static struct catalog_store *
find(const char *name)
{
    struct catalog_store *entry;

    cr_assert_eq(catalog_find(catalog, (struct ts_span){.at = name, .bytes = strlen(name)}, &entry),
                 TS_OK);
    return entry;
}

static void
put_schema(const char *name, const char *text)
{
    struct catalog_store *entry = find(name);
    uint32_t version;

    cr_assert_eq(store_schema_put(entry->schema,
                                  (struct ts_span){.at = text, .bytes = strlen(text)}, &version),
                 TS_OK, "%s", ts_error_text());
    catalog_release(entry);
}

#define ONE_FIELD "{\"fields\":[{\"index\":1234567890123456789,\"name\":\"a\",\"type\":\"bool\"}]}"

Test(in_socket, lines_of_a_schema_store_are_compacted)
{
    char key[TS_KEY_TEXT_BYTES];
    int fd;

    create("s", TS_TYPE_SCHEMA, 1000, key);
    fd = enter("s", key);
    say_text(fd, "{}\n");
    cr_expect_str_eq(hear(fd), "ERROR schema validation failed: schema is required for schema data "
                               "type");
    put_schema("s", ONE_FIELD);
    say_text(fd, "@1 {\"a\":1}\n{\"q\":1}\n[1]\nbad\n@2 {}\n@3 null\n@2 {}\n");
    cr_expect_str_eq(hear(fd), "OK 1");
    cr_expect_str_eq(hear(fd), "ERROR schema validation failed: field not found in schema: q");
    cr_expect_eq(strncmp(hear(fd), "ERROR schema validation failed: invalid JSON: ", 46), 0);
    cr_expect_str_eq(hear(fd), "ERROR invalid JSON: invalid character 'b' looking for beginning of "
                               "value");
    cr_expect_str_eq(hear(fd), "OK 2");
    cr_expect_str_eq(hear(fd), "OK 3");
    cr_expect_str_eq(hear(fd), "ERROR store failed: timestamp must be greater than newest entry");
    close(fd);
}

Test(in_socket, many_schema_lines_that_grow_are_stored_whole)
{
    const struct ts_range all = {0};
    const size_t n_lines = 20000;
    struct catalog_store *entry;
    char key[TS_KEY_TEXT_BYTES];
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    char *text = malloc(n_lines * 10), *at = text;
    size_t n = 0;
    int fd;

    create("s", TS_TYPE_SCHEMA, 1000, key);
    put_schema("s", ONE_FIELD);
    fd = enter("s", key);
    for (size_t i = 0; i < n_lines; i++)
        at += sprintf(at, "{\"a\":%zu}\n", i % 10);
    say(fd, text, (size_t)(at - text));
    cr_expect_eq(hear_lines(fd, n_lines), n_lines);
    close(fd);
    free(text);
    entry = find("s");
    cr_assert_eq(ts_cursor_open(ts_store_view(entry->store), &all, &cursor), TS_OK);
    for (; ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD; n++) {
        char want[40];
        const int bytes =
            snprintf(want, sizeof want, "{\"1234567890123456789\":%zu}", (record.no - 1) % 10);

        cr_assert_eq(record.bytes, (size_t)bytes);
        cr_assert_arr_eq(record.data, want, (size_t)bytes);
    }
    cr_expect_gt(n, 1000);
    ts_cursor_close(cursor);
    catalog_release(entry);
}

static void
expect_dropped_while_connected(uint32_t sync_ms)
{
    struct catalog_store *entry;
    char key[TS_KEY_TEXT_BYTES];
    int fd;

    create("b", TS_TYPE_JSON, sync_ms, key);
    fd = enter("b", key);
    say_text(fd, "1\n");
    cr_expect(is_ok(hear(fd)));
    entry = find("b");
    cr_expect_eq(catalog_drop(entry), TS_OK, "%s", ts_error_text());
    catalog_release(entry);
    say_text(fd, "2\n3\n");
    cr_expect_str_eq(hear(fd), "ERROR store failed: store is closed");
    cr_expect_str_eq(hear(fd), "ERROR store failed: store is closed");
    create("b", TS_TYPE_JSON, sync_ms, key);
    say_text(fd, "4\n");
    cr_expect_str_eq(hear(fd), "ERROR store failed: store is closed", "the new one is another");
    close(fd);
}

Test(in_socket, a_feeder_of_a_dropped_store_is_told_so)
{
    expect_dropped_while_connected(1000);
}

Test(in_socket, a_feeder_of_a_dropped_durable_store_is_told_so)
{
    expect_dropped_while_connected(TS_SYNC_EACH);
}

static void *
feed_until_refused(void *arg)
{
    const int fd = *(int *)arg;
    const char *answer;

    do {
        say_text(fd, "1\n");
        answer = hear(fd);
    } while (is_ok(answer));
    cr_expect(strcmp(answer, "ERROR store failed: store is closed") == 0 || *answer == '\0', "%s",
              answer);
    return NULL;
}

Test(in_socket, a_store_can_be_dropped_while_feeders_wait_for_the_disk)
{
    struct catalog_store *entry;
    char key[TS_KEY_TEXT_BYTES];
    pthread_t threads[4];
    int fds[4];

    create("b", TS_TYPE_JSON, TS_SYNC_EACH, key);
    for (size_t i = 0; i < 4; i++) {
        fds[i] = enter("b", key);
        cr_assert_eq(pthread_create(&threads[i], NULL, feed_until_refused, &fds[i]), 0);
    }
    usleep(50000);
    entry = find("b");
    cr_expect_eq(catalog_drop(entry), TS_OK);
    catalog_release(entry);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        close(fds[i]);
    }
}
