/* openapi.h - proto/openapi.yaml as a tree, and what it says of a value.
 *
 * Purpose    Tests compare the running daemons with the description that clients get.
 * Invariant  What the description says is checked or refused: a keyword that is not known here
 *            fails the test rather than being passed over.
 * Ownership  Everything lives until site_stop().
 * Errors     A description that cannot be read fails the test on the spot.
 */
#ifndef OPENAPI_H
#define OPENAPI_H

#include <jansson.h>

/* The file of this tree. */
json_t *openapi_load(void);

/* Member `name` of `node`, its $ref followed; NULL if there is none. */
json_t *openapi_member(json_t *root, json_t *node, const char *name);

/* `node` itself, its $ref followed. */
json_t *openapi_follow(json_t *root, json_t *node);

/* What of `value` is not as `schema` has it: "objects/0/size: …"; NULL if all is. Members that the
 * schema does not name are mismatches, too. */
const char *openapi_mismatch(json_t *root, json_t *schema, json_t *value);

#endif
