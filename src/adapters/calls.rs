//! System calls given up before strangers' bytes are looked at, by a seccomp filter: refused with `EPERM` from then on, in this thread and all it starts.
//!
//! A list of what is refused, not of what is allowed: which calls the C library makes changes with its versions, and a node that stops working after an
//! upgrade protects nobody. What stands here no command of ours needs, and who takes over a process wants it: to look into other processes, to run what it
//! wrote, to change what is mounted or who it is, and the parts of the kernel where most holes were found.

use super::confine::Talks;
use libc::{AF_INET, AF_INET6, AF_UNIX, PROT_EXEC, c_long};
use seccompiler::{BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter};
use std::collections::BTreeMap;

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

/// Memory that can be run, by the place of the argument that asks for it.
const RUNNABLE: &[(c_long, u8)] = &[(libc::SYS_mmap, 2), (libc::SYS_mprotect, 2), (libc::SYS_pkey_mprotect, 2)];

/// Refuse them from now on. Never given back.
///
/// # Errors
/// Where this kernel has no such filter; nothing is refused then.
pub fn refuse(talks: Talks) -> Result<(), Error> {
    apply_filter(&filter(talks)?)
}

fn filter(talks: Talks) -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = [OTHERS, WORLD, SELF, KERNEL].concat().into_iter().map(|call| (call, Vec::new())).collect();
    let runnable = SeccompCmpOp::MaskedEq(PROT_EXEC as u64);
    for (call, place) in RUNNABLE {
        let asks = SeccompCondition::new(*place, SeccompCmpArgLen::Dword, runnable.clone(), PROT_EXEC as u64)?;
        rules.insert(*call, vec![SeccompRule::new(vec![asks])?]);
    }
    let other = |family: &i32| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()));
    let others = families(talks).iter().map(other).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(others)?]);
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)?.try_into()?)
}
