/* key_trouble.h - keys that cannot be read, told to the operator.
 *
 * Purpose    A client whose key cannot be looked up hears "authentication failed" and no more; why,
 *            is the operator's to know.
 * Threads    Any.
 */
#ifndef DAEMON_KEY_TROUBLE_H
#define DAEMON_KEY_TROUBLE_H

#include "common/keys.h"

/* To be called when a check of this ring answered TS_E_KEY_STORE: logs what is wrong with the
 * store's keys.json, some lines a minute over all stores. Says nothing if there is no such store:
 * anybody may ask for any name. Leaves the thread's error text alone. */
void key_trouble_log(const char *store_name, struct ts_keyring *ring);

#endif
