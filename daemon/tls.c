/* tls.c - OpenSSL by dlopen(), the few functions of it that are needed.
 *
 * civetweb keeps the context that it was given first, for ever. So that one gets a callback which
 * moves each new connection over to the newest context before anything of it is used; contexts are
 * never changed once they are complete, and die with the last connection that has them. */
#include "daemon/tls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHIM_FOLDER "lib/tsstore"

/* From OpenSSL's headers, which are not needed to build. */
#define FILETYPE_PEM 1
#define CTRL_MODE 33
#define CTRL_SET_SESS_CACHE_MODE 44
#define CTRL_SET_MIN_PROTO_VERSION 123
#define SESS_CACHE_OFF 0
#define MODE_ACCEPT_MOVING_WRITE_BUFFER 2L
#define MODE_RELEASE_BUFFERS 16L /* an idle connection keeps none */
#define TLS_1_2 0x0303
#define OP_NO_COMPRESSION (UINT64_C(1) << 17)
#define OP_CIPHER_SERVER_PREFERENCE (UINT64_C(1) << 22)
#define OP_NO_RENEGOTIATION (UINT64_C(1) << 30)
#define CLIENT_HELLO_SUCCESS 1

typedef int hello_callback(void *ssl, int *alert, void *arg);
typedef int password_callback(char *buffer, int bytes, int is_writing, void *arg);

/* Each is the OpenSSL function of that name. */
#define FUNCTIONS(X)                                                                               \
    X(const void *, TLS_server_method, (void))                                                     \
    X(void *, SSL_CTX_new, (const void *method))                                                   \
    X(void, SSL_CTX_free, (void *context))                                                         \
    X(long, SSL_CTX_ctrl, (void *context, int command, long number, void *pointer))                \
    X(uint64_t, SSL_CTX_set_options, (void *context, uint64_t options))                            \
    X(int, SSL_CTX_use_certificate_chain_file, (void *context, const char *file))                  \
    X(int, SSL_CTX_use_PrivateKey_file, (void *context, const char *file, int type))               \
    X(int, SSL_CTX_check_private_key, (const void *context))                                       \
    X(void, SSL_CTX_set_default_passwd_cb, (void *context, password_callback *callback))           \
    X(void, SSL_CTX_set_client_hello_cb, (void *context, hello_callback *callback, void *arg))     \
    X(void *, SSL_CTX_get0_certificate, (const void *context))                                     \
    X(void *, SSL_set_SSL_CTX, (void *ssl, void *context))                                         \
    X(const void *, X509_get0_notAfter, (const void *certificate))                                 \
    X(int, ASN1_TIME_to_tm, (const void *time, struct tm *out))                                    \
    X(unsigned long, ERR_get_error, (void))                                                        \
    X(void, ERR_clear_error, (void))                                                               \
    X(const char *, ERR_reason_error_string, (unsigned long code))

static struct {
#define X(type, name, parameters) type(*name) parameters;
    FUNCTIONS(X)
#undef X
    bool is_loaded;
} ssl;

struct tls {
    void *front;          /* owned; what civetweb has */
    pthread_mutex_t lock; /* guards the rest */
    void *current;        /* owned; NULL: still the front one */
};

/* ---- the libraries ---- */

/* "<prefix>/lib/tsstore" for a program in "<prefix>/bin". */
static enum ts_err
find_folder(char out[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    char *slash;

    if (n <= 0)
        return TS_FAIL_ERRNO(TS_E_CONFIG, "TLS: /proc/self/exe");
    out[n] = '\0';
    for (int i = 0; i < 2; i++) {
        slash = strrchr(out, '/');
        if (slash == NULL)
            return TS_FAIL(TS_E_CONFIG, "TLS: no folder above this program");
        *slash = '\0';
    }
    if (strlen(out) + sizeof "/" SHIM_FOLDER > PATH_MAX)
        return TS_FAIL(TS_E_CONFIG, "TLS: %s: path too long", out);
    strcat(out, "/" SHIM_FOLDER);
    return TS_OK;
}

static void *
open_library(const char *folder, const char *name)
{
    char path[PATH_MAX + 32];
    void *library;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL)
        (void)TS_FAIL(TS_E_CONFIG, "TLS is not possible here: %s", dlerror());
    return library;
}

/* A function's address is copied: it has another type than what dlsym() gives. */
static bool
find_function(void *library, const char *name, void *out_function)
{
    void *const address = dlsym(library, name);

    if (address == NULL) {
        (void)TS_FAIL(TS_E_CONFIG, "TLS is not possible here: OpenSSL has no %s", name);
        return false;
    }
    memcpy(out_function, &address, sizeof address);
    return true;
}

static enum ts_err
load_libraries(void)
{
    char folder[PATH_MAX];
    void *library;
    enum ts_err err;

    if (ssl.is_loaded)
        return TS_OK;
    err = find_folder(folder);
    if (err != TS_OK)
        return err;
    if (open_library(folder, "libcrypto.so") == NULL)
        return TS_E_CONFIG;
    library = open_library(folder, "libssl.so");
    if (library == NULL)
        return TS_E_CONFIG;
#define X(type, name, parameters)                                                                  \
    if (!find_function(library, #name, &ssl.name))                                                 \
        return TS_E_CONFIG;
    FUNCTIONS(X)
#undef X
    ssl.is_loaded = true;
    return TS_OK;
}

/* ---- a context ---- */

static enum ts_err
fail(const char *file, const char *what)
{
    const unsigned long code = ssl.ERR_get_error();
    const char *reason = code != 0 ? ssl.ERR_reason_error_string(code) : NULL;

    ssl.ERR_clear_error();
    return TS_FAIL(TS_E_CONFIG, "TLS: %s: %s%s%s", file, what, reason != NULL ? ": " : "",
                   reason != NULL ? reason : "");
}

/* There is nobody to ask for a password. */
static int
no_password(char *buffer, int bytes, int is_writing, void *arg)
{
    (void)buffer;
    (void)bytes;
    (void)is_writing;
    (void)arg;
    return -1;
}

/* What OpenSSL says about a missing file helps nobody. */
static enum ts_err
check_readable(const char *file)
{
    const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return TS_FAIL(TS_E_CONFIG, "TLS: %s: %s", file, strerror(errno));
    close(fd);
    return TS_OK;
}

static enum ts_err
use_files(void *context, const char *cert_file, const char *key_file)
{
    enum ts_err err;

    err = check_readable(cert_file);
    if (err == TS_OK)
        err = check_readable(key_file);
    if (err != TS_OK)
        return err;
    ssl.ERR_clear_error();
    if (ssl.SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
        return fail(cert_file, "not a certificate in PEM form");
    if (ssl.SSL_CTX_use_PrivateKey_file(context, key_file, FILETYPE_PEM) != 1)
        return fail(key_file, "not a private key for that certificate, in PEM form, unencrypted");
    if (ssl.SSL_CTX_check_private_key(context) != 1)
        return fail(key_file, "not the key of that certificate");
    return TS_OK;
}

static enum ts_err
new_context(const char *cert_file, const char *key_file, void **out)
{
    void *context = ssl.SSL_CTX_new(ssl.TLS_server_method());
    enum ts_err err;

    if (context == NULL)
        return fail("OpenSSL", "no context");
    ssl.SSL_CTX_ctrl(context, CTRL_SET_MIN_PROTO_VERSION, TLS_1_2, NULL);
    ssl.SSL_CTX_ctrl(context, CTRL_MODE, MODE_RELEASE_BUFFERS | MODE_ACCEPT_MOVING_WRITE_BUFFER,
                     NULL);
    /* Tickets bring sessions back, which cost the server no memory. */
    ssl.SSL_CTX_ctrl(context, CTRL_SET_SESS_CACHE_MODE, SESS_CACHE_OFF, NULL);
    ssl.SSL_CTX_set_options(context,
                            OP_NO_COMPRESSION | OP_CIPHER_SERVER_PREFERENCE | OP_NO_RENEGOTIATION);
    ssl.SSL_CTX_set_default_passwd_cb(context, no_password);
    err = use_files(context, cert_file, key_file);
    if (err != TS_OK)
        ssl.SSL_CTX_free(context);
    else
        *out = context;
    return err;
}

/* The first thing that happens to a connection once its client has spoken. */
static int
take_current(void *connection, int *alert, void *arg)
{
    struct tls *tls = arg;

    (void)alert;
    pthread_mutex_lock(&tls->lock);
    if (tls->current != NULL)
        ssl.SSL_set_SSL_CTX(connection, tls->current);
    pthread_mutex_unlock(&tls->lock);
    return CLIENT_HELLO_SUCCESS;
}

enum ts_err
tls_open(const char *cert_file, const char *key_file, struct tls **out)
{
    struct tls *tls;
    enum ts_err err;

    err = load_libraries();
    if (err != TS_OK)
        return err;
    tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    err = new_context(cert_file, key_file, &tls->front);
    if (err != TS_OK) {
        free(tls);
        return err;
    }
    pthread_mutex_init(&tls->lock, NULL);
    ssl.SSL_CTX_set_client_hello_cb(tls->front, take_current, tls);
    *out = tls;
    return TS_OK;
}

void
tls_close(struct tls *tls)
{
    if (tls == NULL)
        return;
    ssl.SSL_CTX_free(tls->front);
    ssl.SSL_CTX_free(tls->current);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

enum ts_err
tls_load(struct tls *tls, const char *cert_file, const char *key_file)
{
    void *context, *old;
    enum ts_err err;

    err = new_context(cert_file, key_file, &context);
    if (err != TS_OK)
        return err;
    pthread_mutex_lock(&tls->lock);
    old = tls->current;
    tls->current = context;
    pthread_mutex_unlock(&tls->lock);
    ssl.SSL_CTX_free(old);
    return TS_OK;
}

int64_t
tls_expires_s(struct tls *tls)
{
    struct tm end = {0};
    const void *certificate;
    int64_t expires_s = 0;

    pthread_mutex_lock(&tls->lock);
    certificate = ssl.SSL_CTX_get0_certificate(tls->current != NULL ? tls->current : tls->front);
    if (certificate != NULL && ssl.ASN1_TIME_to_tm(ssl.X509_get0_notAfter(certificate), &end) == 1)
        expires_s = timegm(&end);
    pthread_mutex_unlock(&tls->lock);
    return expires_s;
}

void *
tls_context(struct tls *tls)
{
    return tls->front;
}
