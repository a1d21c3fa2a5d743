/* key_trouble.c - see key_trouble.h. */
#include "daemon/key_trouble.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

#define LINES 5
#define PERIOD_S 60

void
key_trouble_log(const char *store_name, struct ts_keyring *ring)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(LINES, PERIOD_S);
    char trouble[TS_ERROR_TEXT_BYTES], others[64] = "";
    uint64_t n_dropped;

    ts_keyring_trouble(ring, trouble, sizeof trouble);
    if (trouble[0] == '\0' || !ts_log_allow(&limit, &n_dropped))
        return;
    if (n_dropped > 0)
        snprintf(others, sizeof others, " (%" PRIu64 " more such refusals were not logged)",
                 n_dropped);
    ts_log(TS_LOG_ERROR, "store %s: nobody gets in: %s%s", store_name, trouble, others);
}
