/* in_socket.c - the listener and the loop; a feeder is socket_connection.c. */
#include "ingestd/in_socket.h"

#include "common/log.h"
#include "daemon/monotonic.h"
#include "ingestd/data_lock.h"
#include "ingestd/socket_connection.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS_PER_ROUND 64
#define ACCEPTS_PER_ROUND 16

struct in_socket {
    struct socket_loop loop;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    dev_t dev; /* of the socket file, so that nobody else's is removed */
    ino_t ino;
    int listen_fd;  /* owned; -1: none */
    int wake_fd;    /* owned; eventfd: to stop, or to show a sign of life */
    int auth_fd;    /* owned; timerfd of the first connection that has not shown its key */
    int durable_fd; /* borrowed */
    int spare_fd;   /* owned; given up to accept and refuse when descriptors run out */
    bool is_auth_armed;
    bool has_thread;
    pthread_t thread;
    _Atomic bool is_stop_wanted;
    _Atomic uint64_t n_rounds;
    uint64_t rounds_seen; /* by in_socket_is_alive() */
};

static void
drain(int fd)
{
    uint64_t count;

    if (read(fd, &count, sizeof count) < 0)
        return; /* it was read already */
}

/* ---- listening ---- */

/* Nobody answers at a stale socket; a live server, or a file of another kind, is left alone. */
static enum ts_err
remove_stale(const struct sockaddr_un *address)
{
    struct stat st;
    enum ts_err err = TS_OK;
    int fd;

    if (lstat(address->sun_path, &st) != 0)
        return errno == ENOENT ? TS_OK : TS_FAIL_ERRNO(TS_E_IO, "stat %s", address->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return TS_FAIL(TS_E_IO, "%s exists and is no socket", address->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "socket");
    /* EAGAIN: its queue is full, so somebody listens. */
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
        err = TS_FAIL(TS_E_LOCKED, "%s: another server answers there", address->sun_path);
    else if (errno != ECONNREFUSED)
        err = TS_FAIL_ERRNO(TS_E_IO, "connect to %s", address->sun_path);
    else if (unlink(address->sun_path) != 0 && errno != ENOENT)
        err = TS_FAIL_ERRNO(TS_E_IO, "remove stale %s", address->sun_path);
    close(fd);
    return err;
}

static enum ts_err
make_parent(const char *path)
{
    char parent[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char *slash;

    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash == NULL || slash == parent)
        return TS_OK;
    *slash = '\0';
    return data_lock_make_dir(parent);
}

static enum ts_err
listen_at(struct in_socket *in, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    enum ts_err err;

    if (strlen(path) >= sizeof address.sun_path)
        return TS_FAIL(TS_E_USAGE, "socket path %s: at most %zu bytes are allowed", path,
                       sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    err = make_parent(path);
    if (err == TS_OK)
        err = remove_stale(&address);
    if (err != TS_OK)
        return err;
    in->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (in->listen_fd < 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "socket");
    /* Nobody can connect before listen(), so the mode is right from the first connection on. */
    if (bind(in->listen_fd, (struct sockaddr *)&address, sizeof address) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "bind %s", path);
    strcpy(in->path, path);
    if (chmod(path, 0660) != 0 || lstat(path, &st) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "set the mode of %s", path);
    in->dev = st.st_dev;
    in->ino = st.st_ino;
    if (listen(in->listen_fd, SOMAXCONN) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "listen on %s", path);
    return TS_OK;
}

static void
stop_listening(struct in_socket *in)
{
    struct stat st;

    if (in->listen_fd < 0)
        return;
    /* The name first: who finds it gone starts a server of its own, who finds it still there
     * meets a refusal. */
    if (in->path[0] != '\0' && lstat(in->path, &st) == 0 && st.st_dev == in->dev &&
        st.st_ino == in->ino)
        unlink(in->path);
    close(in->listen_fd);
    in->listen_fd = -1;
}

/* ---- new connections ---- */

static void
refuse(int fd, const char *text)
{
    char line[64];
    const int bytes = snprintf(line, sizeof line, "ERROR %s\n", text);

    if (send(fd, line, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < bytes)
        ts_log(TS_LOG_DEBUG, "a refused feeder did not hear why");
    close(fd);
}

/* Out of descriptors: with the spare one the next in the queue is told, instead of waiting in it
 * for ever while the loop spins. */
static void
refuse_with_spare(struct in_socket *in)
{
    int fd;

    close(in->spare_fd);
    fd = accept4(in->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        refuse(fd, ts_error_default_text(TS_E_BUSY));
    in->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
arm_auth(struct in_socket *in)
{
    const struct socket_connection *const first = TAILQ_FIRST(&in->loop.unknown);
    struct itimerspec when = {0};

    if (first == NULL || in->is_auth_armed)
        return;
    when.it_value.tv_sec = first->deadline_ns / 1000000000;
    when.it_value.tv_nsec = first->deadline_ns % 1000000000;
    in->is_auth_armed = timerfd_settime(in->auth_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0;
}

static void
accept_some(struct in_socket *in)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(1, 10);
    const uint32_t timeout_ms =
        atomic_load_explicit(&in->loop.settings->auth_timeout_ms, memory_order_relaxed);
    const uint32_t max =
        atomic_load_explicit(&in->loop.settings->max_feeders, memory_order_relaxed);
    uint64_t dropped;

    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        const int fd = accept4(in->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            refuse_with_spare(in);
            continue;
        }
        if (fd < 0)
            break;
        if (in->loop.n_connections >= max) {
            refuse(fd, ts_error_default_text(TS_E_BUSY));
            if (ts_log_allow(&limit, &dropped))
                ts_log(TS_LOG_WARNING, "socket: %u feeders are connected, more are refused", max);
            continue;
        }
        if (socket_connection_open(&in->loop, fd, monotonic_ns() + (int64_t)timeout_ms * 1000000) !=
            TS_OK)
            ts_log(TS_LOG_ERROR, "socket: %s", ts_error_text());
    }
    arm_auth(in);
}

static void
refuse_silent(struct in_socket *in)
{
    struct socket_connection *first;
    const int64_t now = monotonic_ns();

    drain(in->auth_fd);
    in->is_auth_armed = false;
    while ((first = TAILQ_FIRST(&in->loop.unknown)) != NULL && first->deadline_ns <= now)
        socket_connection_refuse(first, &in->loop, "authentication timed out");
    arm_auth(in);
}

/* ---- the loop ---- */

/* Returns false when it is time to stop. */
static bool
handle(struct in_socket *in, const struct epoll_event *event)
{
    void *const what = event->data.ptr;

    if (what == &in->listen_fd) {
        if (in->listen_fd >= 0)
            accept_some(in);
    } else if (what == &in->durable_fd) {
        drain(in->durable_fd);
        socket_loop_durable(&in->loop);
    } else if (what == &in->auth_fd) {
        refuse_silent(in);
    } else if (what == in->loop.publish) {
        publish_due(in->loop.publish);
    } else if (what == &in->wake_fd) {
        drain(in->wake_fd);
        /* acquire: pairs with in_socket_stop(). */
        return !atomic_load_explicit(&in->is_stop_wanted, memory_order_acquire);
    } else {
        socket_connection_event(what, &in->loop, event->events);
    }
    return true;
}

static bool
one_round(struct in_socket *in, int timeout_ms)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    const int n = epoll_wait(in->loop.epoll_fd, events, EVENTS_PER_ROUND, timeout_ms);
    bool go_on = true;

    for (int i = 0; i < n; i++)
        go_on &= handle(in, &events[i]);
    socket_loop_end_round(&in->loop);
    atomic_fetch_add_explicit(&in->n_rounds, 1, memory_order_relaxed);
    return go_on;
}

static void *
loop_main(void *arg)
{
    struct in_socket *in = arg;
    int64_t deadline_ns;

    /* No timeout: arming a timer for every wait costs a single client a tenth of its rate. */
    while (one_round(in, -1))
        continue;
    stop_listening(in);
    socket_loop_stop(&in->loop);
    deadline_ns = monotonic_ns() + (int64_t)IN_SOCKET_STOP_MS * 1000000;
    while (!LIST_EMPTY(&in->loop.all)) {
        const int64_t left_ns = deadline_ns - monotonic_ns();

        if (left_ns <= 0)
            break;
        one_round(in, (int)(left_ns / 1000000) + 1);
    }
    if (!LIST_EMPTY(&in->loop.all))
        ts_log(TS_LOG_INFO, "socket: %u feeders did not take their answers",
               in->loop.n_connections);
    return NULL;
}

static void
wake(struct in_socket *in)
{
    const uint64_t one = 1;

    /* An eventfd takes a count of one whatever happens, short of a wrong descriptor. */
    if (write(in->wake_fd, &one, sizeof one) != sizeof one)
        ts_log(TS_LOG_ERROR, "socket: wake the loop: %s", strerror(errno));
}

static enum ts_err
watch(struct in_socket *in, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};

    if (fd < 0 || epoll_ctl(in->loop.epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "event loop of the socket");
    return TS_OK;
}

static enum ts_err
start(struct in_socket *in, const struct in_socket_options *options)
{
    enum ts_err err = socket_loop_init(&in->loop);
    int rc;

    if (err == TS_OK)
        err = watch(in, in->wake_fd, &in->wake_fd);
    if (err == TS_OK)
        err = watch(in, in->auth_fd, &in->auth_fd);
    if (err == TS_OK && options->durable_fd >= 0)
        err = watch(in, options->durable_fd, &in->durable_fd);
    if (err == TS_OK && options->publish != NULL)
        err = watch(in, publish_timer_fd(options->publish), options->publish);
    if (err == TS_OK && options->path[0] != '\0') {
        err = listen_at(in, options->path);
        if (err == TS_OK)
            err = watch(in, in->listen_fd, &in->listen_fd);
    }
    if (err != TS_OK)
        return err;
    rc = pthread_create(&in->thread, NULL, loop_main, in);
    if (rc != 0)
        return ts_error_set_errno(TS_E_SYSTEM, rc, "start the thread of the socket");
    in->has_thread = true;
    wake(in); /* so that there is a first round to be seen */
    return TS_OK;
}

enum ts_err
in_socket_start(const struct in_socket_options *options, struct in_socket **out)
{
    struct in_socket *in = calloc(1, sizeof *in);
    enum ts_err err;

    if (in == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    in->listen_fd = in->loop.epoll_fd = -1;
    in->durable_fd = options->durable_fd;
    in->loop.catalog = options->catalog;
    in->loop.publish = options->publish;
    in->loop.settings = options->settings;
    in->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    in->auth_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    in->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    err = start(in, options);
    if (err != TS_OK)
        in_socket_stop(in);
    else
        *out = in;
    return err;
}

void
in_socket_stop(struct in_socket *in)
{
    if (in == NULL)
        return;
    if (in->has_thread) {
        /* release: pairs with the loop, which then sees all that was done before. */
        atomic_store_explicit(&in->is_stop_wanted, true, memory_order_release);
        wake(in);
        pthread_join(in->thread, NULL);
        ts_log(TS_LOG_INFO, "socket: %ju records taken, %ju lines refused",
               (uintmax_t)atomic_load_explicit(&in->loop.n_records, memory_order_relaxed),
               (uintmax_t)atomic_load_explicit(&in->loop.n_refused, memory_order_relaxed));
    }
    stop_listening(in);
    socket_loop_done(&in->loop);
    for (int i = 0; i < 3; i++) {
        const int fd = i == 0 ? in->wake_fd : i == 1 ? in->auth_fd : in->spare_fd;

        if (fd >= 0)
            close(fd);
    }
    free(in);
}

bool
in_socket_is_alive(struct in_socket *in)
{
    const uint64_t rounds = atomic_load_explicit(&in->n_rounds, memory_order_relaxed);
    const bool is_alive = rounds != in->rounds_seen;

    in->rounds_seen = rounds;
    wake(in);
    return is_alive;
}
