/* What is read in /proc: any stat, status, cmdline and task folder, for seven processes whose parents may be anybody; we are 1, and 2 is asked about.
 *
 * Of wchan only what a kernel can write, the name of one of its functions: it is shown as it is. The input: what to do, then the
 * files' contents, each ended by 0xfe.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

enum { PROCESSES = 7 };

static void fake_functions_name(const char *path, char *name, struct word given) {
    size_t length = 0;
    for (; length < given.length && length < 100; length++)
        name[length] = "abcdefghijklmnopqrstuvwxyz0_"[(unsigned char)given.at[length] % 28];
    fake_file(path, (struct word){name, length});
}

static void check_reasons(const struct process *p, unsigned choice) {
    static char buffer[256], label[LABEL], command[8 * LIMIT];
    struct text why = text_in(buffer, sizeof buffer), l = text_in(label, sizeof label), c = text_in(command, sizeof command);
    put_why(&why, p, (int)(1 + choice % RTMAX));
    must(!why.cut && is_shown(why.start, (size_t)(why.at - why.start)) && why.at > why.start, "a reason can be shown, and has room");
    put_label(&l, p);
    must(!l.cut && is_shown(l.start, (size_t)(l.at - l.start)), "a label can be shown, and has room");
    put_command_json(&c, p->pid);
    size_t length = (size_t)(c.at - c.start);
    must(length > LIMIT || is_json(c.start, length), "a command line that could be printed is JSON");
    why = text_in(buffer, sizeof buffer);
    put_uid(&why, p->pid);
    must(!why.cut && why.at > why.start, "a UID has room");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char names[2][128], path[64];
    struct input in = {data, size};
    unsigned choice = byte_of(&in), tasks = byte_of(&in);
    struct process *all, **found;
    struct word own = part(&in), status = part(&in), thread = part(&in), command = part(&in), at = part(&in), in_thread = part(&in);
    forget_fakes();
    fake_folder("/proc", PROCESSES);
    fake_folder("/proc/2/task", tasks);
    fake_file("/proc/1/status", own);
    fake_file("/proc/2/status", status);
    fake_file("/proc/2/cmdline", command);
    fake_functions_name("/proc/2/wchan", names[0], at);
    fake_functions_name("/proc/2/task/1/wchan", names[1], in_thread);
    fake_file("/proc/2/task/*", thread);
    for (int i = 1; i <= PROCESSES; i++) {
        struct text t = text_in(path, sizeof path);
        put(&t, "/proc/%d/stat", i);
        fake_file(path, part(&in));
    }
    uint32_t count = processes(&all);
    must(count <= PROCESSES, "as many as the folder has");
    for (uint32_t i = 0; i < count; i++) {
        must(memchr(all[i].name, '\0', sizeof all[i].name) != NULL, "a name ends");
        must(i == 0 || all[i - 1].pid < all[i].pid, "in the order of pids");
    }
    uint32_t living = descendants(&found);
    for (uint32_t i = 0; i < living; i++)
        must(!found[i]->is_dead, "descendants live");
    for (uint32_t i = 0; i < count; i++)
        if (all[i].pid == 2 && all[i].state > ' ' && all[i].state < '~')
            check_reasons(&all[i], choice);
    forget_fakes();
    return 0;
}
