/* Who is still here, and why: everything that is read in /proc and in the cgroup file system (forensics.py).
 * Nothing here signals anybody, and nothing here may fail.
 */

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pyinit.h"
#include "texts.h" /* generated */

/* A process beyond these is not seen by a look. The kernel's own limit is 4,194,304, its default for small machines 32,768. */
enum { MOST_PROCESSES = 1 << 16 };

static struct process table[MOST_PROCESSES];
KEPT static uint32_t in_table;
static struct process *family[MOST_PROCESSES];

static const char *const SHELL_NAMES[] = {SHELLS}, *const INTERPRETER_NAMES[] = {INTERPRETERS};

size_t read_file(const char *path, char *buffer, size_t size) {
    size_t length = 0;
    int fd = open_file(path, O_RDONLY | O_NONBLOCK); /* should it be a FIFO after all */
    if (fd >= 0) {
        ssize_t got;
        while (length < size - 1 && (got = read(fd, buffer + length, size - 1 - length)) > 0)
            length += (size_t)got;
        close(fd);
    }
    buffer[length] = '\0';
    return length;
}

__attribute__((format(printf, 3, 4))) static size_t read_at(char *buffer, size_t size, const char *format, ...) {
    char path[64];
    struct text t = text_in(path, sizeof path);
    va_list arguments;
    va_start(arguments, format);
    putv(&t, format, arguments);
    va_end(arguments);
    return read_file(path, buffer, size);
}

/* --- folders of numbers --- */

struct entry { /* getdents64(2) */
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

void open_folder(struct folder *f, const char *path) {
    f->fd = open_file(path, O_RDONLY | O_DIRECTORY);
    f->filled = f->at = 0;
}

int next_number(struct folder *f) {
    while (f->fd >= 0) {
        if (f->at >= f->filled) {
            f->at = 0;
            f->filled = syscall(SYS_getdents64, f->fd, f->entries, sizeof f->entries);
            if (f->filled <= 0) {
                close(f->fd);
                f->fd = -1;
                break;
            }
        }
        struct entry *entry = (struct entry *)(void *)(f->entries + f->at);
        f->at += entry->length;
        const char *end = entry->name;
        int number = (int)number_at(&end, 10);
        if (number > 0 && *end == '\0')
            return number;
    }
    return 0;
}

/* --- one process --- */

bool read_process(pid_t pid, struct process *p) {
    char stat[1024];
    read_at(stat, sizeof stat, "/proc/%d/stat", (int)pid);
    /* the name may hold spaces and parentheses; what follows the last ) does not */
    const char *opening = stat + span_to(stat, "("), *rest = after_last(stat, ')');
    if (rest <= opening || *rest == '\0')
        return false;
    size_t length = (size_t)(rest - opening - 2);
    *p = (struct process){.pid = pid, .state = rest[1]};
    memcpy(p->name, opening + 1, length < sizeof p->name ? length : sizeof p->name - 1);
    uint64_t numbers[20] = {0}; /* numbers[0] is field 4 of proc_pid_stat(5) */
    size_t count = 0;
    const char *at = rest[1] ? rest + 2 : rest + 1;
    for (; count < LENGTH(numbers) && *(at += span_of(at, " -")) >= '0'; count++)
        numbers[count] = number_at(&at, 10);
    if (count < 19)
        return false;
    p->parent = (pid_t)numbers[0];
    p->pgrp = (pid_t)numbers[1];
    p->session = (pid_t)numbers[2];
    p->start = numbers[18];
    /* one whose first thread has ended while others run is no zombie, though /proc calls it Z */
    p->is_dead = (p->state == 'Z' || p->state == 'X') && numbers[16] <= 1;
    return true;
}

bool is_readable(void) {
    char name[16], ours[16];
    ssize_t length = readlink("/proc/self", name, sizeof name - 1);
    struct text t = text_in(ours, sizeof ours);
    put(&t, "%d", (int)getpid());
    return length > 0 && same((struct word){name, (size_t)length}, ours);
}

bool has_shell_above(void) {
    pid_t group = getpgrp(), session = getsid(0);
    struct process above;
    for (pid_t pid = getppid(); pid > 0; pid = above.parent) {
        if (!read_process(pid, &above) || above.session != session)
            return false;
        if (above.pgrp != group)
            return true;
    }
    return false;
}

/* --- all of them --- */

static struct process *find(pid_t pid) {
    uint32_t low = 0, high = in_table;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table[middle].pid == pid)
            return &table[middle];
        if (table[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Every process that /proc shows, with its children: the table is in the order of pids, as /proc is. */
static void look_at_all(void) {
    static struct folder folder;
    in_table = 0;
    open_folder(&folder, "/proc");
    for (pid_t pid; (pid = next_number(&folder)) > 0;) {
        if (in_table == MOST_PROCESSES || !read_process(pid, &table[in_table]))
            continue;
        for (uint32_t at = in_table++; at > 0 && table[at - 1].pid > table[at].pid; at--) { /* for a kernel that is not Linux */
            struct process other = table[at];
            table[at] = table[at - 1];
            table[at - 1] = other;
        }
    }
    for (uint32_t i = in_table; i-- > 0;) {
        struct process *parent = find(table[i].parent);
        if (parent == NULL)
            continue;
        table[i].next_sibling = parent->first_child;
        parent->first_child = i + 1;
    }
}

uint32_t processes(struct process **all) {
    look_at_all();
    *all = table;
    return in_table;
}

uint32_t descendants(struct process ***found) {
    look_at_all();
    uint32_t count = 0, living = 0;
    struct process *parent = find(getpid());
    /* breadth first; zombies have no children of ours to find, but a look at them costs nothing */
    for (uint32_t at = 0; parent != NULL; parent = at < count ? family[at++] : NULL)
        for (uint32_t child = parent->first_child; child != 0 && count < MOST_PROCESSES; child = table[child - 1].next_sibling)
            family[count++] = &table[child - 1];
    for (uint32_t i = 0; i < count; i++)
        if (!family[i]->is_dead)
            family[living++] = family[i];
    *found = family;
    return living;
}

/* --- why did it not stop? --- */

struct status { /* /proc/PID/status */
    char state;
    long tracer;
    mask pending, blocked, ignored, caught;
    int namespaces; /* how many PID namespaces it is in, and its number in the innermost */
    long innermost;
    long uid;
};

static const char *value_of(const char *text, const char *key) {
    size_t length = strlen(key);
    for (const char *at = text; *at != '\0'; at += span_to(at, "\n")) {
        at += *at == '\n';
        if (strncmp(at, key, length) == 0 && at[length] == ':')
            return at + length + 1 + span_of(at + length + 1, " \t");
    }
    return NULL;
}

static mask mask_at(const char *text, const char *key) {
    const char *value = value_of(text, key);
    return value ? number_at(&value, 16) : 0;
}

/* Of a process, or of one of its threads. */
static void read_status(pid_t pid, pid_t thread, struct status *s) {
    static char text[16384];
    *s = (struct status){.uid = -1};
    if (thread ? !read_at(text, sizeof text, "/proc/%d/task/%d/status", (int)pid, (int)thread)
               : !read_at(text, sizeof text, "/proc/%d/status", (int)pid))
        return;
    const char *value = value_of(text, "State");
    s->state = value ? *value : '\0';
    value = value_of(text, "TracerPid");
    s->tracer = value ? (long)number_at(&value, 10) : 0;
    value = value_of(text, "Uid");
    s->uid = value ? (long)number_at(&value, 10) : -1;
    s->pending = mask_at(text, "SigPnd") | mask_at(text, "ShdPnd");
    s->blocked = mask_at(text, "SigBlk");
    s->ignored = mask_at(text, "SigIgn");
    s->caught = mask_at(text, "SigCgt");
    for (value = value_of(text, "NSpid"); value != NULL && *value >= '0' && *value <= '9'; value += span_of(value, " \t")) {
        s->innermost = (long)number_at(&value, 10);
        s->namespaces++;
    }
}

static bool is_any(const char *name, const char *const *names, size_t count, bool by_prefix) {
    for (size_t i = 0; i < count; i++)
        if (by_prefix ? starts_with(name, names[i]) : strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* The living children of a shell that is waiting for them, at most four; false if there are none. */
static bool put_children(struct text *t, const struct process *p) {
    int count = 0;
    for (uint32_t child = p->first_child; child != 0 && count < 4; child = table[child - 1].next_sibling)
        if (!table[child - 1].is_dead)
            put(t, "%s%d", count++ ? ", " : "shell waiting for ", (int)table[child - 1].pid);
    return count > 0;
}

/* Whether some thread waits for the signal, and whether all of them block it. */
static void look_at_threads(const struct process *p, int signal, bool handled, bool *some_wait, bool *all_block) {
    static struct folder folder;
    char path[32], where[128];
    struct text t = text_in(path, sizeof path);
    struct status s;
    int threads = 0;
    *some_wait = false;
    *all_block = true;
    put(&t, "/proc/%d/task", (int)p->pid);
    open_folder(&folder, path);
    for (pid_t thread; (thread = next_number(&folder)) > 0;) {
        if (threads == 64)
            continue; /* to the folder's end, where it is closed */
        threads++;
        read_status(p->pid, thread, &s);
        if (in_mask(signal, s.blocked))
            continue;
        *all_block = false;
        /* while it waits, a thread's blocked mask lacks what it waits for; the other threads block it (sigwait(3)) */
        read_at(where, sizeof where, "/proc/%d/task/%d/wchan", (int)p->pid, (int)thread);
        *some_wait |= !handled && find_text(where, "sigtimedwait") != NULL;
    }
    *all_block &= threads > 0;
}

void put_why(struct text *t, const struct process *p, int signal) {
    struct status s, own;
    const char *name = name_of(signal);
    if (p->is_dead) {
        put(t, "zombie that its parent %d does not reap", (int)p->parent);
        return;
    }
    read_status(p->pid, 0, &s);
    char state = s.state ? s.state : p->state;
    bool handled = in_mask(signal, s.caught), some_wait, all_block;
    if (state == 'D') {
        char where[128];
        read_at(where, sizeof where, "/proc/%d/wchan", (int)p->pid);
        char *at = where + span_of(where, "0");
        for (size_t length = strlen(at); length > 0 && at[length - 1] == '0'; length--)
            at[length - 1] = '\0';
        put(t, "in uninterruptible sleep%s%s", *at ? " in " : "", at);
        return;
    }
    if (state == 'T' || state == 't') {
        if (s.tracer)
            put(t, "stopped by its tracer %lld", (long long)s.tracer);
        else
            put(t, "stopped");
        return;
    }
    if (in_mask(signal, s.ignored)) {
        put(t, "ignores %s", name);
        return;
    }
    if (handled && is_any(p->name, SHELL_NAMES, LENGTH(SHELL_NAMES), false) && put_children(t, p))
        return;
    look_at_threads(p, signal, handled, &some_wait, &all_block);
    read_status(getpid(), 0, &own);
    if (some_wait)
        put(t, "waits for signals in sigwait and has not ended");
    else if (all_block)
        put(t, "blocks %s", name);
    else if (handled)
        put(t, "has a handler for %s and is still running", name);
    else if (s.namespaces > own.namespaces && s.innermost == 1) {
        put(t, "is PID 1 of its own namespace and has no handler for %s", name);
        return;
    } else
        put(t, "has not acted on %s yet", name);
    if (in_mask(signal, s.pending)) /* it has not even been taken */
        put(t, ", %s still pending", name);
}

void put_uid(struct text *t, pid_t pid) {
    struct status s;
    read_status(pid, 0, &s);
    if (s.uid < 0)
        put(t, "?");
    else
        put(t, "%lld", (long long)s.uid);
}

/* A process's command line, word by word. */
struct command {
    char text[LIMIT + 1];
    size_t length, at;
};

static struct command *read_command(pid_t pid) {
    static struct command c;
    c.length = read_at(c.text, sizeof c.text, "/proc/%d/cmdline", (int)pid);
    c.at = 0;
    if (c.length > 0 && c.text[c.length - 1] != '\0')
        c.length++; /* the NUL that read_file put there ends the last word */
    return &c;
}

static const char *next_word(struct command *c) {
    if (c->at >= c->length)
        return NULL;
    const char *word = c->text + c->at;
    c->at += strlen(word) + 1;
    return word;
}

void put_label(struct text *t, const struct process *p) {
    char label[64];
    struct text l = text_in(label, sizeof label);
    put(&l, "%s", p->name);
    if (is_any(p->name, INTERPRETER_NAMES, LENGTH(INTERPRETER_NAMES), true)) {
        struct command *c = read_command(p->pid);
        next_word(c);
        for (const char *word; (word = next_word(c)) != NULL && strcmp(word, "-c") != 0;) {
            if (word[0] == '-')
                continue;
            const char *script = after_last(word, '/');
            if (*script != '\0' && word[span_to(word, " \n")] == '\0') {
                size_t length = strlen(script);
                put(&l, " %.*s", (int)(length < 40 ? length : 40), script);
            }
            break;
        }
    }
    put_shown(t, l.start, (size_t)(l.at - l.start));
}

void put_command_json(struct text *t, pid_t pid) {
    static char shown[LIMIT];
    struct command *c = read_command(pid);
    int count = 0;
    put(t, "[");
    for (const char *word; (word = next_word(c)) != NULL;) {
        struct text s = text_in(shown, sizeof shown);
        put(&s, "%pS", word);
        put(t, "%s", count++ ? "," : "");
        put_json(t, s.start, (size_t)(s.at - s.start));
    }
    put(t, "]");
}

/* --- out of memory --- */

static int64_t count_in(const char *file, char *text) {
    read_file(file, text, LIMIT);
    for (const char *at = text; *at != '\0'; at += span_to(at, "\n")) {
        at += *at == '\n';
        if (starts_with(at, "oom_kill ") && at[9] >= '0' && at[9] <= '9') {
            at += 9;
            return (int64_t)number_at(&at, 10);
        }
    }
    return -1;
}

/* Whether a comma-separated list of controllers holds `memory`. */
static bool has_memory(struct word list) {
    while (list.at != NULL)
        if (same(cut_word(&list, ','), "memory"))
            return true;
    return false;
}

int64_t oom_kills_in(const char *root, const char *membership, char (*room)[LIMIT]) {
    char *text = room[0], *file = room[1];
    read_file(membership, text, LIMIT);
    for (char *line = text, *end; *line != '\0'; line = end) { /* each is number:controllers:path */
        end = line + span_to(line, "\n");
        end += *end == '\n' ? (*end = '\0', 1) : 0;
        struct word path = word_of(line), list;
        cut_word(&path, ':');
        if (path.at == NULL)
            continue;
        list = cut_word(&path, ':');
        if (path.at == NULL)
            continue;
        bool is_v2 = list.length == 0;
        if (!is_v2 && !has_memory(list))
            continue;
        for (int i = 0; i < 2; i++) { /* as seen from the host, and as seen in here */
            struct text t = text_in(file, LIMIT);
            put(&t, "%s%s%s%s", root, is_v2 ? "" : "/memory", i == 0 ? path.at : "", is_v2 ? "/memory.events" : "/memory.oom_control");
            int64_t count = t.cut ? -1 : count_in(file, room[2]);
            if (count >= 0)
                return count;
        }
    }
    return -1;
}

int64_t oom_kills(char (*room)[LIMIT]) { return oom_kills_in("/sys/fs/cgroup", "/proc/self/cgroup", room); }
