/* mutation_scratch.h - what the tests of mutations share: a catalogue in a scratch directory, and
 * requests without a wire.
 *
 * Ownership  set_up() makes the directory, tear_down() removes it with all in it.
 * Threads    One test at a time; Criterion gives each a process of its own.
 */
#ifndef MUTATION_SCRATCH_H
#define MUTATION_SCRATCH_H

#include "ingestd/mutation.h"

#include "common/log.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define UNUSED __attribute__((unused))
#define ADMIN_KEY "an-admin-key-of-the-test"

static char dir[64];
static struct settings settings;
static struct mutation mutation;
static struct ts_text body;

UNUSED static void
set_up(void)
{
    struct ts_config config;

    strcpy(dir, "/tmp/tsstore-mutation-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_geq(sodium_init(), 0);
    ts_log_set_level(TS_LOG_ERROR);
    ts_config_init(&config);
    config.num_blocks = 16;
    config.data_block_bytes = 1024;
    strcpy(config.admin_key, ADMIN_KEY);
    settings_init(&settings, &config);
    mutation.settings = &settings;
    cr_assert_eq(executed_new(MUTATION_RESENDS, MUTATION_RESENDS_PER_STORE, MUTATION_RESEND_BYTES,
                              &mutation.resends),
                 TS_OK);
    cr_assert_eq(catalog_open(dir, NULL, -1, &mutation.catalog), TS_OK, "%s", ts_error_text());
    ts_text_init(&body);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

UNUSED static void
tear_down(void)
{
    ts_text_done(&body);
    cr_expect_eq(catalog_close(mutation.catalog), TS_OK);
    executed_free(mutation.resends);
    settings_done(&settings);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct ts_span
span(const char *text)
{
    return (struct ts_span){.at = text, .bytes = strlen(text)};
}

/* The answer's body as a string. */
UNUSED static const char *
answer(void)
{
    ts_text_add(&body, "", 1);
    body.bytes--;
    return body.at;
}

UNUSED static uint16_t
execute(uint16_t op, const char *store, const char *credential, const char *type, const char *text)
{
    const struct control_request request = {.op = op,
                                            .store = span(store),
                                            .credential = span(credential),
                                            .content_type = span(type),
                                            .body = span(text)};

    ts_text_clear(&body);
    return mutation_execute(&mutation, &request, &body);
}

/* Creates a store and gives its key. */
UNUSED static void
create(const char *request, char out_key[TS_KEY_TEXT_BYTES])
{
    const char *key;

    cr_assert_eq(execute(CONTROL_CREATE_STORE, "", ADMIN_KEY, "", request), 201, "%s", answer());
    key = strstr(answer(), "\"api_key\":\"");
    cr_assert_not_null(key);
    memcpy(out_key, key + 11, TS_KEY_TEXT_BYTES - 1);
    out_key[TS_KEY_TEXT_BYTES - 1] = '\0';
}

/* Any request: what is not set is empty. As over HTTP, the answer comes behind other bytes. */
UNUSED static uint16_t
ask(const struct control_request *request)
{
    static const char before[] = "what was there";
    uint16_t status;

    ts_text_clear(&body);
    ts_text_puts(&body, before);
    status = mutation_execute(&mutation, request, &body);
    cr_assert(body.bytes >= sizeof before - 1 && memcmp(body.at, before, sizeof before - 1) == 0);
    body.bytes -= sizeof before - 1;
    memmove(body.at, body.at + sizeof before - 1, body.bytes);
    return status;
}

/* The times of all records there, "1 2 3". */
UNUSED static const char *
times_of(const char *store)
{
    static char text[4096];
    const struct ts_range all = {0};
    struct catalog_store *entry;
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    size_t n = 0;

    text[0] = '\0';
    cr_assert_eq(catalog_find(mutation.catalog, span(store), &entry), TS_OK);
    cr_assert_eq(catalog_open_store(entry), TS_OK);
    cr_assert_eq(ts_cursor_open(ts_store_view(entry->store), &all, &cursor), TS_OK);
    while (ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD && n < sizeof text - 24)
        n += (size_t)sprintf(text + n, "%s%jd", n > 0 ? " " : "", (intmax_t)record.time_ns);
    ts_cursor_close(cursor);
    catalog_release(entry);
    return text;
}

/* What is stored at a time, as a string; "" if nothing. */
UNUSED static const char *
data_at(const char *store, int64_t time_ns)
{
    static char text[4096];
    const struct ts_range one = {.limit = 1};
    struct catalog_store *entry;
    struct ts_cursor *cursor;
    struct ts_record record;

    text[0] = '\0';
    cr_assert_eq(catalog_find(mutation.catalog, span(store), &entry), TS_OK);
    cr_assert_eq(ts_cursor_open(ts_store_view(entry->store), &one, &cursor), TS_OK);
    if (ts_cursor_find_time(cursor, time_ns, &record) == TS_OK && record.bytes < sizeof text) {
        memcpy(text, record.data, record.bytes);
        text[record.bytes] = '\0';
    }
    ts_cursor_close(cursor);
    catalog_release(entry);
    return text;
}

#endif
