/* openapi_calls.h - the operations of proto/openapi.yaml, called at the daemons of the site.
 *
 * Purpose    A request is filled in from the examples of the description, an answer is held against
 *            what the description says of it.
 * Ownership  Of the test's process; everything lives until site_stop().
 */
#ifndef OPENAPI_CALLS_H
#define OPENAPI_CALLS_H

#include "tests/system/harness.h"
#include "tests/system/openapi.h"

#define MAX_OPERATIONS 64
#define ALL_PARAMETERS SIZE_MAX

enum { QUERYD, INGESTD, N_DOORS };
enum { N_TYPES = 4 };

struct operation {
    const char *method, *path, *id;
    json_t *item, *tree; /* of the path, of the operation */
    bool is_at[N_DOORS];
    const char *seen[N_DOORS]; /* statuses that came, "200 401 " */
};

extern const char *const door_names[N_DOORS], *const store_types[N_TYPES];
extern json_t *openapi; /* the description */
extern struct operation operations[MAX_OPERATIONS];
extern size_t n_operations;
extern struct store stores[N_TYPES]; /* one of each type; the test makes them */

#define FOR_EACH_OPERATION(op)                                                                     \
    for (struct operation *op = operations; op < operations + n_operations; op++)

/* Reads all of it. */
void take_description(void);
struct operation *find_operation(const char *id);

/* What the description has for a status of an operation; NULL if nothing. */
json_t *listed(const struct operation *op, int status);

/* The status of success: the only one below 400. */
int good_status(const struct operation *op);

/* Whether it takes a key. */
bool is_secured(const struct operation *op);

/* Those of the path and of the operation. */
json_t *parameters_of(const struct operation *op);

int port_of(int door);
struct store *store_of_kind(const char *type);

/* The one of the stores that takes this content type (NULL: none is sent). */
struct store *store_for(const struct operation *op, const char *content_type);

/* The path with its parameters; those of the query and of the head that are required, and besides
 * ALL_PARAMETERS or the one at `only`; the key. */
struct call request_of(const struct operation *op, int door, const struct store *store,
                       size_t only);

/* One header more. */
void add_header(struct call *request, const char *header);

/* The answer must be described. Notes its status in op->seen. */
void expect_described(struct operation *op, int door, const struct answer *answer);

/* Asks; the answer must be described, and have this status unless that is 0. */
struct answer ask(struct operation *op, int door, const struct call *request, int status);

#endif
