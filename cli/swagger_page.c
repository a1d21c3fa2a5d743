/* swagger_page.c - takes cli/swagger.html into the program.
 *
 * By the assembler, so that the page stays a file that editors and browsers know. Its path is
 * looked for from where the compiler was started, the top of the tree.
 */
#include "cli/swagger_page.h"

__asm__(".pushsection .rodata\n"
        ".global swagger_page\n"
        ".hidden swagger_page\n"
        ".global swagger_page_bytes\n"
        ".hidden swagger_page_bytes\n"
        "swagger_page:\n"
        ".incbin \"cli/swagger.html\"\n"
        "swagger_page_end:\n"
        ".balign 8\n"
        "swagger_page_bytes:\n"
        ".quad swagger_page_end - swagger_page\n"
        ".popsection\n");
