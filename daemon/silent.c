/* silent.c - see silent.h.
 *
 * Known are those that spoke, by the other side's address and port. Whatever else is connected to
 * the server's port did not. It is told from others that have its descriptor later by the inode. */
#include "daemon/silent.h"

#include "common/log.h"
#include "daemon/monotonic.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define N_BUCKETS 1024u
#define NS_PER_MS INT64_C(1000000)

/* One that spoke. */
struct speaker {
    LIST_ENTRY(speaker) link; /* of its bucket, or of the free ones */
    uint64_t peer;
};
LIST_HEAD(speakers, speaker);

/* What was found at a descriptor, by its number. */
struct found {
    ino_t ino; /* 0: nothing that is silent */
    int64_t since_ns;
};

struct silent {
    uint16_t port;
    unsigned n_workers;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* guards what follows up to the thread's own */
    pthread_cond_t stopping;
    bool is_stopping;
    struct speaker *all; /* owned */
    struct speakers unused, buckets[N_BUCKETS];
    unsigned n_speakers;

    /* The thread's own: */
    struct found *found; /* owned */
    size_t n_found;
    bool is_crowded; /* at the last look */
};

/* ---- those that spoke ---- */

static uint64_t
peer_of(struct in_addr address, uint16_t port)
{
    return (uint64_t)ntohl(address.s_addr) << 16 | port;
}

static struct speakers *
bucket_of(struct silent *silent, uint64_t peer)
{
    return &silent->buckets[(peer ^ peer >> 16) % N_BUCKETS];
}

/* Under the lock. */
static struct speaker *
find(struct silent *silent, uint64_t peer)
{
    struct speaker *speaker;

    LIST_FOREACH(speaker, bucket_of(silent, peer), link)
    if (speaker->peer == peer)
        return speaker;
    return NULL;
}

void
silent_spoke(struct silent *silent, const char *address, uint16_t port)
{
    struct speaker *speaker;
    struct in_addr in;

    if (inet_pton(AF_INET, address, &in) != 1)
        return;
    pthread_mutex_lock(&silent->lock);
    speaker = LIST_FIRST(&silent->unused);
    if (speaker != NULL && find(silent, peer_of(in, port)) == NULL) {
        LIST_REMOVE(speaker, link);
        speaker->peer = peer_of(in, port);
        LIST_INSERT_HEAD(bucket_of(silent, speaker->peer), speaker, link);
        silent->n_speakers++;
    }
    pthread_mutex_unlock(&silent->lock);
}

void
silent_gone(struct silent *silent, const char *address, uint16_t port)
{
    struct speaker *speaker;
    struct in_addr in;

    if (inet_pton(AF_INET, address, &in) != 1)
        return;
    pthread_mutex_lock(&silent->lock);
    speaker = find(silent, peer_of(in, port));
    if (speaker != NULL) {
        LIST_REMOVE(speaker, link);
        LIST_INSERT_HEAD(&silent->unused, speaker, link);
        silent->n_speakers--;
    }
    pthread_mutex_unlock(&silent->lock);
}

/* ---- the others ---- */

/* True if the descriptor is a connection to our port; *out_ino tells it from every other. */
static bool
is_ours(const struct silent *silent, int fd, uint64_t *out_peer, ino_t *out_ino)
{
    struct sockaddr_in here = {0}, there = {0};
    socklen_t here_bytes = sizeof here, there_bytes = sizeof there;
    struct stat st;

    if (getsockname(fd, (struct sockaddr *)&here, &here_bytes) != 0 || here.sin_family != AF_INET ||
        ntohs(here.sin_port) != silent->port ||
        getpeername(fd, (struct sockaddr *)&there, &there_bytes) != 0 || fstat(fd, &st) != 0)
        return false;
    *out_peer = peer_of(there.sin_addr, ntohs(there.sin_port));
    *out_ino = st.st_ino;
    return true;
}

/* Ends it: the worker that has it finds its end and closes it. By a descriptor of our own, which
 * stays this connection's even if the worker is closing it right now. */
static void
end(const struct silent *silent, int fd, ino_t ino)
{
    const int own = dup(fd);
    uint64_t peer;
    ino_t now;

    if (own < 0)
        return;
    if (is_ours(silent, own, &peer, &now) && now == ino)
        shutdown(own, SHUT_RDWR);
    close(own);
}

/* True if it said something that nobody read yet: it waits for a worker. */
static bool
waits_for_us(int fd)
{
    int bytes = 0;

    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

static struct found *
found_at(struct silent *silent, int fd)
{
    const size_t n = (size_t)fd + 1;
    struct found *grown;

    if (n > silent->n_found) {
        grown = reallocarray(silent->found, 2 * n, sizeof *grown);
        if (grown == NULL)
            return NULL;
        memset(grown + silent->n_found, 0, (2 * n - silent->n_found) * sizeof *grown);
        silent->found = grown;
        silent->n_found = 2 * n;
    }
    return &silent->found[fd];
}

/* Looks at one descriptor. True if it was silent for too long. The lock is held: who speaks now
 * waits, so that what is ended did not speak. */
static bool
judge(struct silent *silent, int fd, int64_t limit_ns, unsigned *n_silent)
{
    const int64_t now = monotonic_ns();
    struct found *found;
    uint64_t peer;
    ino_t ino;

    if (!is_ours(silent, fd, &peer, &ino) || find(silent, peer) != NULL)
        return false;
    found = found_at(silent, fd);
    if (found == NULL)
        return false;
    ++*n_silent;
    if (found->ino != ino || waits_for_us(fd)) {
        *found = (struct found){.ino = ino, .since_ns = now};
        return false;
    }
    if (now - found->since_ns < limit_ns)
        return false;
    end(silent, fd, ino);
    return true;
}

/* How many were ended. */
static unsigned
look(struct silent *silent)
{
    const int64_t limit_ns = (silent->is_crowded ? SILENT_CROWD_MS : SILENT_MS) * NS_PER_MS;
    DIR *dir = opendir("/proc/self/fd");
    unsigned n_silent = 0, n_ended = 0;
    const struct dirent *entry;

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        pthread_mutex_lock(&silent->lock);
        n_ended += judge(silent, atoi(entry->d_name), limit_ns, &n_silent);
        pthread_mutex_unlock(&silent->lock);
    }
    closedir(dir);
    pthread_mutex_lock(&silent->lock);
    silent->is_crowded = n_silent + silent->n_speakers >= silent->n_workers;
    pthread_mutex_unlock(&silent->lock);
    return n_ended;
}

static void
tell(unsigned n_ended)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(1, 10);
    static _Atomic uint64_t n_untold;
    uint64_t n_dropped;

    atomic_fetch_add_explicit(&n_untold, n_ended, memory_order_relaxed);
    if (n_ended > 0 && ts_log_allow(&limit, &n_dropped))
        ts_log(TS_LOG_WARNING,
               "http: closed %" PRIu64 " connections that did not say what they want",
               atomic_exchange_explicit(&n_untold, 0, memory_order_relaxed));
}

static void *
watch(void *arg)
{
    struct silent *silent = arg;
    bool is_stopping;

    do {
        const struct timespec until = monotonic_after_ms(SILENT_LOOK_MS);

        pthread_mutex_lock(&silent->lock);
        while (!silent->is_stopping &&
               pthread_cond_timedwait(&silent->stopping, &silent->lock, &until) == 0)
            ;
        is_stopping = silent->is_stopping;
        pthread_mutex_unlock(&silent->lock);
        if (!is_stopping)
            tell(look(silent));
    } while (!is_stopping);
    return NULL;
}

enum ts_err
silent_new(unsigned n_workers, struct silent **out)
{
    struct silent *silent = calloc(1, sizeof *silent);

    if (silent == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    silent->n_workers = n_workers;
    pthread_mutex_init(&silent->lock, NULL);
    monotonic_cond_init(&silent->stopping);
    silent->all = calloc(n_workers, sizeof *silent->all);
    if (silent->all == NULL) {
        silent_free(silent);
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    }
    for (unsigned i = 0; i < n_workers; i++)
        LIST_INSERT_HEAD(&silent->unused, &silent->all[i], link);
    *out = silent;
    return TS_OK;
}

enum ts_err
silent_watch(struct silent *silent, uint16_t port)
{
    silent->port = port;
    silent->has_thread = pthread_create(&silent->thread, NULL, watch, silent) == 0;
    return silent->has_thread ? TS_OK : TS_FAIL(TS_E_SYSTEM, "cannot start a thread");
}

void
silent_free(struct silent *silent)
{
    if (silent == NULL)
        return;
    if (silent->has_thread) {
        pthread_mutex_lock(&silent->lock);
        silent->is_stopping = true;
        pthread_cond_signal(&silent->stopping);
        pthread_mutex_unlock(&silent->lock);
        pthread_join(silent->thread, NULL);
    }
    pthread_cond_destroy(&silent->stopping);
    pthread_mutex_destroy(&silent->lock);
    free(silent->found);
    free(silent->all);
    free(silent);
}
