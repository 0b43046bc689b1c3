#include "base/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <ucontext.h>
#include <unistd.h>

enum { STATUS_STOPPED = 130, SIGNALS = 3 };

static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
static atomic_bool asked, hung_up, stops_at_hang_up, is_blocked;
static atomic_int descriptor = -1;
static bool is_caught, is_in_main;
static atomic_bool library_failed;
static bool ignores_hang_up; /* as it was started: nohup */

static void tell(void) {
    const uint64_t one = 1;
    if (atomic_load(&descriptor) >= 0) {
        ssize_t written = write(atomic_load(&descriptor), &one, sizeof one);
        (void)written; /* fails only where it is readable anyway */
    }
}

/* OpenBLAS raises SIGINT where it finds no memory for its threads, before main. */
static bool is_own(const siginfo_t *info) {
    return info->si_code == SI_TKILL && info->si_pid == getpid();
}

static void fill(sigset_t *set) {
    for (int i = 0; i < SIGNALS; i++) {
        sigaddset(set, numbers[i]);
    }
}

/* On a thread beside the one that has blocked them: it is blocked here too from its return on, and so waits for the
 * process, or for the program that it becomes. */
static void pass_on(int number, void *context) {
    ucontext_t *interrupted = context;
    fill(&interrupted->uc_sigmask);
    kill(getpid(), number);
}

/* A terminal that goes sends SIGHUP more than once: only the others end the process the second time. */
static void on_signal(int number, siginfo_t *info, void *context) {
    int kept = errno;
    if (atomic_load(&is_blocked)) {
        pass_on(number, context);
    } else if (number == SIGINT && !is_in_main && is_own(info)) {
        atomic_store(&library_failed, true);
    } else if (number == SIGHUP && !atomic_load(&stops_at_hang_up)) {
        atomic_store(&hung_up, true);
    } else if (atomic_exchange(&asked, true) && number != SIGHUP) {
        _exit(STATUS_STOPPED);
    }
    tell();
    errno = kept;
}

static void mask(int how) {
    sigset_t set;
    sigemptyset(&set);
    fill(&set);
    pthread_sigmask(how, &set, NULL);
}

/* A stop ends what waits (EINTR); a reload must not. */
static void catch (int number, int flags) {
    const struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = flags | SA_SIGINFO};
    sigaction(number, &action, NULL);
}

void interrupt_catch_early(void) {
    struct sigaction before;
    if (!is_caught) {
        is_caught = true;
        ignores_hang_up = sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        catch (SIGINT, 0);
        catch (SIGTERM, 0);
        catch (SIGHUP, SA_RESTART);
        mask(SIG_UNBLOCK);
    }
}

err interrupt_catch(void) {
    interrupt_catch_early();
    is_in_main = true;
    if (atomic_load(&library_failed)) {
        return err_fail(ERR_MEMORY, "a library found too little memory or too few threads to start");
    }
    int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made < 0) {
        return err_system(ERR_IO, "cannot catch signals");
    }
    atomic_store(&descriptor, made);
    if (atomic_load(&asked) || atomic_load(&hung_up)) {
        tell();
    }
    return ERR_OK;
}

void interrupt_hang_up_stops(void) {
    if (ignores_hang_up) {
        signal(SIGHUP, SIG_IGN);
        return;
    }
    atomic_store(&stops_at_hang_up, true);
    catch (SIGHUP, 0);
    if (atomic_exchange(&hung_up, false)) {
        atomic_store(&asked, true);
        tell();
    }
}

bool interrupt_asked(void) {
    return atomic_load_explicit(&asked, memory_order_relaxed);
}

err interrupt_check(void) {
    return interrupt_asked() ? err_fail(ERR_STOPPED, "stopped by a signal") : ERR_OK;
}

bool interrupt_took_hang_up(void) {
    return atomic_exchange(&hung_up, false);
}

int interrupt_descriptor(void) {
    return atomic_load(&descriptor);
}

void interrupt_drain(void) {
    uint64_t count;
    ssize_t got = read(atomic_load(&descriptor), &count, sizeof count);
    (void)got;
    if (interrupt_asked()) {
        tell();
    }
}

void interrupt_sleep(int ms) {
    struct pollfd wait = {.fd = atomic_load(&descriptor), .events = POLLIN};
    if (!interrupt_asked()) {
        poll(&wait, 1, ms);
    }
}

void interrupt_block(void) {
    atomic_store(&is_blocked, true);
    mask(SIG_BLOCK);
}

void interrupt_unblock(void) {
    atomic_store(&is_blocked, false);
    mask(SIG_UNBLOCK);
}

void interrupt_forget(void) {
    for (int i = 0; i < SIGNALS; i++) {
        signal(numbers[i], numbers[i] == SIGHUP && ignores_hang_up ? SIG_IGN : SIG_DFL);
    }
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
}
