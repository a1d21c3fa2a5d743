/* crypto.c - libcrypto.so as civetweb wants it: a name in front of libcrypto.so.3, nothing else.
 *
 * With it civetweb never looks for the file of that name that only the development package has. */
extern const char tls_shim_crypto[];

__attribute__((visibility("default"))) const char tls_shim_crypto[] = "tsstore";
