/* ssl.c - libssl.so as civetweb wants it, over the libssl.so.3 of Debian 12.
 *
 * Purpose    civetweb opens "libssl.so" by that name and looks its functions up there. This library
 *            has that name, stands before OpenSSL 3, and mends two things:
 *            - SSL_get_peer_certificate(), which OpenSSL 3 calls otherwise. Without it the first
 *              HTTPS request is a call of address 0.
 *            - One SSL object may not be read and written at once, but civetweb reads a WebSocket
 *              in one thread while others write to it: both take a lock here. The socket does not
 *              block, so neither waits for the other side.
 * Invariant  What SSL_get_error() says after a failed call is about that call, though another
 *            thread may have used the object since.
 * Threads    Any.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define N_LOCKS 64u
#define ERROR_SSL 1 /* SSL_ERROR_SSL */

#define EXPORT __attribute__((visibility("default")))

struct ssl_st;
struct x509_st;

/* Of libssl.so.3, which has no header here: it is not needed to build. */
extern struct x509_st *SSL_get1_peer_certificate(const struct ssl_st *ssl);
extern int SSL_read_ex(struct ssl_st *ssl, void *data, size_t bytes, size_t *out_bytes);
extern int SSL_write_ex(struct ssl_st *ssl, const void *data, size_t bytes, size_t *out_bytes);

EXPORT struct x509_st *SSL_get_peer_certificate(const struct ssl_st *ssl);
EXPORT int SSL_read(struct ssl_st *ssl, void *data, int bytes);
EXPORT int SSL_write(struct ssl_st *ssl, const void *data, int bytes);
EXPORT int SSL_get_error(const struct ssl_st *ssl, int result);

/* Objects share these by their address. */
static pthread_mutex_t locks[N_LOCKS] = {[0 ... N_LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER};

/* The library's own, which the one below hides. */
static int (*real_get_error)(const struct ssl_st *ssl, int result);

/* Of this thread's last failed read or write, until it is asked for. */
static _Thread_local const struct ssl_st *failed_ssl;
static _Thread_local int failed_error;

__attribute__((constructor)) static void
find_real(void)
{
    void *library = dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD);
    void *address = library != NULL ? dlsym(library, "SSL_get_error") : NULL;

    memcpy(&real_get_error, &address, sizeof address);
}

static pthread_mutex_t *
lock_of(const struct ssl_st *ssl)
{
    return &locks[((uintptr_t)ssl >> 6) % N_LOCKS];
}

/* Under the object's lock. */
static int
result_of(const struct ssl_st *ssl, int is_done, size_t n)
{
    if (is_done) {
        failed_ssl = NULL;
        return (int)n;
    }
    failed_error = real_get_error != NULL ? real_get_error(ssl, is_done) : ERROR_SSL;
    failed_ssl = ssl;
    return -1;
}

struct x509_st *
SSL_get_peer_certificate(const struct ssl_st *ssl)
{
    return SSL_get1_peer_certificate(ssl);
}

int
SSL_read(struct ssl_st *ssl, void *data, int bytes)
{
    pthread_mutex_t *lock = lock_of(ssl);
    int result, saved_errno;
    size_t n = 0;

    pthread_mutex_lock(lock);
    result = SSL_read_ex(ssl, data, bytes > 0 ? (size_t)bytes : 0, &n);
    saved_errno = errno;
    result = result_of(ssl, result, n);
    pthread_mutex_unlock(lock);
    errno = saved_errno;
    return result;
}

int
SSL_write(struct ssl_st *ssl, const void *data, int bytes)
{
    pthread_mutex_t *lock = lock_of(ssl);
    int result, saved_errno;
    size_t n = 0;

    pthread_mutex_lock(lock);
    result = SSL_write_ex(ssl, data, bytes > 0 ? (size_t)bytes : 0, &n);
    saved_errno = errno;
    result = result_of(ssl, result, n);
    pthread_mutex_unlock(lock);
    errno = saved_errno;
    return result;
}

int
SSL_get_error(const struct ssl_st *ssl, int result)
{
    if (failed_ssl == ssl && result <= 0) {
        failed_ssl = NULL;
        return failed_error;
    }
    return real_get_error != NULL ? real_get_error(ssl, result) : ERROR_SSL;
}
