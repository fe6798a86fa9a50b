//! Seccomp: which system calls there are.
//!
//! All others fail with ENOSYS, as on a kernel that does not have them, and nothing is killed: a libc that is newer than
//! this list tries its new calls, and takes the old ones where it hears that. A filter that kills would make an outage of
//! such an update. What an intruder wants is not had either way.

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// Whatever its arguments are. All are there on each processor.
const ALWAYS: &[c_long] = &[
    // Files that are read.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_flock,
    libc::SYS_dup,
    // The log.
    libc::SYS_write,
    libc::SYS_writev,
    // Sockets, but for making one.
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Memory, but for what could be executed.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads, but for making one.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals, but for sending one.
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_restart_syscall,
    // Time, chance, and who it is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_sysinfo,
    libc::SYS_getcwd,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
];

/// What uploads need besides, and the sweep of what they left.
const CHANGES: &[c_long] = &[
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_copy_file_range,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_linkat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_getxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_flistxattr,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
];

/// What it needs besides to whom others connect: who looks at the page, or the server after it. No connection is opened, and no
/// other port.
const ACCEPT: &[c_long] = &[libc::SYS_accept4];

/// All that the process of one transfer needs: it opens nothing, and makes no thread.
const TRANSFER: &[c_long] = &[
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
];

/// Older forms of the same that libc still uses where a processor has them.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// The one among the changes that not all processors have.
#[cfg(target_arch = "x86_64")]
const RENAME: &[c_long] = &[libc::SYS_renameat];
/// `libc` does not name it, and the kernel has it under this number.
#[cfg(target_arch = "aarch64")]
const RENAME: &[c_long] = &[38];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const RENAME: &[c_long] = &[];

/// Which bits of an argument count, and what they must be.
type Bits = (u8, u64, u64);

const WORD: u64 = u32::MAX as u64;
const POINTER: u64 = u64::MAX;

/// `SOCK_CLOEXEC` and `SOCK_NONBLOCK` stand in the same word.
const TYPE: u64 = 0xf;

const fn socket(family: i32, protocol: i32) -> [Bits; 3] {
    [(0, WORD, family as u64), (1, TYPE, libc::SOCK_DGRAM as u64), (2, WORD, protocol as u64)]
}

/// UDP of both families.
fn sockets() -> Vec<(c_long, Vec<Bits>)> {
    let families = [libc::AF_INET, libc::AF_INET6];
    let all = families.into_iter().flat_map(|it| [0, libc::IPPROTO_UDP].map(|udp| socket(it, udp)));
    all.map(|bits| (libc::SYS_socket, bits.to_vec())).collect()
}

/// A thread, and no process. What `clone3` is told no filter can see; libc takes this one then.
fn threads() -> Vec<(c_long, Vec<Bits>)> {
    vec![(libc::SYS_clone, vec![(0, libc::CLONE_THREAD as u64, libc::CLONE_THREAD as u64)])]
}

/// Channels to processes, which somebody else starts.
fn pairs() -> Vec<(c_long, Vec<Bits>)> {
    let bits = [(0, WORD, libc::AF_UNIX as u64), (1, TYPE, libc::SOCK_SEQPACKET as u64)];
    vec![(libc::SYS_socketpair, bits.to_vec())]
}

/// The calls that are allowed with certain arguments, each with its conditions, all of which must hold.
fn conditional() -> Vec<(c_long, Vec<Bits>)> {
    let executable = libc::PROT_EXEC as u64;
    let is = |argument, value: i32| vec![(argument, WORD, u64::from(value.cast_unsigned()))];
    let mut all = vec![
        (libc::SYS_mmap, vec![(2, executable, 0)]),
        (libc::SYS_mprotect, vec![(2, executable, 0)]),
        // To itself, where it aborts.
        (libc::SYS_tgkill, is(0, std::process::id().cast_signed())),
        // To ask for its own limits, and not to set them.
        (libc::SYS_prlimit64, vec![(0, WORD, 0), (2, POINTER, 0)]),
    ];
    for command in
        [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC]
    {
        all.push((libc::SYS_fcntl, is(1, command)));
    }
    for request in [libc::TCGETS as i32, libc::FIONBIO as i32] {
        all.push((libc::SYS_ioctl, is(1, request)));
    }
    // The names of threads, and of memory, which newer forms of libc give it.
    for option in [libc::PR_SET_NAME, libc::PR_SET_VMA] {
        all.push((libc::SYS_prctl, is(0, option)));
    }
    all
}

/// What a process does, as far as that decides which calls it has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Does {
    pub(super) writes: bool,
    pub(super) accepts: bool,
    /// It has processes started.
    pub(super) has_processes: bool,
}

/// From now on all threads have only the calls of a server.
pub(super) fn allow_server(does: Does) -> Result<(), String> {
    allow_only(|arch| of_server(does, arch))
}

/// From now on all threads have only the calls of a transfer.
pub(super) fn allow_transfer() -> Result<(), String> {
    allow_only(of_transfer)
}

type Filtered = Result<BpfProgram, seccompiler::BackendError>;

fn allow_only(filter: impl FnOnce(TargetArch) -> Filtered) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH);
    let arch = arch.map_err(|_| "there is no list for this processor".to_owned())?;
    let program = filter(arch).map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program).map_err(|error| match error {
        seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error) => error.to_string(),
        other => other.to_string(),
    })
}

fn of_server(does: Does, arch: TargetArch) -> Filtered {
    let changes = if does.writes { [CHANGES, RENAME] } else { [&[][..]; 2] };
    let accepting = if does.accepts { ACCEPT } else { &[] };
    let free = [ALWAYS, OLDER, accepting].into_iter().chain(changes);
    let pairs = if does.has_processes { pairs() } else { Vec::new() };
    filter(free, [conditional(), threads(), sockets(), pairs].concat(), arch)
}

fn of_transfer(arch: TargetArch) -> Filtered {
    filter([TRANSFER], conditional(), arch)
}

fn filter<'a>(
    free: impl IntoIterator<Item = &'a [c_long]>,
    conditional: Vec<(c_long, Vec<Bits>)>,
    arch: TargetArch,
) -> Filtered {
    let free = free.into_iter().flatten().copied();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = free.map(|call| (call, Vec::new())).collect();
    for (call, bits) in conditional {
        let conditions = bits.into_iter().map(|(argument, mask, value)| {
            use SeccompCmpArgLen::{Dword, Qword};
            let len = if mask > WORD { Qword } else { Dword };
            SeccompCondition::new(argument, len, SeccompCmpOp::MaskedEq(mask), value)
        });
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        rules.entry(call).or_default().push(rule);
    }
    let refused = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_a_filter_for_each_processor_and_is_shorter_without_uploads() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64, TargetArch::riscv64] {
            let len = |does| of_server(does, arch).expect("a filter").len();
            let read = len(Does::default());
            assert!(read < len(Does { writes: true, ..Does::default() }));
            assert!(read < len(Does { accepts: true, ..Does::default() }));
            assert!(read < len(Does { has_processes: true, ..Does::default() }));
            assert!((1..read).contains(&of_transfer(arch).expect("a filter").len()));
        }
    }

    #[test]
    fn of_a_pointer_both_halves_are_compared() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64, TargetArch::riscv64] {
            let len = |mask| {
                let conditional = vec![(libc::SYS_prlimit64, vec![(2, mask, 0)])];
                let free: [&[c_long]; 0] = [];
                filter(free, conditional, arch).expect("a filter").len()
            };
            assert!(len(POINTER) > len(WORD), "one that ends in 32 zeros would be none");
        }
    }

    /// A call that stands in both lists would be allowed with any argument.
    #[test]
    fn a_call_with_conditions_is_on_no_other_list() {
        let free: Vec<_> = [ALWAYS, ACCEPT, CHANGES, OLDER, RENAME].into_iter().flatten().collect();
        for (call, _) in [conditional(), sockets(), pairs()].concat() {
            assert!(!free.contains(&&call) && !TRANSFER.contains(&call), "{call}");
        }
        let mut once = free.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), free.len());
    }
}
