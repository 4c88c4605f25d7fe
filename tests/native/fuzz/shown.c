/* Text that others wrote, as it is shown and as JSON, in buffers of any size. The input: the buffer's size, then the text. */

#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { LARGE = 16 * LIMIT };

static void check_bounds(const struct text *t, size_t size) {
    must((size_t)(t->at - t->start) < size, "there is room for the NUL");
    must(*t->at == '\0', "and there it is");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    size_t room = 1 + byte_of(&in);
    struct word given = {(const char *)in.at, in.left}, exact = {copy(given, false), in.left};
    char *buffer = malloc(room), *large = malloc(LARGE);

    for (size_t at = 0, used; at < exact.length; at += used) {
        int32_t code = decode(exact.at + at, exact.length - at, &used);
        must(used >= 1 && used <= exact.length - at, "a character ends inside the text");
        must((code >= 0) == is_utf8(exact.at + at, used) || code < 0, "what is decoded is UTF-8");
        must(code <= 0x10ffff, "a code point");
        must(cut_at(exact.at, exact.length, at) <= exact.length, "cut inside the text");
    }

    struct text t = text_in(buffer, room);
    put_shown(&t, exact.at, exact.length);
    check_bounds(&t, room);
    t = text_in(buffer, room);
    put_json(&t, exact.at, exact.length);
    check_bounds(&t, room);
    t = text_in(buffer, room);
    put(&t, "%pW%s%.*s|%03lld%c%x", (const void *)&exact, "", (int)exact.length, exact.at, (long long)exact.length, 'c', 1U);
    check_bounds(&t, room);

    struct text shown = text_in(large, LARGE / 2), json = text_in(large + LARGE / 2, LARGE / 2);
    put_shown(&shown, exact.at, exact.length);
    check_bounds(&shown, LARGE / 2);
    must(shown.cut || is_shown(shown.start, (size_t)(shown.at - shown.start)), "what is shown is printable UTF-8");
    must(!is_shown(exact.at, exact.length) || exact.length == 0 || (size_t)(shown.at - shown.start) >= exact.length,
         "nothing is lost");
    put_json(&json, shown.start, (size_t)(shown.at - shown.start));
    check_bounds(&json, LARGE / 2);
    must(shown.cut || json.cut || is_json(json.start, (size_t)(json.at - json.start)), "a JSON string");

    free((char *)(uintptr_t)exact.at);
    free(buffer);
    free(large);
    return 0;
}
