/* tls.h - the certificate of a server, and another one while it runs.
 *
 * Purpose    Load OpenSSL so that civetweb can use it, and make the context it accepts with.
 * Invariant  A connection is accepted with the newest certificate that was loaded whole, key and
 *            chain fitting each other. TLS 1.2 and 1.3, no renegotiation.
 * Ownership  tls_open() gives *out, tls_close() takes it, after the server that used it is gone.
 *            The libraries stay loaded.
 * Threads    tls_open() before other threads use OpenSSL; tls_load() from any thread.
 * Errors     TS_E_CONFIG; the text names the file and what is wrong with it, or what is missing
 *            on this machine. After a failed tls_load() the old certificate stays.
 */
#ifndef DAEMON_TLS_H
#define DAEMON_TLS_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

struct tls;

/* Both files in PEM form; cert_file has the server's certificate first, then the chain. To be
 * called before mg_init_library(): the libraries it loads are found there by their names. */
enum ts_err tls_open(const char *cert_file, const char *key_file, struct tls **out) TS_MUST_USE;
void tls_close(struct tls *tls);

/* Puts another certificate in the place of the one there is. */
enum ts_err tls_load(struct tls *tls, const char *cert_file, const char *key_file) TS_MUST_USE;

/* Unix seconds at which the certificate ends; 0 if that is not known. */
int64_t tls_expires_s(struct tls *tls);

/* What civetweb is to be given: an SSL_CTX, borrowed. */
void *tls_context(struct tls *tls);

#endif
