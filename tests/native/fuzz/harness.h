/* What the fuzzers share: an input in parts, a kernel's files made of it, a fail() that comes back, and what texts must be.
 *
 * Each fuzzer is one file with LLVMFuzzerTestOneInput(). A property that does not hold is said and aborts, which libFuzzer reports
 * with the input; what runs out of a buffer is AddressSanitizer's to find, which is why inputs and outputs are of their exact size.
 */

#ifndef HARNESS_H
#define HARNESS_H

#include <setjmp.h>

#include "pyinit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Abort with these words unless it is true. */
void must(bool is_true, const char *what);

/* --- the input, in parts --- */

struct input {
    const uint8_t *at;
    size_t left;
};

unsigned byte_of(struct input *in);              /* 0 when nothing is left */
struct word part(struct input *in);              /* up to the next 0xfe, which no UTF-8 has, or to the end */
char *copy(struct word word, bool terminated);   /* of its exact size; to be freed */

/* --- files that open_file() opens instead of the machine's --- */

void fake_file(const char *path, struct word content); /* a path that ends in * stands for all that begin so */
void fake_folder(const char *path, unsigned entries);  /* of 1, 2, ... and some names that are no numbers */
void forget_fakes(void);

/* --- fail() --- */

/* Whether the statement called fail(): the line must then be one for people. */
extern jmp_buf failure;
#define FAILS(statement) (setjmp(failure) == 0 ? ((void)(statement), false) : true)

/* --- texts --- */

bool is_utf8(const char *at, size_t length);
bool is_shown(const char *at, size_t length); /* UTF-8 and printable */
bool is_json(const char *at, size_t length);  /* one value, and UTF-8 */

#endif
