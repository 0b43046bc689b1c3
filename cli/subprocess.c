#include "cli/subprocess.h"

#include "base/file.h"
#include "base/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LOG_BYTES_MAX = 1 << 20, FOLDERS_OPEN_MAX = 16, STOP_MS = 5000 };

/* The environment without the options of this project's programs (base/options.h), which are meant for this process,
 * but for those of the log. malloc; NULL: no memory. */
static char **environment_for_others(void) {
    size_t count = 0, kept = 0;
    while (environ[count]) {
        count++;
    }
    char **all = malloc((count + 1) * sizeof *all);
    for (size_t i = 0; i < count && all; i++) {
        bool is_option = strncmp(environ[i], "FEWBIT_", 7) == 0 && strncmp(environ[i], "FEWBIT_LOG", 10) != 0;
        if (!is_option) {
            all[kept++] = environ[i];
        }
    }
    if (all) {
        all[kept] = NULL;
    }
    return all;
}

/* In the child: becomes the program, which ends when this process does, however that ends. It has a process group of
 * its own, so that a terminal's Ctrl-C is told once, by this process. Tells `report` why not. */
static _Noreturn void become(const char *const argv[], char **environment, const int files[3], pid_t parent,
                             int report) {
    interrupt_forget();
    interrupt_unblock();
    setpgid(0, 0);
    bool is_ready = prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent;
    for (int i = 0; i < 3 && is_ready; i++) {
        is_ready = (files[i] == i ? fcntl(i, F_SETFD, 0) : dup2(files[i], i)) >= 0;
    }
    if (is_ready) {
        execvpe(argv[0], (char *const *)(void *)argv, environment);
    }
    int failure = errno;
    ssize_t told = write(report, &failure, sizeof failure);
    _exit(told == sizeof failure ? 127 : 126);
}

/* What the child says on its way: 0 once it is the program. */
static int read_failure(int from) {
    int failure = 0;
    ssize_t got;
    do {
        got = read(from, &failure, sizeof failure);
    } while (got < 0 && errno == EINTR);
    return got == sizeof failure ? failure : 0;
}

static err start_with(const char *const argv[], char **environment, const int files[3], pid_t *pid) {
    int report[2];
    pid_t parent = getpid();
    if (pipe2(report, O_CLOEXEC)) {
        return err_system(ERR_IO, "cannot start %s", argv[0]);
    }
    interrupt_block(); /* what comes between fork and exec is this process's, not the child's */
    *pid = fork();
    if (*pid == 0) {
        become(argv, environment, files, parent, report[1]);
    }
    int failure = *pid < 0 ? errno : 0;
    interrupt_unblock();
    close(report[1]);
    failure = failure ? failure : read_failure(report[0]);
    close(report[0]);
    if (!failure) {
        return ERR_OK;
    }
    if (*pid > 0) {
        waitpid(*pid, NULL, 0);
    }
    errno = failure;
    return err_system(failure == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot run %s", argv[0]);
}

static err start(const char *const argv[], const char *log, pid_t *pid) {
    char **environment = environment_for_others();
    if (!environment) {
        return err_fail(ERR_MEMORY, "no memory to start %s", argv[0]);
    }
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int output = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    err e = nothing < 0 || output < 0 ? err_system(ERR_IO, "%s", output < 0 ? log : "/dev/null")
                                      : start_with(argv, environment, (int[]){nothing, output, output}, pid);
    close(nothing);
    close(output);
    free(environment);
    return e;
}

/* Waits for its end, so long at most; false: it goes on. `watched` is a descriptor of it. */
static bool has_ended(int watched, int ms) {
    struct pollfd ends = {.fd = watched, .events = POLLIN};
    return poll(&ends, 1, ms) > 0;
}

/* Until it ends or this process is asked to stop. */
static void watch_child(int watched) {
    struct pollfd waits[] = {{.fd = watched, .events = POLLIN}, {.fd = interrupt_descriptor(), .events = POLLIN}};
    while (!interrupt_asked() && !waits[0].revents) {
        poll(waits, 2, -1);
    }
}

/* Asked to stop, it is told so, and ended when it takes too long. */
static int wait_for(pid_t pid) {
    int status = 0, watched = pidfd_open(pid, 0);
    if (watched >= 0) {
        watch_child(watched);
    }
    if (watched < 0 || interrupt_asked()) {
        kill(pid, SIGTERM);
    }
    if (watched >= 0 && interrupt_asked() && !has_ended(watched, STOP_MS)) {
        kill(pid, SIGKILL);
    }
    close(watched);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* Cuts `text` to its last line that is not empty. */
static const char *last_line(char *text) {
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n') {
        text[--length] = '\0';
    }
    const char *newline = strrchr(text, '\n');
    return newline ? newline + 1 : text;
}

static err failed(const char *program, int status, const char *log) {
    char how[64];
    if (WIFSIGNALED(status)) {
        snprintf(how, sizeof how, "was ended by signal %d", WTERMSIG(status));
    } else {
        snprintf(how, sizeof how, "ended with status %d", WEXITSTATUS(status));
    }
    uint8_t *text = NULL;
    size_t length = 0;
    if (file_read(log, LOG_BYTES_MAX, &text, &length)) {
        return err_fail(ERR_INPUT, "%s %s", program, how);
    }
    err e = err_fail(ERR_INPUT, "%s %s: %s", program, how, last_line((char *)text));
    free(text);
    return e;
}

err subprocess_run(const char *const argv[], const char *log) {
    pid_t pid = 0;
    err e = start(argv, log, &pid);
    if (e) {
        return e;
    }
    int status = wait_for(pid);
    if (interrupt_asked()) {
        return err_fail(ERR_STOPPED, "stopped while %s ran", argv[0]);
    }
    return status == 0 ? ERR_OK : failed(argv[0], status, log);
}

err subprocess_folder_make(const char *parent, char *path, size_t size) {
    err e = file_path(path, size, "%s/.fewbit-XXXXXX", parent);
    if (e) {
        return e;
    }
    return mkdtemp(path) ? ERR_OK : err_system(ERR_IO, "%s: cannot make a temporary folder", parent);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void subprocess_folder_remove(const char *path) {
    nftw(path, remove_entry, FOLDERS_OPEN_MAX, FTW_DEPTH | FTW_PHYS);
}
