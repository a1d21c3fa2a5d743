/* daemons.c - see daemons.h. */
#include "tests/rig/daemons.h"

#include "common/keys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 60000

struct site site = {.ingestd_cpu = -1, .queryd_cpu = -1};

/* ---- the site ---- */

static void
kill_what_runs(void)
{
    kill_daemon(&site.queryd);
    kill_daemon(&site.ingestd);
}

void
site_begin(void)
{
    const char *root = scratch_dir();

    snprintf(site.data, sizeof site.data, "%s/data", root);
    snprintf(site.run, sizeof site.run, "%s/run", root);
    snprintf(site.socket, sizeof site.socket, "%s/run/feed.sock", root);
    snprintf(site.log, sizeof site.log, "%s/log", root);
    if (mkdir(site.data, 0755) != 0 || mkdir(site.run, 0755) != 0)
        die_errno("make directories in %s", root);
    /* After scratch_dir(): what is registered last is done first. */
    atexit(kill_what_runs);
}

void
site_end(void)
{
    stop_daemon(&site.queryd);
    stop_daemon(&site.ingestd);
}

void
site_create_store(const char *name, const struct ts_options *options, char out_key[STORE_KEY_BYTES])
{
    char path[400];

    if (ts_store_create(site.data, name, options) != TS_OK)
        die("create store %s: %s", name, ts_error_text());
    snprintf(path, sizeof path, "%s/%s", site.data, name);
    if (ts_keys_create(path, name, "of a bench", out_key) != TS_OK)
        die("key of store %s: %s", name, ts_error_text());
}

/* ---- processes ---- */

static void
exec_daemon(const char *program, int cpu, int out_fd)
{
    const char *dir = getenv("TSSTORE_BIN_DIR");
    char path[400];
    int log_fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (cpu >= 0)
        pin_to(cpu);
    else
        unpin();
    log_fd = open(site.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log_fd, STDERR_FILENO);
    dup2(out_fd, STDOUT_FILENO);
    setenv("TSSTORE_ADMIN_KEY", "an-admin-key-for-the-benches", 1);
    snprintf(path, sizeof path, "%s/%s", dir != NULL ? dir : "build/bin", program);
    if (strcmp(program, "ingestd") == 0)
        execl(path, program, "--data", site.data, "--run-dir", site.run, "--socket", site.socket,
              "--http", "127.0.0.1:0", (char *)NULL);
    else
        execl(path, program, "--data", site.data, "--run-dir", site.run, "--http", "127.0.0.1:0",
              (char *)NULL);
    die_errno("run %s (is it built? TSSTORE_BIN_DIR says where)", path);
}

static void
spawn(struct daemon *daemon, const char *program, int cpu)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        die_errno("pipe");
    fflush(NULL);
    daemon->pid = fork();
    if (daemon->pid < 0)
        die_errno("fork");
    if (daemon->pid == 0)
        exec_daemon(program, cpu, ends[1]);
    close(ends[1]);
    daemon->out_fd = ends[0];
}

static void
show_log(void)
{
    char buffer[4096];
    FILE *file = fopen(site.log, "re");

    while (file != NULL && fgets(buffer, sizeof buffer, file) != NULL)
        fputs(buffer, stderr);
    if (file != NULL)
        fclose(file);
}

/* Waits for "listening http=HOST:PORT …". */
static void
await_ready(struct daemon *daemon, const char *program)
{
    struct pollfd poller = {.fd = daemon->out_fd, .events = POLLIN};
    char line[1024];
    size_t used = 0;
    const char *http;

    while (memchr(line, '\n', used) == NULL) {
        ssize_t n = 0;

        if (poll(&poller, 1, READY_MS) == 1)
            n = read(daemon->out_fd, line + used, sizeof line - 1 - used);
        if (n <= 0) {
            show_log();
            die("%s does not start", program);
        }
        used += (size_t)n;
    }
    line[used] = '\0';
    http = strstr(line, "http=");
    http = http != NULL ? strchr(http, ':') : NULL;
    daemon->port = http != NULL ? atoi(http + 1) : 0;
}

int64_t
start_ingestd(void)
{
    const int64_t start = clock_ns();

    spawn(&site.ingestd, "ingestd", site.ingestd_cpu);
    await_ready(&site.ingestd, "ingestd");
    return clock_ns() - start;
}

int64_t
start_queryd(void)
{
    const int64_t start = clock_ns();

    spawn(&site.queryd, "queryd", site.queryd_cpu);
    await_ready(&site.queryd, "queryd");
    return clock_ns() - start;
}

void
spawn_ingestd(void)
{
    spawn(&site.ingestd, "ingestd", site.ingestd_cpu);
}

static int
end_daemon(struct daemon *daemon, int number)
{
    int status = 0;

    if (daemon->pid <= 0)
        return 0;
    kill(daemon->pid, number);
    while (waitpid(daemon->pid, &status, 0) < 0 && errno == EINTR) {
    }
    close(daemon->out_fd);
    *daemon = (struct daemon){0};
    return status;
}

void
stop_daemon(struct daemon *daemon)
{
    const int status = end_daemon(daemon, SIGTERM);

    if (status != 0) {
        show_log();
        die("a daemon ended with status 0x%x", (unsigned)status);
    }
}

void
kill_daemon(struct daemon *daemon)
{
    end_daemon(daemon, SIGKILL);
}

/* ---- sockets ---- */

static struct sockaddr_un
unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        die("%s: too long for a socket", path);
    strcpy(address.sun_path, path);
    return address;
}

int
unix_listen_at(const char *path)
{
    const struct sockaddr_un address = unix_address(path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 64) != 0)
        die_errno("listen at %s", path);
    return fd;
}

int
unix_connect_to(const char *path)
{
    const struct sockaddr_un address = unix_address(path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die_errno("socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

int
tcp_connect_to(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die_errno("connect to port %d", port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

bool
send_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        const ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* ---- feeders ---- */

bool
feeder_try_open(struct feeder *feeder, const char *store, const char *key)
{
    char line[256];
    const int n = snprintf(line, sizeof line, "AUTH %s %s\n", store, key);
    const char *answer;

    feeder->start = feeder->used = 0;
    feeder->fd = unix_connect_to(site.socket);
    if (feeder->fd < 0)
        return false;
    answer = send_all(feeder->fd, line, (size_t)n) ? feeder_read(feeder) : NULL;
    if (answer == NULL) {
        feeder_close(feeder);
        return false;
    }
    if (strcmp(answer, "OK") != 0)
        die("AUTH was answered: %s", answer);
    return true;
}

void
feeder_open(struct feeder *feeder, const char *store, const char *key)
{
    if (!feeder_try_open(feeder, store, key))
        die("no ingestd at %s", site.socket);
}

void
feeder_close(struct feeder *feeder)
{
    if (feeder->fd >= 0)
        close(feeder->fd);
    feeder->fd = -1;
}

char *
feeder_read(struct feeder *feeder)
{
    for (;;) {
        char *const line = feeder->buffer + feeder->start;
        char *const newline = memchr(line, '\n', feeder->used - feeder->start);
        ssize_t n;

        if (newline != NULL) {
            *newline = '\0';
            feeder->start = (size_t)(newline - feeder->buffer) + 1;
            return line;
        }
        memmove(feeder->buffer, line, feeder->used - feeder->start);
        feeder->used -= feeder->start;
        feeder->start = 0;
        if (feeder->used == sizeof feeder->buffer)
            die("an answer without an end");
        do
            n = recv(feeder->fd, feeder->buffer + feeder->used,
                     sizeof feeder->buffer - feeder->used, 0);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            return NULL;
        feeder->used += (size_t)n;
    }
}
