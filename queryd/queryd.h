/* queryd.h - what the handlers of one queryd share.
 *
 * Purpose    The context that every HTTP handler gets.
 * Ownership  main() owns all of it; it outlives the HTTP server.
 * Threads    Set before the server starts, then only read; each part guards itself.
 */
#ifndef QUERYD_QUERYD_H
#define QUERYD_QUERYD_H

#include "daemon/http.h"

struct forward;
struct views;
struct waiters;

struct queryd {
    const char *data_dir;    /* borrowed */
    struct views *views;     /* owned */
    struct waiters *waiters; /* owned */
    struct forward *forward; /* owned */
};

#endif
