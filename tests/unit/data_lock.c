/* data_lock.c - one writer per data directory. */
#include "ingestd/data_lock.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static void
make_scratch(void)
{
    strcpy(dir, "/tmp/tsstore-lock-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
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
remove_scratch(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(data_lock, .init = make_scratch, .fini = remove_scratch);

Test(data_lock, makes_the_directory_and_its_parents)
{
    char path[128];
    struct stat st;
    int fd;

    snprintf(path, sizeof path, "%s/a/b//c", dir);
    cr_assert_eq(data_lock_open(path, &fd), TS_OK, "%s", ts_error_text());
    cr_expect_eq(stat(path, &st), 0);
    data_lock_close(fd);
    cr_assert_eq(data_lock_open(path, &fd), TS_OK, "it may be there");
    data_lock_close(fd);
}

Test(data_lock, the_second_is_told_who_holds_it)
{
    char want[64];
    int status;
    int fd;
    pid_t child;

    cr_assert_eq(data_lock_open(dir, &fd), TS_OK);
    snprintf(want, sizeof want, "is locked by ingestd, pid %ld", (long)getpid());
    child = fork();
    if (child == 0) {
        int other = -1;
        const enum ts_err err = data_lock_open(dir, &other);

        _exit(err == TS_E_LOCKED && other == -1 && strstr(ts_error_text(), want) != NULL ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    data_lock_close(fd);
}

Test(data_lock, a_dead_holder_holds_nothing)
{
    int status;
    int fd;
    pid_t child = fork();

    if (child == 0)
        _exit(data_lock_open(dir, &fd) == TS_OK ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_expect_eq(data_lock_open(dir, &fd), TS_OK, "%s", ts_error_text());
    data_lock_close(fd);
}

Test(data_lock, a_file_in_the_way_is_an_error_that_names_it)
{
    char path[128];
    FILE *file;
    int fd = -1;

    snprintf(path, sizeof path, "%s/file", dir);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fclose(file);
    cr_expect_eq(data_lock_open(path, &fd), TS_E_IO);
    cr_expect_not_null(strstr(ts_error_text(), "file"));
    cr_expect_eq(fd, -1);
    cr_expect_eq(data_lock_open("", &fd), TS_E_USAGE);
}
