/* swagger_page.h - the page that shows an API description, as part of the program.
 *
 * Purpose    One file with all it needs, so that it works without a network and without being
 *            installed beside the program.
 */
#ifndef CLI_SWAGGER_PAGE_H
#define CLI_SWAGGER_PAGE_H

#include <stdint.h>

extern const char swagger_page[]; /* cli/swagger.html */
extern const uint64_t swagger_page_bytes;

#endif
