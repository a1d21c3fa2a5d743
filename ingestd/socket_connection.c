/* socket_connection.c - see socket_connection.h. */
#include "ingestd/socket_connection.h"

#include "common/log.h"
#include "ingestd/counters.h"
#include "ingestd/socket_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_CAPACITY                                                                               \
    (SOCKET_OUT_BYTES + SOCKET_BATCH * SOCKET_MAX_ERROR_BYTES + SOCKET_MAX_ERROR_BYTES)

enum ts_err
socket_loop_init(struct socket_loop *loop)
{
    LIST_INIT(&loop->all);
    LIST_INIT(&loop->held);
    LIST_INIT(&loop->moved);
    TAILQ_INIT(&loop->unknown);
    SLIST_INIT(&loop->closed);
    loop->items = calloc(SOCKET_BATCH, sizeof *loop->items);
    loop->in = malloc(SOCKET_REST_BYTES + SOCKET_READ_BYTES);
    loop->out = malloc(OUT_CAPACITY);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "epoll");
    if (loop->items == NULL || loop->in == NULL || loop->out == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    return TS_OK;
}

static void
free_closed(struct socket_loop *loop)
{
    while (!SLIST_EMPTY(&loop->closed)) {
        struct socket_connection *const connection = SLIST_FIRST(&loop->closed);

        SLIST_REMOVE_HEAD(&loop->closed, closed);
        catalog_release(connection->store);
        free(connection->in);
        free(connection->out);
        free(connection);
    }
}

void
socket_loop_done(struct socket_loop *loop)
{
    while (!LIST_EMPTY(&loop->all))
        socket_connection_close(LIST_FIRST(&loop->all), loop);
    socket_loop_end_round(loop);
    free(loop->items);
    free(loop->in);
    free(loop->out);
    ts_text_done(&loop->scratch);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
}

/* ---- sending ---- */

static void
mute(struct socket_connection *connection)
{
    connection->is_muted = true;
    connection->held_no = 0;
    connection->out_off = connection->out_bytes = 0;
}

/* Sends; returns what was taken. A client that is gone has taken everything. */
static size_t
send_some(struct socket_connection *connection, const char *at, size_t bytes)
{
    ssize_t sent;

    if (connection->is_muted)
        return bytes;
    do {
        sent = send(connection->fd, at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return (size_t)sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0;
    mute(connection);
    return bytes;
}

static bool
grow(char **buffer, size_t *capacity, size_t want)
{
    size_t bytes = *capacity > 0 ? *capacity : 4096;
    char *grown;

    if (want <= *capacity)
        return true;
    while (bytes < want)
        bytes *= 2;
    grown = realloc(*buffer, bytes);
    if (grown == NULL)
        return false;
    *buffer = grown;
    *capacity = bytes;
    return true;
}

/* Gives back what a long line or a slow client needed. */
static void
shrink(char **buffer, size_t *capacity)
{
    char *shrunk;

    if (*capacity <= SOCKET_REST_BYTES)
        return;
    shrunk = realloc(*buffer, SOCKET_REST_BYTES);
    if (shrunk == NULL)
        return;
    *buffer = shrunk;
    *capacity = SOCKET_REST_BYTES;
}

/* Keeps answers for later. */
static void
keep_answers(struct socket_connection *connection, struct socket_loop *loop, const char *at,
             size_t bytes)
{
    if (bytes == 0)
        return;
    if (!grow(&connection->out, &connection->out_capacity, connection->out_bytes + bytes)) {
        ts_log(TS_LOG_ERROR, "no memory for a feeder's answers: connection closed");
        socket_connection_close(connection, loop);
        return;
    }
    memcpy(connection->out + connection->out_bytes, at, bytes);
    connection->out_bytes += bytes;
}

/* A store that was dropped makes nothing durable. */
static bool
is_durable(const struct socket_connection *connection, uint64_t record_no)
{
    struct catalog_store *const store = connection->store;
    bool is;

    if (store->sync_ms != TS_SYNC_EACH)
        return true;
    if (catalog_enter(store) != TS_OK)
        return false;
    is = ts_store_durable_no(store->store) >= record_no;
    catalog_leave(store);
    return is;
}

/* What socket_batch_take() answered goes out, or is kept: behind what is kept already, or until its
 * records are durable. */
static void
deliver(struct socket_connection *connection, struct socket_loop *loop)
{
    const uint64_t last_no = loop->last_no;
    const size_t bytes = loop->out_bytes;
    size_t sent = 0;

    loop->out_bytes = 0;
    loop->last_no = 0;
    if (connection->is_muted || bytes == 0)
        return;
    if (last_no != 0 && !is_durable(connection, last_no)) {
        connection->held_no = last_no;
        if (!connection->is_held)
            LIST_INSERT_HEAD(&loop->held, connection, held);
        connection->is_held = true;
    }
    if (connection->held_no == 0 && connection->out_bytes == 0)
        sent = send_some(connection, loop->out, bytes);
    keep_answers(connection, loop, loop->out + sent, bytes - sent);
}

/* True when nothing is kept any more. */
static bool
send_kept(struct socket_connection *connection)
{
    if (connection->held_no != 0)
        return false;
    if (connection->out_bytes > connection->out_off)
        connection->out_off += send_some(connection, connection->out + connection->out_off,
                                         connection->out_bytes - connection->out_off);
    if (connection->out_off < connection->out_bytes)
        return false;
    connection->out_off = connection->out_bytes = 0;
    shrink(&connection->out, &connection->out_capacity);
    return true;
}

/* ---- one connection ---- */

static bool
is_waiting(const struct socket_connection *connection)
{
    return connection->held_no != 0 || connection->out_bytes > 0 || connection->has_lines;
}

static void
set_interest(struct socket_connection *connection, struct socket_loop *loop, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = connection};

    if (connection->fd < 0 || interest == connection->interest)
        return;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) == 0)
        connection->interest = interest;
}

/* Handles at[0..bytes) as far as the answers find room; returns what was used. */
static size_t
handle(struct socket_connection *connection, struct socket_loop *loop, const char *at, size_t bytes,
       size_t scanned)
{
    size_t used = 0;
    size_t taken;

    connection->has_lines = false;
    do {
        taken = socket_batch_take(connection, loop, at + used, bytes - used, scanned);
        scanned = 0;
        used += taken;
        deliver(connection, loop);
        if (connection->fd < 0 || connection->state == SOCKET_CLOSING)
            return bytes;
        if (connection->held_no != 0 || connection->out_bytes > 0) {
            connection->has_lines = used < bytes;
            return used;
        }
    } while (taken > 0 && used < bytes);
    return used;
}

/* After handle(): at[0..bytes) is the start of a line, unless lines wait in it. */
static size_t
check_rest(struct socket_connection *connection, struct socket_loop *loop, size_t bytes)
{
    if (connection->has_lines || connection->fd < 0)
        return bytes;
    if (connection->is_skipping)
        return 0;
    if (bytes <= socket_batch_max_line(connection, loop))
        return bytes;
    connection->is_skipping = true;
    socket_batch_too_long(connection, loop);
    deliver(connection, loop);
    return 0;
}

static void
keep_rest(struct socket_connection *connection, struct socket_loop *loop, const char *at,
          size_t bytes)
{
    bytes = check_rest(connection, loop, bytes);
    if (connection->fd < 0)
        return;
    if (bytes > 0 && at != connection->in) {
        if (!grow(&connection->in, &connection->in_capacity, bytes)) {
            ts_log(TS_LOG_ERROR, "no memory for a feeder's line: connection closed");
            socket_connection_close(connection, loop);
            return;
        }
        memmove(connection->in, at, bytes);
    }
    connection->in_bytes = bytes;
    connection->in_scanned = connection->has_lines ? 0 : bytes;
    if (bytes <= SOCKET_REST_BYTES)
        shrink(&connection->in, &connection->in_capacity);
}

/* Goes on as far as it goes: sends what is kept, then handles lines that were kept. */
static void
advance(struct socket_connection *connection, struct socket_loop *loop)
{
    size_t used;

    while (connection->fd >= 0 && send_kept(connection) && connection->has_lines) {
        used =
            handle(connection, loop, connection->in, connection->in_bytes, connection->in_scanned);
        if (connection->fd < 0)
            return;
        memmove(connection->in, connection->in + used, connection->in_bytes - used);
        keep_rest(connection, loop, connection->in, connection->in_bytes - used);
    }
    if (connection->fd < 0)
        return;
    if (!is_waiting(connection) &&
        (connection->state == SOCKET_CLOSING || connection->is_ended || loop->is_stopping)) {
        socket_connection_close(connection, loop);
        return;
    }
    if (connection->out_bytes > 0 && connection->held_no == 0)
        set_interest(connection, loop, EPOLLOUT);
    else if (!is_waiting(connection))
        set_interest(connection, loop, EPOLLIN);
}

/* Where the next bytes go: behind what is kept of a line. */
static char *
read_buffer(struct socket_connection *connection, struct socket_loop *loop, size_t *out_room)
{
    *out_room = SOCKET_READ_BYTES;
    if (connection->in_bytes <= SOCKET_REST_BYTES) {
        if (connection->in_bytes > 0)
            memcpy(loop->in, connection->in, connection->in_bytes);
        return loop->in;
    }
    if (!grow(&connection->in, &connection->in_capacity, connection->in_bytes + SOCKET_READ_BYTES))
        return NULL;
    return connection->in;
}

static void
read_more(struct socket_connection *connection, struct socket_loop *loop)
{
    const size_t kept = connection->in_bytes;
    size_t room, used;
    char *const buffer = read_buffer(connection, loop, &room);
    ssize_t got;

    if (buffer == NULL) {
        ts_log(TS_LOG_ERROR, "no memory for a feeder's line: connection closed");
        socket_connection_close(connection, loop);
        return;
    }
    got = recv(connection->fd, buffer + kept, room, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        /* A reset comes after the last byte that was sent; both are just an end here. */
        connection->is_ended = true;
        connection->in_bytes = 0;
    } else {
        used = handle(connection, loop, buffer, kept + (size_t)got, connection->in_scanned);
        if (connection->fd < 0)
            return;
        if (buffer == connection->in)
            memmove(buffer, buffer + used, kept + (size_t)got - used);
        keep_rest(connection, loop, buffer == connection->in ? buffer : buffer + used,
                  kept + (size_t)got - used);
        /* The usual end: all is answered, and more is awaited. */
        if (!is_waiting(connection) && connection->state == SOCKET_OPEN && !loop->is_stopping)
            return;
    }
    advance(connection, loop);
}

void
socket_connection_event(struct socket_connection *connection, struct socket_loop *loop,
                        uint32_t events)
{
    if (connection->fd < 0)
        return;
    if (events & (EPOLLHUP | EPOLLERR)) {
        /* Nobody will read an answer any more; what was sent before is still stored. */
        mute(connection);
        advance(connection, loop);
        if (connection->fd >= 0)
            read_more(connection, loop);
        return;
    }
    if (events & EPOLLOUT)
        advance(connection, loop);
    if (connection->fd >= 0 && (events & EPOLLIN)) {
        /* A client that waits for the disk sends nothing, as a rule; only when it does its
         * events are switched off, which costs a system call. */
        if (is_waiting(connection))
            set_interest(connection, loop, connection->interest & ~(uint32_t)EPOLLIN);
        else
            read_more(connection, loop);
    }
}

enum ts_err
socket_connection_open(struct socket_loop *loop, int fd, int64_t deadline_ns)
{
    struct socket_connection *connection = calloc(1, sizeof *connection);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    if (connection == NULL || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        close(fd);
        return TS_FAIL(TS_E_NOMEM, "no memory for a feeder");
    }
    connection->fd = fd;
    connection->interest = EPOLLIN;
    connection->deadline_ns = deadline_ns;
    LIST_INSERT_HEAD(&loop->all, connection, all);
    TAILQ_INSERT_TAIL(&loop->unknown, connection, unknown);
    loop->n_connections++;
    counters_feeder(1);
    return TS_OK;
}

void
socket_connection_close(struct socket_connection *connection, struct socket_loop *loop)
{
    if (connection->fd < 0)
        return;
    close(connection->fd);
    connection->fd = -1;
    if (connection->state == SOCKET_NEW)
        TAILQ_REMOVE(&loop->unknown, connection, unknown);
    if (connection->is_held)
        LIST_REMOVE(connection, held);
    LIST_REMOVE(connection, all);
    SLIST_INSERT_HEAD(&loop->closed, connection, closed);
    loop->n_connections--;
    counters_feeder(-1);
}

void
socket_connection_refuse(struct socket_connection *connection, struct socket_loop *loop,
                         const char *text)
{
    loop->out_bytes = 0;
    socket_batch_error(loop, "", text);
    deliver(connection, loop);
    socket_connection_close(connection, loop);
}

/* ---- all connections ---- */

/* Whether the store failed or is no more, so that nothing of it becomes durable any more: then
 * with the thread's text. If not, it is asked for another sync. */
static bool
has_failed(struct catalog_store *store)
{
    bool failed;

    if (catalog_enter(store) != TS_OK)
        return true;
    failed = ts_store_check(store->store) != TS_OK;
    if (!failed)
        ts_store_commit_start(store->store);
    catalog_leave(store);
    return failed;
}

void
socket_loop_durable(struct socket_loop *loop)
{
    struct socket_connection *connection, *next;

    for (connection = LIST_FIRST(&loop->held); connection != NULL; connection = next) {
        next = LIST_NEXT(connection, held);
        if (connection->held_no != 0 && !is_durable(connection, connection->held_no)) {
            /* If not, that was a sync which began before its record: another one is needed. */
            if (!has_failed(connection->store))
                continue;
            /* The answers say OK, and that is no longer true of a power failure. */
            connection->out_bytes = connection->out_off = 0;
            connection->state = SOCKET_CLOSING;
            connection->has_lines = false;
            socket_batch_error(loop, "store failed: ", ts_error_text());
        }
        connection->held_no = 0;
        connection->is_held = false;
        LIST_REMOVE(connection, held);
        deliver(connection, loop);
        advance(connection, loop);
    }
}

void
socket_loop_stop(struct socket_loop *loop)
{
    struct socket_connection *connection, *next;

    loop->is_stopping = true;
    for (connection = LIST_FIRST(&loop->all); connection != NULL; connection = next) {
        next = LIST_NEXT(connection, all);
        set_interest(connection, loop, 0);
        advance(connection, loop);
    }
}

void
socket_loop_end_round(struct socket_loop *loop)
{
    while (!LIST_EMPTY(&loop->moved)) {
        struct catalog_store *const store = LIST_FIRST(&loop->moved);

        LIST_REMOVE(store, in_socket.moved);
        store->in_socket.is_moved = false;
        if (store->sync_ms == TS_SYNC_EACH && catalog_enter(store) == TS_OK) {
            ts_store_commit_start(store->store);
            catalog_leave(store);
        }
        publish_moved(loop->publish, &store->slot);
    }
    free_closed(loop);
}
