//! System calls given up before strangers' bytes are looked at, by a seccomp filter: refused with `EPERM` from then on, in this thread and all it starts.
//!
//! A list of what is refused, not of what is allowed: which calls the C library makes changes with its versions, and a node that stops working after an
//! upgrade protects nobody. What stands here no command of ours needs, and who takes over a process wants it: to look into other processes, to run what it
//! wrote, to change what is mounted or who it is, and the parts of the kernel where most holes were found.

use super::confine::Talks;
use libc::{
    AF_INET, AF_INET6, AF_UNIX, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, PROT_EXEC,
    SHM_EXEC, c_int, c_long,
};
use seccompiler::{BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter};
use std::collections::BTreeMap;
use std::ops::Range;

/// The families of addresses that sockets may be made for.
fn families(talks: Talks) -> &'static [i32] {
    match talks {
        Talks::Here => &[AF_UNIX],
        Talks::ByNetwork => &[AF_UNIX, AF_INET, AF_INET6],
    }
}

/// Other processes and programs.
const OTHERS: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
];

/// What is mounted, and in which world this process lives.
const WORLD: &[c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
];

/// Who it is.
const SELF: &[c_long] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_personality,
];

/// The kernel itself, and the machine.
const KERNEL: &[c_long] = &[
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// What is refused only as it is asked: the call, the place of the argument that asks, and what in it must not be asked for.
const ASKED: &[(c_long, u8, &[c_int])] = &[
    // Memory that can be run.
    (libc::SYS_mmap, 2, &[PROT_EXEC]),
    (libc::SYS_mprotect, 2, &[PROT_EXEC]),
    (libc::SYS_pkey_mprotect, 2, &[PROT_EXEC]),
    (libc::SYS_shmat, 2, &[SHM_EXEC]),
    // A process in another world; threads are started by the same call.
    (libc::SYS_clone, 0, &[CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS]),
];

/// The bit that says x32.
const X32: c_long = 0x4000_0000;
/// Calls that have numbers of their own there, `execve` and `ptrace` among them.
const X32_OWN: Range<c_long> = 512..548;

/// Refuse them from now on. Never given back.
///
/// # Errors
/// Where this kernel has no such filter; nothing that counts is refused then.
pub fn refuse(talks: Talks) -> Result<(), Error> {
    apply_filter(&unknown()?)?;
    apply_filter(&refused(talks)?)
}

/// `clone3` asks behind a pointer, where no filter can look: it is answered as by a kernel that does not know it, and the C library asks by `clone`.
fn unknown() -> Result<BpfProgram, Error> {
    filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn refused(talks: Talks) -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = [OTHERS, WORLD, SELF, KERNEL].concat().into_iter().map(|call| (call, Vec::new())).collect();
    for (call, place, wanted) in ASKED {
        let asks = |bit: &c_int| {
            let bit = u64::from(bit.unsigned_abs());
            let asked = SeccompCondition::new(*place, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bit), bit)?;
            SeccompRule::new(vec![asked])
        };
        rules.insert(*call, wanted.iter().map(asks).collect::<Result<_, _>>()?);
    }
    let other = |family: &i32| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()));
    let others = families(talks).iter().map(other).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(others)?]);
    let calls: Vec<c_long> = rules.keys().copied().chain([libc::SYS_clone3]).collect();
    rules.extend(by_other_numbers(&calls).map(|call| (call, Vec::new())));
    filter(rules, libc::EPERM)
}

/// The same calls by the numbers that some kernels of x86-64 know them by too (x32): nothing here asks so, so they are refused whatever they ask.
fn by_other_numbers(calls: &[c_long]) -> impl Iterator<Item = c_long> {
    let own = if cfg!(target_arch = "x86_64") { X32_OWN } else { 0..0 };
    let shared = if cfg!(target_arch = "x86_64") { calls } else { &[] };
    shared.iter().copied().chain(own).map(|call| call | X32)
}

/// What is in `rules` is answered with `error`.
fn filter(rules: BTreeMap<c_long, Vec<SeccompRule>>, error: c_int) -> Result<BpfProgram, Error> {
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(error.unsigned_abs()), arch)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{CLONE_SETTLS, CLONE_THREAD, CLONE_VM, EPERM, PROT_READ, SHM_RDONLY, SIGCHLD};

    /// Where the kernel puts the number of the call, the processor and each argument (`struct seccomp_data`).
    const ARCH_AT: u32 = 4;
    const ARGUMENTS_AT: u32 = 16;

    /// What `program` answers to a call, run as the kernel runs it: the error, or 0.
    fn answer(program: &BpfProgram, call: c_long, arguments: &[c_int]) -> c_int {
        // The first thing a program looks at is the processor; the right one is in its first comparison.
        let arch = program[1].k;
        let argument =
            |place: u32| arguments.get((place / 8) as usize).filter(|_| place.is_multiple_of(8)).map_or(0, |argument| argument.unsigned_abs());
        let (mut at, mut value) = (0_usize, 0_u32);
        loop {
            let line = &program[at];
            let (code, k) = (u32::from(line.code), line.k);
            at += 1;
            let jump = |is: bool| usize::from(if is { line.jt } else { line.jf });
            match code {
                0x20 if k == 0 => value = u32::try_from(call).unwrap(),
                0x20 if k == ARCH_AT => value = arch,
                0x20 => value = argument(k - ARGUMENTS_AT),
                0x54 => value &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(value == k),
                0x06 if k == libc::SECCOMP_RET_ALLOW => return 0,
                0x06 if k & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO => return c_int::try_from(k & libc::SECCOMP_RET_DATA).unwrap(),
                code => panic!("{code:#x} {k:#x} at {at}"),
            }
        }
    }

    #[test]
    fn memory_to_run_and_another_world_are_refused_whichever_call_asks_for_them_and_threads_are_not() {
        let program = refused(Talks::Here).unwrap();
        for (call, arguments, expected) in [
            (libc::SYS_mmap, [0, 0, PROT_READ | PROT_EXEC], EPERM),
            (libc::SYS_mmap, [0, 0, PROT_READ], 0),
            (libc::SYS_shmat, [0, 0, SHM_RDONLY | SHM_EXEC], EPERM),
            (libc::SYS_shmat, [0, 0, SHM_RDONLY], 0),
            (libc::SYS_clone, [CLONE_NEWUSER | SIGCHLD, 0, 0], EPERM),
            (libc::SYS_clone, [CLONE_NEWNS | CLONE_NEWNET | SIGCHLD, 0, 0], EPERM),
            (libc::SYS_clone, [CLONE_VM | CLONE_THREAD | CLONE_SETTLS, 0, 0], 0),
            (libc::SYS_socket, [AF_UNIX, 0, 0], 0),
            (libc::SYS_socket, [AF_INET, 0, 0], EPERM),
            (libc::SYS_execve, [0, 0, 0], EPERM),
            (libc::SYS_read, [0, 0, 0], 0),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_ptrace | X32, [0, 0, 0], EPERM),
            #[cfg(target_arch = "x86_64")]
            ((X32_OWN.start + 8) | X32, [0, 0, 0], EPERM), // execve
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_mmap | X32, [0, 0, PROT_READ], EPERM),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_clone3 | X32, [0, 0, 0], EPERM),
        ] {
            assert_eq!(answer(&program, call, &arguments), expected, "call {call} {arguments:x?}");
        }
        assert_eq!(answer(&unknown().unwrap(), libc::SYS_clone3, &[0; 3]), libc::ENOSYS, "who hears that asks by clone");
        assert_eq!(answer(&unknown().unwrap(), libc::SYS_clone, &[0; 3]), 0);
    }
}
