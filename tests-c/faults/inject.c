/* See inject.h. */
#include "inject.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#define SYSCALL_DISPATCH_FILTER_ALLOW 0
#define SYSCALL_DISPATCH_FILTER_BLOCK 1
#endif

static volatile char selector = SYSCALL_DISPATCH_FILTER_ALLOW;
static int counts[INJECT_CALLS], all;
static volatile bool happened;
static struct {
    enum inject_action action;
    int nr, nth, error;
} plan;

#ifdef __x86_64__

/* The handler's return is a system call, too, which must not be caught again: it lies in the address range exempt
 * from dispatch. */
extern const char inject_own_begin[], inject_own_end[];
void inject_restorer(void);
long inject_raw(long nr, const long *args);
__asm__(".pushsection .text\n"
        ".balign 16\n"
        "inject_own_begin:\n"
        "inject_restorer:\n"
        "    mov $15, %eax\n"
        "    syscall\n"
        "inject_raw:\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %rcx\n"
        "    mov 0(%rcx), %rdi\n"
        "    mov 8(%rcx), %rsi\n"
        "    mov 16(%rcx), %rdx\n"
        "    mov 24(%rcx), %r10\n"
        "    mov 32(%rcx), %r8\n"
        "    mov 40(%rcx), %r9\n"
        "    syscall\n"
        "    ret\n"
        "inject_own_end:\n"
        ".popsection\n");

/* The kernel's description of a handler, which libc's sigaction() can't express. */
struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* The program's own memory is excluded: Rust aborts on allocation failure. The rest can't fail, or is essential
 * for processes and threads. */
static bool counts_for_us(long nr, const long *args)
{
    switch (nr) {
    case SYS_mmap:
        return !(args[3] & MAP_ANONYMOUS);
    case SYS_brk:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_madvise:
    case SYS_mremap:
    case SYS_futex:
    case SYS_exit:
    case SYS_exit_group:
    case SYS_rt_sigreturn:
    case SYS_rt_sigprocmask:
    case SYS_geteuid:
    case SYS_getpid:
    case SYS_gettid:
    case SYS_kill:
        return false;
    default:
        return nr >= 0 && nr < INJECT_CALLS;
    }
}

static void die(void)
{
    long args[6] = { getpid(), SIGKILL };
    inject_raw(SYS_kill, args);
}

static long answer(long nr, const long *args)
{
    bool now = false;
    long result;

    if (counts_for_us(nr, args)) {
        counts[nr]++;
        all++;
        now = plan.action != INJECT_NOTHING && !happened &&
              (plan.nr == INJECT_ANY ? all : plan.nr == nr ? counts[nr] : -1) == plan.nth;
    }
    if (!now)
        return inject_raw(nr, args);
    happened = true;
    if (plan.action == INJECT_KILL_BEFORE)
        die();
    /* Linux closes the descriptor in any case, and reports the error. */
    if (plan.action == INJECT_KILL_AFTER || nr == SYS_close) {
        result = inject_raw(nr, args);
        if (plan.action == INJECT_KILL_AFTER)
            die();
        (void)result;
    }
    return -plan.error;
}

static void on_call(int sig, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const long args[6] = { regs[REG_RDI], regs[REG_RSI], regs[REG_RDX], regs[REG_R10], regs[REG_R8], regs[REG_R9] };

    (void)sig;
    selector = SYSCALL_DISPATCH_FILTER_ALLOW;
    regs[REG_RAX] = answer(info->si_syscall, args);
    selector = SYSCALL_DISPATCH_FILTER_BLOCK;
}

bool inject_prepare(void)
{
    struct kernel_action action = { on_call, SA_SIGINFO | 0x04000000 /* SA_RESTORER */, inject_restorer, 0 };

    return syscall(SYS_rt_sigaction, SIGSYS, &action, NULL, sizeof(action.mask)) == 0 &&
           prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, inject_own_begin, inject_own_end - inject_own_begin,
                 &selector) == 0;
}

#else

bool inject_prepare(void)
{
    errno = ENOSYS;
    return false;
}

#endif

void inject_plan(enum inject_action action, int nr, int nth, int error)
{
    memset(counts, 0, sizeof(counts));
    all = 0;
    happened = false;
    plan.action = action;
    plan.nr = nr;
    plan.nth = nth;
    plan.error = error;
}

void inject_on(void)
{
    selector = SYSCALL_DISPATCH_FILTER_BLOCK;
}

void inject_off(void)
{
    selector = SYSCALL_DISPATCH_FILTER_ALLOW;
}

int inject_count(int nr)
{
    return nr == INJECT_ANY ? all : counts[nr];
}

bool inject_happened(void)
{
    return happened;
}
