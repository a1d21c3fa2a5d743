/* endpoint.c - see endpoint.h. */
#include "ingestd/endpoint.h"

#include "common/log.h"

#include <nng/supplemental/util/platform.h>
#include <nng/transport/ipc/ipc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 500
#define URL_SCHEME "ipc://"

static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct endpoint *endpoint = arg;
    const bool is_new = event == NNG_PIPE_EV_ADD_POST;

    (void)pipe;
    atomic_fetch_add_explicit(&endpoint->n_peers, is_new ? 1 : -1, memory_order_relaxed);
    /* release: who waits for an arrival sees what it brought. */
    if (is_new)
        atomic_fetch_add_explicit(&endpoint->n_arrived, 1, memory_order_release);
}

static enum ts_err
listen_now(struct endpoint *endpoint)
{
    int rc = nng_listener_create(&endpoint->listener, endpoint->socket, endpoint->url);

    if (rc == 0 && endpoint->max_bytes > 0)
        rc = nng_listener_set_size(endpoint->listener, NNG_OPT_RECVMAXSZ, endpoint->max_bytes);
    if (rc == 0)
        rc = nng_listener_set_int(endpoint->listener, NNG_OPT_IPC_PERMISSIONS, 0660);
    if (rc == 0)
        rc = nng_listener_start(endpoint->listener, 0);
    return rc == 0 ? TS_OK : TS_FAIL(TS_E_IO, "listen on %s: %s", endpoint->url, nng_strerror(rc));
}

enum ts_err
endpoint_open(struct endpoint *endpoint, nng_socket socket, const char *run_dir, const char *name,
              size_t max_bytes)
{
    enum ts_err err;
    int rc;

    *endpoint = (struct endpoint){.socket = socket, .max_bytes = max_bytes};
    err = control_url(run_dir, name, endpoint->url);
    if (err != TS_OK)
        return err;
    rc = nng_socket_get_int(socket, NNG_OPT_PEER, &endpoint->peer_protocol);
    if (rc != 0)
        return TS_FAIL(TS_E_SYSTEM, "nng: %s", nng_strerror(rc));
    nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, on_pipe, endpoint);
    nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_pipe, endpoint);
    return listen_now(endpoint);
}

/* Connects and greets as a peer does (SP over IPC: zero, "SP", zero, its protocol, zero, zero). Not
 * by a dialer of nng 1.5: one that is closed while its connection is being made is lost now and
 * then, and its descriptor with it. */
static bool
greet(int fd, const struct endpoint *endpoint)
{
    const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
    const unsigned protocol = (unsigned)endpoint->peer_protocol;
    const uint8_t greeting[] = {0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s", endpoint->url + strlen(URL_SCHEME));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* of connect(), too */
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
           send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) == sizeof greeting;
}

static bool
has_arrived(const struct endpoint *endpoint)
{
    const uint64_t before = atomic_load_explicit(&endpoint->n_arrived, memory_order_acquire);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_there = false;

    if (fd < 0)
        return true; /* no memory, no descriptors: that says nothing about the listener */
    if (greet(fd, endpoint)) {
        for (int ms = 0; ms < PATIENCE_MS && !is_there; ms++) {
            nng_msleep(1);
            is_there = atomic_load_explicit(&endpoint->n_arrived, memory_order_acquire) != before;
        }
    }
    close(fd);
    return is_there;
}

void
endpoint_check(struct endpoint *endpoint)
{
    if (has_arrived(endpoint))
        return;
    ts_log(TS_LOG_WARNING, "%s: nobody is let in any more; listening anew", endpoint->url);
    nng_listener_close(endpoint->listener);
    if (listen_now(endpoint) != TS_OK)
        ts_log(TS_LOG_ERROR, "%s", ts_error_text());
}
