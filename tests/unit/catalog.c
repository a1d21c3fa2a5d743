/* catalog.c - stores by name: all are opened, a damaged one keeps nobody out. */
#include "ingestd/catalog.h"

#include "common/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct catalog *catalog;
static int durable_fd;

static void
set_up(void)
{
    strcpy(dir, "/tmp/tsstore-catalog-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_geq(sodium_init(), 0);
    ts_log_set_level(TS_LOG_ERROR);
    durable_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cr_assert_eq(catalog_open(dir, NULL, durable_fd, &catalog), TS_OK, "%s", ts_error_text());
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void
tear_down(void)
{
    catalog_close(catalog);
    close(durable_fd);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(catalog, .init = set_up, .fini = tear_down);

static struct ts_span
span(const char *text)
{
    return (struct ts_span){.at = text, .bytes = strlen(text)};
}

static struct ts_options
small(void)
{
    struct ts_options options;

    ts_options_init(&options);
    options.num_blocks = 16;
    options.data_block_bytes = 1024;
    return options;
}

static void
create(const char *name)
{
    const struct ts_options options = small();
    char key[TS_KEY_TEXT_BYTES];

    cr_assert_eq(catalog_create(catalog, name, &options, key), TS_OK, "%s", ts_error_text());
}

static void
remove_store(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

Test(catalog, a_created_store_can_be_written_with_its_key)
{
    const struct ts_options options = small();
    char key[TS_KEY_TEXT_BYTES];
    struct catalog_store *entry;
    struct ts_appended done;

    cr_assert_eq(catalog_create(catalog, "boiler", &options, key), TS_OK, "%s", ts_error_text());
    cr_assert_eq(catalog_find(catalog, span("boiler"), &entry), TS_OK);
    cr_expect_eq(ts_keyring_check(entry->keyring, key, strlen(key), TS_SCOPE_ALL), TS_OK);
    cr_assert_eq(catalog_open_store(entry), TS_OK);
    cr_expect_eq(entry->type, TS_TYPE_JSON);
    cr_expect_eq(ts_store_append(entry->store, 5, "1", 1, &done), TS_OK);
    catalog_release(entry);
}

Test(catalog, a_name_that_is_none_is_not_found)
{
    static const char *const names[] = {"", ".", "..", "../x", "a/b", "-x", ".hidden", "nope", "/"};
    struct catalog_store *entry;
    char longest[200];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_expect_eq(catalog_find(catalog, span(names[i]), &entry), TS_E_NOT_FOUND, "'%s'",
                     names[i]);
    memset(longest, 'a', sizeof longest);
    cr_expect_eq(catalog_find(catalog, (struct ts_span){longest, sizeof longest}, &entry),
                 TS_E_NOT_FOUND);
    cr_expect_eq(catalog_find(catalog, (struct ts_span){"a\0b", 3}, &entry), TS_E_NOT_FOUND);
    cr_expect_eq(catalog_find(catalog, (struct ts_span){NULL, 0}, &entry), TS_E_NOT_FOUND);
}

Test(catalog, creating_fails_without_a_trace)
{
    struct ts_options options = small();
    char key[TS_KEY_TEXT_BYTES] = "untouched";
    size_t n_known, n_open;

    create("a");
    cr_expect_eq(catalog_create(catalog, "a", &options, key), TS_E_EXISTS);
    cr_expect_eq(catalog_create(catalog, "../esc", &options, key), TS_E_NAME);
    options.data_block_bytes = 1000;
    cr_expect_eq(catalog_create(catalog, "b", &options, key), TS_E_CONFIG);
    cr_expect_str_eq(key, "untouched");
    catalog_count(catalog, &n_known, &n_open);
    cr_expect_eq(n_known, 1);
    cr_expect_eq(n_open, 1);
}

Test(catalog, a_damaged_store_keeps_no_other_from_opening)
{
    struct catalog_store *entry;
    size_t n_known, n_open;
    char path[256];

    create("a");
    create("bad");
    create("c");
    snprintf(path, sizeof path, "%s/bad/meta.tsdb", dir);
    cr_assert_eq(catalog_close(catalog), TS_OK);
    cr_assert_eq(truncate(path, 30), 0);
    cr_assert_eq(catalog_open(dir, NULL, durable_fd, &catalog), TS_OK, "%s", ts_error_text());
    catalog_count(catalog, &n_known, &n_open);
    cr_expect_eq(n_known, 3);
    cr_expect_eq(n_open, 2);
    cr_assert_eq(catalog_find(catalog, span("bad"), &entry), TS_OK, "its keys still count");
    cr_expect_eq(catalog_open_store(entry), TS_E_CORRUPT);
    cr_expect_not_null(strstr(ts_error_text(), "meta.tsdb"), "%s", ts_error_text());
    cr_expect_eq(catalog_open_store(entry), TS_E_CORRUPT, "and again, from memory");
    cr_expect_not_null(strstr(ts_error_text(), "meta.tsdb"), "%s", ts_error_text());
    catalog_release(entry);
    cr_assert_eq(catalog_find(catalog, span("c"), &entry), TS_OK);
    cr_expect_eq(catalog_open_store(entry), TS_OK);
    catalog_release(entry);
}

Test(catalog, a_store_made_by_somebody_else_is_found)
{
    const struct ts_options options = small();
    struct catalog_store *entry;

    cr_assert_eq(ts_store_create(dir, "other", &options), TS_OK);
    cr_assert_eq(catalog_find(catalog, span("other"), &entry), TS_OK);
    cr_expect_eq(catalog_open_store(entry), TS_OK, "%s", ts_error_text());
    catalog_release(entry);
}

Test(catalog, a_removed_store_is_gone_and_its_successor_is_another)
{
    struct catalog_store *before, *after;

    create("a");
    cr_assert_eq(catalog_find(catalog, span("a"), &before), TS_OK);
    remove_store("a");
    catalog_sweep(catalog);
    cr_expect(before->is_gone);
    cr_expect_eq(catalog_find(catalog, span("a"), &after), TS_E_NOT_FOUND);
    create("a");
    cr_assert_eq(catalog_find(catalog, span("a"), &after), TS_OK);
    cr_expect_neq(before, after);
    cr_expect_not(after->is_gone);
    catalog_release(before);
    catalog_release(after);
}

Test(catalog, a_store_replaced_between_two_looks_is_noticed_without_a_sweep)
{
    const struct ts_options options = small();
    struct catalog_store *before, *after;

    create("a");
    cr_assert_eq(catalog_find(catalog, span("a"), &before), TS_OK);
    remove_store("a");
    cr_assert_eq(ts_store_create(dir, "a", &options), TS_OK);
    cr_assert_eq(catalog_find(catalog, span("a"), &after), TS_OK);
    cr_expect_neq(before, after);
    cr_expect(before->is_gone);
    catalog_release(before);
    catalog_release(after);
}

Test(catalog, a_store_that_syncs_each_record_signals_durability)
{
    struct ts_options options = small();
    char key[TS_KEY_TEXT_BYTES];
    struct catalog_store *entry;
    struct pollfd wait = {.fd = durable_fd, .events = POLLIN};
    struct ts_appended done;

    options.sync_ms = TS_SYNC_EACH;
    cr_assert_eq(catalog_create(catalog, "each", &options, key), TS_OK);
    cr_assert_eq(catalog_find(catalog, span("each"), &entry), TS_OK);
    cr_assert_eq(ts_store_append(entry->store, 0, "1", 1, &done), TS_OK);
    cr_expect_eq(poll(&wait, 1, 5000), 1);
    catalog_release(entry);
}

Test(catalog, sync_all_makes_everything_durable)
{
    struct catalog_store *entry;
    struct ts_appended done;

    create("a");
    cr_assert_eq(catalog_find(catalog, span("a"), &entry), TS_OK);
    cr_assert_eq(ts_store_append(entry->store, 0, "1", 1, &done), TS_OK);
    cr_expect_eq(catalog_sync(catalog), TS_OK);
    cr_expect_geq(ts_store_durable_no(entry->store), done.record_no);
    catalog_release(entry);
}

Test(catalog, a_dropped_store_is_gone_for_who_still_holds_it)
{
    struct catalog_store *entry, *other;
    char path[128];
    uint64_t count = 0;

    create("boiler");
    cr_assert_eq(catalog_find(catalog, span("boiler"), &entry), TS_OK);
    cr_assert_eq(catalog_open_store(entry), TS_OK);
    cr_assert_eq(catalog_enter(entry), TS_OK);
    cr_expect_eq(catalog_enter(entry), TS_OK, "any number at once");
    catalog_leave(entry);
    catalog_leave(entry);
    cr_expect_eq(catalog_drop(entry), TS_OK, "%s", ts_error_text());
    snprintf(path, sizeof path, "%s/boiler", dir);
    cr_expect_neq(access(path, F_OK), 0);
    cr_expect_eq(catalog_enter(entry), TS_E_CLOSED);
    cr_expect_eq(catalog_open_store(entry), TS_OK);
    cr_expect_eq(catalog_drop(entry), TS_E_CLOSED);
    cr_expect_eq(catalog_find(catalog, span("boiler"), &other), TS_E_NOT_FOUND);
    cr_expect_eq(read(durable_fd, &count, sizeof count), sizeof count, "who waits is woken");
    create("boiler");
    cr_assert_eq(catalog_find(catalog, span("boiler"), &other), TS_OK);
    cr_expect_neq(other->id, entry->id);
    cr_expect_eq(catalog_enter(other), TS_OK);
    catalog_leave(other);
    catalog_release(other);
    catalog_release(entry);
    cr_expect_eq(catalog_sync(catalog), TS_OK);
}
