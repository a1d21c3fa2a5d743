/* store_schema.c - a new version of a schema, and what goes with it. */
#include "ingestd/store_schema.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELDS "\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"}]"

static char data_dir[] = "/tmp/tsstore-sschema-XXXXXX";
static struct store_schema *store;

static void
set_up(void)
{
    char dir[64];

    cr_assert_not_null(mkdtemp(data_dir));
    snprintf(dir, sizeof dir, "%s/s", data_dir);
    cr_assert_eq(mkdir(dir, 0755), 0);
    cr_assert_eq(store_schema_new(data_dir, "s", &store), TS_OK);
}

static void
tear_down(void)
{
    char path[64];

    store_schema_free(store);
    snprintf(path, sizeof path, "%s/s/schema.json", data_dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/s", data_dir);
    rmdir(path);
    rmdir(data_dir);
}

TestSuite(store_schema, .init = set_up, .fini = tear_down, .timeout = 60);

static void
put(const char *request)
{
    uint32_t version;

    cr_assert_eq(store_schema_put(store, (struct ts_span){.at = request, .bytes = strlen(request)},
                                  &version),
                 TS_OK, "%s", ts_error_text());
}

static bool
is_strict(void)
{
    struct store_schema_now now;

    cr_assert_eq(store_schema_hold(store, &now), TS_OK, "%s", ts_error_text());
    ts_schema_release(now.schema);
    return now.is_strict;
}

/* How often the file was replaced since the watch began. */
static int
replacements(int watch_fd)
{
    _Alignas(struct inotify_event) char events[4096];
    const ssize_t n = read(watch_fd, events, sizeof events);
    int count = 0;

    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const struct inotify_event *)(events + at);

        count += event->len > 0 && strcmp(event->name, "schema.json") == 0;
        at += (ssize_t)(sizeof *event + event->len);
    }
    return count;
}

/* Between two steps a crash would leave a schema whose values nobody checks. */
Test(store_schema, a_version_and_its_strictness_are_one_step)
{
    char dir[64];
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    snprintf(dir, sizeof dir, "%s/s", data_dir);
    cr_assert(fd >= 0);
    cr_assert(inotify_add_watch(fd, dir, IN_MOVED_TO) >= 0);
    put("{\"strict\":true," FIELDS "}");
    cr_expect_eq(replacements(fd), 1);
    cr_expect(is_strict());
    put("{" FIELDS "}");
    cr_expect_eq(replacements(fd), 1);
    cr_expect(is_strict(), "what is not said stays");
    put("{\"strict\":false," FIELDS "}");
    cr_expect_eq(replacements(fd), 1);
    cr_expect_not(is_strict());
    close(fd);
}
