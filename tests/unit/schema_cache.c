/* schema_cache.c - the schema that the file has now, read only when it changed. */
#include "queryd/schema_cache.h"

#include "common/schema_file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/tsstore-cache-XXXXXX";
static struct schema_cache cache;

static void
start(void)
{
    cr_assert_not_null(mkdtemp(dir));
    schema_cache_init(&cache);
}

static void
stop(void)
{
    char command[100];

    schema_cache_done(&cache);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_expect_eq(system(command), 0);
}

TestSuite(schema_cache, .init = start, .fini = stop);

/* A schema with the fields f1 to f<n>. */
static void
put(int n)
{
    struct ts_schema *schema;
    char request[4096] = "{\"fields\":[";

    for (int i = 1; i <= n; i++)
        sprintf(request + strlen(request), "%s{\"index\":%d,\"name\":\"f%d\",\"type\":\"int8\"}",
                i > 1 ? "," : "", i, i);
    strcat(request, "]}");
    cr_assert_eq(ts_schema_put(dir, request, strlen(request), TS_SCHEMA_AS_IS, &schema), TS_OK,
                 "%s", ts_error_text());
    ts_schema_release(schema);
}

static uint32_t
version(void)
{
    struct ts_schema *schema = NULL;
    uint32_t n;

    cr_assert_eq(schema_cache_hold(&cache, dir, &schema), TS_OK, "%s", ts_error_text());
    n = ts_schema_version(schema);
    ts_schema_release(schema);
    return n;
}

Test(schema_cache, there_is_none_then_one_then_another)
{
    cr_expect_eq(version(), 0);
    cr_expect_eq(version(), 0);
    put(1);
    cr_expect_eq(version(), 1);
    put(2);
    cr_expect_eq(version(), 2);
}

Test(schema_cache, what_did_not_change_is_the_same_object)
{
    struct ts_schema *first = NULL, *second = NULL;

    put(1);
    cr_assert_eq(schema_cache_hold(&cache, dir, &first), TS_OK);
    cr_assert_eq(schema_cache_hold(&cache, dir, &second), TS_OK);
    cr_expect_eq(first, second);
    ts_schema_release(first);
    ts_schema_release(second);
}

Test(schema_cache, a_file_that_cannot_be_used_is_an_error_until_it_can)
{
    struct ts_schema *schema = NULL;
    char path[64];
    int fd;

    put(1);
    cr_expect_eq(version(), 1);
    snprintf(path, sizeof path, "%s/schema.json", dir);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "x", 1, 0), 1);
    cr_expect_eq(schema_cache_hold(&cache, dir, &schema), TS_E_CORRUPT);
    cr_expect_eq(schema_cache_hold(&cache, dir, &schema), TS_E_CORRUPT);
    cr_expect_null(schema);
    cr_assert_eq(pwrite(fd, "{", 1, 0), 1);
    close(fd);
    cr_expect_eq(version(), 1);
}

static atomic_bool is_over;

static void *
look(void *arg)
{
    uint32_t last = 0, now;

    while (!atomic_load(&is_over)) {
        now = version();
        cr_expect_geq(now, last);
        last = now;
    }
    return arg;
}

Test(schema_cache, versions_only_go_forward_for_all_who_look)
{
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, look, NULL), 0);
    for (int i = 1; i <= 30; i++)
        put(i);
    atomic_store(&is_over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(version(), 30);
}
