/* smallfile.c - small files that are replaced whole: hostile files, full disks, kill at every
 * system call.
 */
#include "common/smallfile.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/tsstore-smallfile-XXXXXX";
static int dir_fd = -1;

static void
make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(ts_smallfile_open_dir(dir, &dir_fd), TS_OK);
}

/* Removes the files, and returns how many there were. */
static int
empty_dir(void)
{
    DIR *listing = opendir(dir);
    struct dirent *entry;
    int n = 0;

    cr_assert_not_null(listing);
    while ((entry = readdir(listing)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            unlinkat(dir_fd, entry->d_name, 0);
            unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR);
            n++;
        }
    closedir(listing);
    return n;
}

static void
remove_dir(void)
{
    empty_dir();
    close(dir_fd);
    rmdir(dir);
}

TestSuite(smallfile, .init = make_dir, .fini = remove_dir, .timeout = 60);

/* True if the file holds exactly these bytes. */
static bool
holds(const char *name, const char *want, size_t want_bytes)
{
    char *bytes = NULL;
    size_t n = 0;
    bool is_same;

    if (ts_smallfile_read(dir_fd, name, 1 << 21, &bytes, &n, NULL) != TS_OK)
        return false;
    is_same = n == want_bytes && memcmp(bytes, want, n) == 0 && bytes[n] == '\0';
    free(bytes);
    return is_same;
}

Test(smallfile, what_was_put_there_is_read_back_whole)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8192, 1 << 20};
    char *bytes = malloc(1 << 20);
    struct stat st;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(bytes, 'a' + (int)i, sizes[i]);
        cr_assert_eq(ts_smallfile_replace(dir_fd, "x.json", bytes, sizes[i], 0640), TS_OK);
        cr_assert(holds("x.json", bytes, sizes[i]), "%zu bytes", sizes[i]);
    }
    cr_assert_eq(fstatat(dir_fd, "x.json", &st, 0), 0);
    cr_assert_eq(st.st_mode & 07777, 0640);
    cr_assert_eq(empty_dir(), 1, "a temporary file was left");
    free(bytes);
}

Test(smallfile, what_is_no_small_regular_file_is_refused)
{
    static const struct {
        const char *name;
        enum ts_err want;
    } rows[] = {
        {"missing", TS_E_NOT_FOUND}, {"fifo", TS_E_IO},   {"folder", TS_E_IO},
        {"link", TS_E_IO},           {"big", TS_E_LIMIT}, {"big/below", TS_E_NOT_FOUND},
    };
    char *bytes = (char *)"untouched";
    size_t n = 7;

    cr_assert_eq(mkfifoat(dir_fd, "fifo", 0600), 0);
    cr_assert_eq(mkdirat(dir_fd, "folder", 0700), 0);
    cr_assert_eq(ts_smallfile_replace(dir_fd, "big", "12345678901", 11, 0600), TS_OK);
    cr_assert_eq(symlinkat("big", dir_fd, "link"), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(ts_smallfile_read(dir_fd, rows[i].name, 10, &bytes, &n, NULL), rows[i].want,
                     "%s: %s", rows[i].name, ts_error_text());
        cr_expect_not_null(strstr(ts_error_text(), rows[i].name));
    }
    cr_assert_str_eq(bytes, "untouched");
    cr_assert_eq(n, 7);
}

Test(smallfile, a_file_of_exactly_the_limit_is_read)
{
    char *bytes = NULL;
    size_t n = 0;

    cr_assert_eq(ts_smallfile_replace(dir_fd, "x", "1234567890", 10, 0600), TS_OK);
    cr_assert_eq(ts_smallfile_read(dir_fd, "x", 10, &bytes, &n, NULL), TS_OK);
    cr_assert_eq(n, 10);
    free(bytes);
    cr_assert_eq(ts_smallfile_read(dir_fd, "x", 9, &bytes, &n, NULL), TS_E_LIMIT);
}

Test(smallfile, a_path_of_the_operators_may_be_a_link)
{
    char path[64];
    char *bytes = NULL;
    size_t n = 0;

    cr_assert_eq(ts_smallfile_replace(dir_fd, "real", "abc", 3, 0600), TS_OK);
    cr_assert_eq(symlinkat("real", dir_fd, "link"), 0);
    snprintf(path, sizeof path, "%s/link", dir);
    cr_assert_eq(ts_smallfile_read_path(path, 10, &bytes, &n), TS_OK);
    cr_assert_str_eq(bytes, "abc");
    free(bytes);
    cr_assert_eq(ts_smallfile_read_path("/dev/zero", 10, &bytes, &n), TS_E_IO);
}

Test(smallfile, a_link_at_the_temporary_name_is_not_followed)
{
    cr_assert_eq(ts_smallfile_replace(dir_fd, "victim", "safe", 4, 0600), TS_OK);
    cr_assert_eq(symlinkat("victim", dir_fd, ".x.new"), 0);
    cr_assert_eq(ts_smallfile_replace(dir_fd, "x", "new", 3, 0600), TS_OK);
    cr_assert(holds("victim", "safe", 4));
    cr_assert(holds("x", "new", 3));
    cr_assert_eq(empty_dir(), 2);
}

Test(smallfile, what_a_crash_left_behind_is_in_nobodys_way)
{
    const int fd = openat(dir_fd, ".x.new", O_WRONLY | O_CREAT, 0400);

    cr_assert(fd >= 0);
    cr_assert_eq((int)write(fd, "half", 4), 4);
    close(fd);
    cr_assert_eq(ts_smallfile_replace(dir_fd, "x", "new", 3, 0600), TS_OK);
    cr_assert(holds("x", "new", 3));
    cr_assert_eq(empty_dir(), 1);
}

Test(smallfile, a_write_that_fails_leaves_the_old_file)
{
    const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    static char bytes[10000];

    cr_assert_eq(ts_smallfile_replace(dir_fd, "x", "old", 3, 0600), TS_OK);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(ts_smallfile_replace(dir_fd, "x", bytes, sizeof bytes, 0600), TS_E_IO);
    cr_assert(holds("x", "old", 3));
    cr_assert_eq(empty_dir(), 1, "a temporary file was left");
}

Test(smallfile, a_name_that_leads_elsewhere_is_refused)
{
    char long_name[200];

    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    cr_assert_eq(ts_smallfile_replace(dir_fd, long_name, "", 0, 0600), TS_E_IO);
    cr_assert_eq(ts_smallfile_replace(dir_fd, "../x", "", 0, 0600), TS_E_IO);
}

Test(smallfile, a_missing_directory_is_told_from_other_trouble)
{
    int fd = -7;

    cr_assert_eq(ts_smallfile_open_dir("/nonexistent/store", &fd), TS_E_NOT_FOUND);
    cr_assert_eq(fd, -7);
}

Test(smallfile, the_lock_keeps_a_second_descriptor_out)
{
    int other_fd = -1;

    cr_assert_eq(ts_smallfile_open_dir(dir, &other_fd), TS_OK);
    cr_assert_eq(ts_smallfile_lock(other_fd, 0), TS_OK);
    cr_assert_eq(ts_smallfile_lock(dir_fd, 30), TS_E_LOCKED);
    close(other_fd);
    cr_assert_eq(ts_smallfile_lock(dir_fd, 0), TS_OK);
}

/* Replaces the file in a child that is killed when it enters its n-th system call. Returns false
 * once the child came through. */
static bool
replace_and_die(int n, const char *bytes, size_t n_bytes)
{
    const pid_t pid = fork();
    int status;

    cr_assert(pid >= 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(ts_smallfile_replace(dir_fd, "x", bytes, n_bytes, 0600) == TS_OK ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    /* Each system call stops twice, at its entry and at its exit. */
    for (int stops = 0; WIFSTOPPED(status) && stops < 2 * n - 1; stops++) {
        cr_assert_eq((int)ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
    }
    if (!WIFSTOPPED(status)) {
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return false;
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) == pid && !WIFSIGNALED(status))
        ;
    return true;
}

static bool
can_trace(void)
{
    const pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(smallfile, killed_at_any_system_call_it_leaves_the_old_or_the_new_file)
{
    static char old[9000], new[7000];
    int n_old = 0, n_new = 0;
    bool was_killed = true;

    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    if (!can_trace()) {
        cr_log_warn("tracing a child is forbidden here: nothing was tried");
        return;
    }
    for (int n = 1; was_killed && n < 200; n++) {
        cr_assert_eq(ts_smallfile_replace(dir_fd, "x", old, sizeof old, 0600), TS_OK);
        was_killed = replace_and_die(n, new, sizeof new);
        if (holds("x", old, sizeof old))
            n_old++;
        else if (holds("x", new, sizeof new))
            n_new++;
        else
            cr_assert_fail("killed at call %d: neither the old nor the new file", n);
    }
    cr_assert_not(was_killed, "the child never came through");
    /* unlink, open, write, chmod, fsync, close, rename come before; fsync of the directory after.
     */
    cr_assert(n_old >= 6);
    cr_assert(n_new >= 2);
}
