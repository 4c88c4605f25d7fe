/* Durations and signals: any text, which is not terminated. */

#include <stdlib.h>
#include <string.h>

#include "harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct word text = {copy((struct word){(const char *)data, size}, false), size};
    int64_t length = -1;
    if (duration(text, &length)) {
        must(length >= 0, "a duration is not negative");
        must((length == NEVER) == same(text, "infinity"), "only infinity is forever");
        must(length == NEVER || length % MILLISECOND == 0, "no unit is smaller than a millisecond");
        must(later(length, length) >= length, "time does not run backwards");
    }
    int number = number_of(text);
    must(number == -1 || (number >= 1 && number <= RTMAX && number != 32 && number != 33), "a signal's number");
    if (number > 0)
        must(number_of(word_of(name_of(number))) == number, "a signal's name is understood");
    free((char *)(uintptr_t)text.at);
    return 0;
}
