/* The terminal: who has its foreground, and job control when a shell is above us (terminal.py).
 * Every call happens with SIGTTOU blocked, so that none of them stops pyinit; none of them is a reason to fail.
 */

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pyinit.h"

KEPT struct terminal terminal = {.fd = -1, .is_leader = true};

bool set_foreground(int fd, pid_t wanted) { return syscall(SYS_ioctl, fd, TIOCSPGRP, &wanted) == 0; }

static pid_t foreground(void) {
    pid_t now;
    return terminal.fd >= 0 && syscall(SYS_ioctl, terminal.fd, TIOCGPGRP, &now) == 0 ? now : -1;
}

/* Whether others of our group are likely to use the terminal: then the program gets it when it asks, not before. */
static bool in_pipeline(void) {
    struct stat about;
    for (int fd = 1; fd <= 2; fd++)
        if (fstat(fd, &about) == 0 && S_ISFIFO(about.st_mode))
            return true;
    return false;
}

bool terminal_open(void) {
    terminal.group = getpgrp();
    if (getpid() != 1)
        terminal.is_leader = getsid(0) == getpid() || !has_shell_above();
    if (!is_terminal(0))
        return true;
    terminal.fd = (int)syscall(SYS_fcntl, 0, F_DUPFD_CLOEXEC, 3);
    terminal.take_at_start = foreground() == terminal.group && (terminal.is_leader || !in_pipeline());
    return terminal.fd >= 0;
}

void terminal_give(pid_t group) { (void)set_foreground(terminal.fd, group); /* where it fails, there is nobody to give it to */ }

void terminal_give_back(pid_t program) {
    pid_t now = foreground();
    if (now == program || now == 0)
        terminal_give(terminal.group);
}

static void resume(pid_t program) { (void)kill(-program, CONT); /* when it ended meanwhile, the reaper will see it */ }

/* Stop with our whole group, as if the terminal had stopped it: a script above us belongs to it. */
static void stop(int signal) {
    kill(0, signal);
    kill(getpid(), STOP);
    /* here we have been continued; CONT took the pending stop signal with it (signal(7)) and is itself ours, not the program's */
    wait_signal(bit(CONT), 0);
}

/* Whether there is a terminal to be had: stdin, or below a shell, where stdin is a pipe, the one that it controls us by. */
static bool is_there(void) {
    if (terminal.fd < 0 && !terminal.is_leader)
        terminal.fd = open_file("/dev/tty", O_RDWR | O_NOCTTY);
    return terminal.fd >= 0;
}

void terminal_program_stopped(pid_t program, int signal, bool passed_on) {
    bool wants_terminal = signal == TTIN || signal == TTOU;
    if ((signal != TSTP && !wants_terminal) || !is_there())
        return;
    if (terminal.is_leader) {
        if (wants_terminal)
            terminal_give(program); /* continued without it, it would stop again at once */
        if (!passed_on)
            resume(program);
        return;
    }
    if (wants_terminal && foreground() == terminal.group) {
        terminal_give(program); /* in a pipeline it was not taken before it was needed */
        resume(program);
        return;
    }
    if (foreground() == program)
        terminal_give(terminal.group);
    stop(signal);
    if (foreground() == terminal.group)
        terminal_give(program);
    resume(program);
}

/* The program was stopped while a shutdown is running: it is not to sleep through it. */
void terminal_hurry(pid_t program, int signal) {
    if (signal == TTIN || signal == TTOU) {
        if (terminal.fd < 0)
            return; /* continued without the terminal, it would stop again at once; the stop signal came with a CONT */
        terminal_give(program);
    }
    resume(program);
}
