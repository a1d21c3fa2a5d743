/* harness.c - directories, processes, files. */
#include "tests/system/harness.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Fewer threads than a real daemon keeps: a test starts and stops hundreds of daemons. */
static const char default_config[] =
    "{\"limits\": {\"max_connections\": 64}, \"store\": {\"num_blocks\": 1024}}";

struct site site;

/* ---- what lives as long as the site ---- */

struct kept {
    struct kept *next;
    void *thing;
    void (*release)(void *);
};
static struct kept *all_kept; /* guarded by kept_lock */
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

void
keep(void *thing, void (*release)(void *))
{
    struct kept *kept = malloc(sizeof *kept);

    cr_assert_not_null(kept);
    pthread_mutex_lock(&kept_lock);
    *kept = (struct kept){all_kept, thing, release};
    all_kept = kept;
    pthread_mutex_unlock(&kept_lock);
}

static void
release_all(void)
{
    while (all_kept != NULL) {
        struct kept *kept = all_kept;

        all_kept = kept->next;
        kept->release(kept->thing);
        free(kept);
    }
}

char *
text(const char *format, ...)
{
    va_list args;
    char *out;

    va_start(args, format);
    cr_assert(vasprintf(&out, format, args) >= 0);
    va_end(args);
    keep(out, free);
    return out;
}

char *
repeat(char c, size_t n)
{
    char *out = malloc(n + 1);

    cr_assert_not_null(out);
    memset(out, c, n);
    out[n] = '\0';
    keep(out, free);
    return out;
}

/* ---- time ---- */

int64_t
clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void
pause_briefly(void)
{
    nanosleep(&(struct timespec){0, 5 * 1000 * 1000}, NULL);
}

/* ---- files ---- */

static char *
read_whole(int fd)
{
    size_t used = 0, capacity = 4096;
    char *out = malloc(capacity);
    ssize_t n;

    cr_assert_not_null(out);
    while ((n = read(fd, out + used, capacity - used - 1)) > 0 || (n < 0 && errno == EINTR)) {
        used += n > 0 ? (size_t)n : 0;
        if (used + 1 == capacity) {
            capacity *= 2;
            out = realloc(out, capacity);
            cr_assert_not_null(out);
        }
    }
    out[used] = '\0';
    keep(out, free);
    return out;
}

static char *
read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *out;

    if (fd < 0)
        return text("%s", "");
    out = read_whole(fd);
    close(fd);
    return out;
}

char *
store_path(const struct store *store, const char *file)
{
    return text("%s/%s/%s", site.data, store->name, file);
}

int64_t
file_bytes(const char *path)
{
    struct stat st;

    cr_assert_eq(stat(path, &st), 0, "%s: %s", path, strerror(errno));
    return st.st_size;
}

int64_t
store_bytes(const struct store *store)
{
    static const char *const files[] = {"meta.tsdb", "data.tsdb", "head.tsdb", "index.tsdb"};
    int64_t sum = 0;

    for (size_t i = 0; i < COUNTOF(files); i++)
        sum += file_bytes(store_path(store, files[i]));
    return sum;
}

void
file_poke(const char *path, int64_t offset, const void *data, size_t bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char *flipped = malloc(bytes);

    cr_assert(fd >= 0 && flipped != NULL, "%s: %s", path, strerror(errno));
    if (data == NULL) {
        cr_assert_eq(pread(fd, flipped, bytes, offset), (ssize_t)bytes);
        for (size_t i = 0; i < bytes; i++)
            flipped[i] = (char)~flipped[i];
        data = flipped;
    }
    cr_assert_eq(pwrite(fd, data, bytes, offset), (ssize_t)bytes);
    free(flipped);
    close(fd);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* ---- processes ---- */

static char *
program_path(const char *program)
{
    const char *dir = getenv("TSSTORE_BIN_DIR");
    char *path = text("%s/%s", dir != NULL ? dir : "build/bin", program);
    char *whole = realpath(path, NULL);

    cr_assert_not_null(whole, "%s: %s", path, strerror(errno));
    keep(whole, free);
    return whole;
}

/* In the child: becomes the program, in site.root, and dies with the test. */
static void
become(const char *path, const char *const *argv, const char *const *env, int in, int out, int err)
{
    static const char *const own[] = {
        "TSSTORE_CONFIG",    "TSSTORE_ADMIN_KEY",   "TSSTORE_HOST",    "TSSTORE_PORT",
        "TSSTORE_DATA_PATH", "TSSTORE_SOCKET_PATH", "TSSTORE_RUN_DIR", "TSSTORE_TLS_CERT",
        "TSSTORE_TLS_KEY",   "TSSTORE_LOG_LEVEL"};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < COUNTOF(own); i++)
        unsetenv(own[i]);
    for (; *env != NULL; env++)
        putenv((char *)*env);
    signal(SIGPIPE, SIG_DFL);
    if (chdir(site.root) == 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0)
        execv(path, (char *const *)argv);
    _exit(127);
}

void
process_spawn(struct process *process, const char *program, const char *const *env,
              const char *const *argv)
{
    const char *const usual[] = {"TSSTORE_ADMIN_KEY=" ADMIN_KEY, NULL};
    const char *path = program_path(program);
    int out[2], null, err;

    cr_assert_eq(process->pid, 0, "%s runs already", process->name);
    snprintf(process->name, sizeof process->name, "%s", program);
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    err = open(process->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cr_assert(null >= 0 && err >= 0, "%s: %s", process->log, strerror(errno));
    process->pid = fork();
    cr_assert(process->pid >= 0);
    if (process->pid == 0)
        become(path, argv, env != NULL ? env : usual, null, out[1], err);
    close(out[1]);
    close(null);
    close(err);
    process->out_fd = out[0];
    process->port = 0;
}

/* Reaps the process if it ends within the time: gives its status as a shell would, or -1. */
static int
reap(struct process *process, int timeout_ms)
{
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, process->pid, 0), .events = POLLIN};
    int status, ready;

    cr_assert(end.fd >= 0, "pidfd_open: %s", strerror(errno));
    do
        ready = poll(&end, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    close(end.fd);
    if (ready != 1)
        return -1;
    cr_assert_eq(waitpid(process->pid, &status, 0), process->pid);
    process->pid = 0;
    close(process->out_fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void
process_await_ready(struct process *process)
{
    const int64_t until = clock_ms() + PATIENCE_MS;
    char line[1024];
    size_t used = 0;
    const char *http;

    for (;;) {
        struct pollfd out = {.fd = process->out_fd, .events = POLLIN};
        ssize_t n = 0;

        if (poll(&out, 1, (int)(until - clock_ms() > 0 ? until - clock_ms() : 0)) == 1)
            n = read(process->out_fd, line + used, sizeof line - 1 - used);
        cr_assert(n > 0, "%s did not get ready: %s", process->name, read_file(process->log));
        used += (size_t)n;
        line[used] = '\0';
        if (strchr(line, '\n') != NULL)
            break;
        cr_assert(used < sizeof line - 1);
    }
    cr_assert_eq(strncmp(line, "listening ", 10), 0, "%s said: %s", process->name, line);
    process->banner = text("%s", line);
    http = strstr(line, "http=");
    if (http != NULL && strchr(http + 5, ':') != NULL)
        process->port = atoi(strrchr(text("%.*s", (int)strcspn(http, " \n"), http), ':') + 1);
}

int
process_await_end(struct process *process, int timeout_ms)
{
    int status = reap(process, timeout_ms);

    cr_assert(status >= 0, "%s did not end in %d ms: %s", process->name, timeout_ms,
              read_file(process->log));
    return status;
}

int
process_stop(struct process *process, int timeout_ms)
{
    cr_assert_neq(process->pid, 0, "%s does not run", process->name);
    kill(process->pid, SIGTERM);
    return process_await_end(process, timeout_ms);
}

void
process_kill(struct process *process)
{
    cr_assert_neq(process->pid, 0, "%s does not run", process->name);
    kill(process->pid, SIGKILL);
    cr_assert_eq(process_await_end(process, PATIENCE_MS), 128 + SIGKILL, "%s had died before: %s",
                 process->name, read_file(process->log));
}

bool
process_is_alive(struct process *process)
{
    return process->pid != 0 && reap(process, 0) < 0;
}

bool
process_said(const struct process *process, const char *what)
{
    return strstr(read_file(process->log), what) != NULL;
}

const char *
process_log(const struct process *process)
{
    return read_file(process->log);
}

long
process_rss_kib(const struct process *process)
{
    const char *status = read_file(text("/proc/%d/status", (int)process->pid));
    const char *rss = strstr(status, "VmRSS:");

    cr_assert_not_null(rss);
    return atol(rss + 6);
}

struct run
run_program(const char *const *env, const char *input, const char *program, ...)
{
    const char *const usual[] = {
        text("TSSTORE_DATA_PATH=%s", site.data), text("TSSTORE_RUN_DIR=%s", site.run),
        text("TSSTORE_SOCKET_PATH=%s", site.socket), "TSSTORE_ADMIN_KEY=" ADMIN_KEY, NULL};
    const char *argv[32] = {program};
    const char *path = program_path(program);
    struct process process = {0};
    char in_name[] = "/tmp/tsstore-in-XXXXXX", out_name[] = "/tmp/tsstore-out-XXXXXX",
         err_name[] = "/tmp/tsstore-err-XXXXXX";
    int in = mkostemp(in_name, O_CLOEXEC), out = mkostemp(out_name, O_CLOEXEC),
        err = mkostemp(err_name, O_CLOEXEC);
    struct run run;
    va_list args;

    cr_assert(in >= 0 && out >= 0 && err >= 0);
    va_start(args, program);
    for (size_t n = 1; n < COUNTOF(argv) - 1; n++)
        if ((argv[n] = va_arg(args, const char *)) == NULL)
            break;
    va_end(args);
    if (input != NULL)
        cr_assert_eq(write(in, input, strlen(input)), (ssize_t)strlen(input));
    lseek(in, 0, SEEK_SET);
    snprintf(process.name, sizeof process.name, "%s", program);
    process.out_fd = -1;
    process.pid = fork();
    cr_assert(process.pid >= 0);
    if (process.pid == 0)
        become(path, argv, env != NULL ? env : usual, in, out, err);
    run.status = reap(&process, PATIENCE_MS);
    run.out = read_file(out_name);
    run.err = read_file(err_name);
    if (run.status < 0) {
        kill(process.pid, SIGKILL);
        reap(&process, -1);
    }
    close(in);
    close(out);
    close(err);
    unlink(in_name);
    unlink(out_name);
    unlink(err_name);
    cr_assert(run.status >= 0, "%s %s does not end", program, argv[1] != NULL ? argv[1] : "");
    return run;
}

/* ---- the site ---- */

void
site_prepare(const char *config_json)
{
    int fd;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    /* Short: a socket's path has 108 bytes. */
    snprintf(site.root, sizeof site.root, "/tmp/tsstore-XXXXXX");
    cr_assert_not_null(mkdtemp(site.root));
    snprintf(site.data, sizeof site.data, "%s/data", site.root);
    snprintf(site.run, sizeof site.run, "%s/run", site.root);
    snprintf(site.socket, sizeof site.socket, "%s/tsstore.sock", site.run);
    snprintf(site.config, sizeof site.config, "%s/site.json", site.root);
    cr_assert_eq(mkdir(site.data, 0755), 0);
    cr_assert_eq(mkdir(site.run, 0755), 0);
    fd = open(site.config, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (config_json == NULL)
        config_json = default_config;
    cr_assert_eq(write(fd, config_json, strlen(config_json)), (ssize_t)strlen(config_json));
    close(fd);
    snprintf(site.ingestd.log, sizeof site.ingestd.log, "%s/ingestd.log", site.root);
    for (unsigned i = 0; i < SITE_QUERYDS; i++)
        snprintf(site.queryd[i].log, sizeof site.queryd[i].log, "%s/queryd%u.log", site.root, i);
}

void
ingestd_start(void)
{
    const char *const argv[] = {"ingestd",   "--config",  site.config,   "--data",
                                site.data,   "--run-dir", site.run,      "--socket",
                                site.socket, "--http",    "127.0.0.1:0", NULL};

    process_spawn(&site.ingestd, "ingestd", NULL, argv);
    process_await_ready(&site.ingestd);
}

void
queryd_start(unsigned i)
{
    const char *const argv[] = {"queryd",    "--config", site.config, "--data",      site.data,
                                "--run-dir", site.run,   "--http",    "127.0.0.1:0", NULL};

    process_spawn(&site.queryd[i], "queryd", NULL, argv);
    process_await_ready(&site.queryd[i]);
}

void
site_start(void)
{
    site_prepare(NULL);
    ingestd_start();
    queryd_start(0);
}

static void
end_process(struct process *process)
{
    int status;

    if (process->pid == 0)
        return;
    kill(process->pid, SIGTERM);
    ws_hear_out(process->port);
    status = reap(process, PATIENCE_MS);
    cr_expect_eq(status, 0, "%s ended with status %d:\n%s", process->name, status,
                 read_file(process->log));
    if (status < 0) {
        kill(process->pid, SIGKILL);
        reap(process, -1);
    }
}

void
site_stop(void)
{
    for (unsigned i = 0; i < SITE_QUERYDS; i++)
        end_process(&site.queryd[i]);
    end_process(&site.ingestd);
    release_all();
    if (getenv("TSSTORE_KEEP") == NULL && site.root[0] != '\0')
        nftw(site.root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    curl_global_cleanup();
}
