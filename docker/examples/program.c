/* Says when it is ready, and ends with status 7 after a SIGTERM; `program deaf` ignores it. */

#include <signal.h>
#include <string.h>
#include <unistd.h>

static void say(const char *line) {
    if (write(1, line, strlen(line)) < 0)
        _exit(1);
}

int main(int argc, char **argv) {
    sigset_t wanted;
    int number;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    if (argc > 1 && strcmp(argv[1], "deaf") == 0) {
        signal(SIGTERM, SIG_IGN);
        sigprocmask(SIG_UNBLOCK, &wanted, NULL);
        say("ready\n");
        for (;;)
            pause();
    }
    say("ready\n");
    sigwait(&wanted, &number);
    say("got SIGTERM\n");
    return 7;
}
