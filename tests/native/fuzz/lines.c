/* Report lines as JSON and as text: any message, any list. The input: what to do, then the message and the texts, each ended by 0xfe. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

static int reading;

static void open_pipe(void) {
    int ends[2];
    if (reading != 0)
        return;
    must(pipe2(ends, O_NONBLOCK) == 0, "a pipe");
    reading = ends[0];
    report.fd = ends[1];
}

static void check_line(bool json) {
    static char got[2 * LIMIT];
    ssize_t length = read(reading, got, sizeof got);
    must(length > 0, "a line was written");
    must(length <= LIMIT, "a line is at most so long");
    must(got[length - 1] == '\n' && memchr(got, '\n', (size_t)length - 1) == NULL, "one line");
    if (json)
        must(got[0] == '{' && is_json(got, (size_t)length - 1), "a JSON object");
    else
        must(length == LIMIT || is_shown(got, (size_t)length - 1), "a line that is not cut can be shown");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct texts looks, killed;
    char *words[32] = {NULL};
    struct input in = {data, size};
    size_t count = 0;
    unsigned what = byte_of(&in), times = 1 + byte_of(&in) % 16;
    open_pipe();
    report.verbosity = WARNINGS;
    looks.count = looks.kept = killed.count = killed.kept = 0;
    char *said = copy(part(&in), true);
    while (in.left > 0 && count < LENGTH(words) - 1)
        words[count++] = copy(part(&in), true);
    for (size_t i = 0; i < count * times; i++) { /* as engine.c's look_at */
        struct text k = add_begin(&killed);
        put(&k, "%pS", words[i % count]);
        add_end(&killed, &k);
        char shown[LABEL];
        struct text s = text_in(shown, sizeof shown), l = add_begin(&looks);
        put(&s, "%pS", words[i % count]);
        if (s.cut)
            s = text_in(shown, sizeof shown);
        put(&l, "{\"pid\":%d,\"name\":", (int)i);
        put_json(&l, s.start, (size_t)(s.at - s.start));
        put(&l, "}");
        add_end(&looks, &l);
    }
    must(looks.kept <= looks.count && killed.kept <= killed.count, "no more is kept than there was");
    for (int json = 0; json <= 1; json++) {
        report.json = json;
        const struct field *fields = what & 1 ? FIELDS(NUMBER("code", (int64_t)what), WORDS("command", words), KILLED("killed", &killed))
                                              : FIELDS(STRING("signal", "SIGTERM"), LOOKS("processes", &looks));
        say(WARNINGS, "escalate", fields, "%pS", said);
        check_line(json);
    }
    for (size_t i = 0; i < count; i++)
        free(words[i]);
    free(said);
    return 0;
}
