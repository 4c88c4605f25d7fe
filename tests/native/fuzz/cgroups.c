/* The counter of a cgroup's deaths: any membership, any file of counters. */

#include <stdlib.h>
#include <string.h>

#include "harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char(*room)[LIMIT] = malloc((size_t)3 * LIMIT);
    struct input in = {data, size};
    struct word own = part(&in), membership = part(&in), counters = part(&in);
    forget_fakes();
    fake_file("/proc/self/cgroup", membership);
    fake_file("/sys/fs/cgroup/memory.events", own);
    fake_file("/sys/fs/cgroup/memory/memory.oom_control", own);
    fake_file("/sys/fs/cgroup*", counters);
    int64_t kills = oom_kills(room);
    char *text = copy(membership, true), *of_v2 = strstr(text, "::");
    must(kills == -1 || strchr(text, ':') != NULL, "without a membership there is nothing to read");
    must(kills == -1 || of_v2 != NULL || strstr(text, "memory") != NULL, "nor without the controller");
    free(text);
    free(room);
    return 0;
}
