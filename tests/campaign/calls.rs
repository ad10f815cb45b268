//! The system calls that change a disk or read from it, and the seccomp filters that stop a traced process before each of
//! them.

use std::collections::BTreeMap;

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// How a call names what it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// By a path, or relative to a directory handle.
    Path,
    /// By the handle in the first argument, which may be a pipe or a terminal.
    Handle,
    /// By the handle in the third argument: `splice`, `copy_file_range`.
    ThirdHandle,
    /// By a path, and only if the structure at the third argument has a flag that creates or truncates: `openat2`.
    Structure,
    /// By a path relative to the handle in the first argument, and only if the flags in this argument neither create nor
    /// truncate.
    Opened(Flags),
    /// By a path relative to the handle in the first argument.
    Within,
}

/// Where the flags of an open are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flags {
    Third,
    /// In the structure at the third argument.
    InThird,
}

/// Which system calls are points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Those that change a disk.
    Changes,
    /// Those, and the requests to an engine and its answers.
    ChangesAndRequests,
    /// Those that read from a disk.
    Reads,
}

impl Counted {
    /// The name by which the launcher is told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Changes | Self::ChangesAndRequests => "changes",
            Self::Reads => "reads",
        }
    }

    pub(crate) fn calls(self) -> &'static [Call] {
        match self {
            Self::Changes | Self::ChangesAndRequests => CALLS,
            Self::Reads => READS,
        }
    }

    /// Returns the filter of the calls of this [`Counted::name`]: a process that has it stops before each of them and makes
    /// all others at once. It holds for all threads and programs that the process starts.
    pub(crate) fn filter(name: &str) -> BpfProgram {
        let calls = if name == Self::Reads.name() { READS } else { CALLS };
        let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.iter().map(|call| (call.number, rules(call))).collect();
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Trace(0),
            std::env::consts::ARCH.try_into().expect("an architecture with seccomp"),
        );
        filter.and_then(TryInto::try_into).expect("a filter of few rules")
    }
}

/// A system call that can change a disk or read from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) number: c_long,
    pub(crate) names: Names,
}

/// The flags with which opening a file changes something.
pub(crate) const CHANGING: u64 = (libc::O_CREAT | libc::O_TRUNC) as u64;

const fn call(name: &'static str, number: c_long, names: Names) -> Call {
    Call { name, number, names }
}

/// Those that can change a disk, or carry requests to an engine. `fchmodat2`, `setxattrat` and `removexattrat` have no constant in libc.
pub(crate) const CALLS: &[Call] = &[
    call("open", libc::SYS_open, Names::Path),
    call("openat", libc::SYS_openat, Names::Path),
    call("openat2", libc::SYS_openat2, Names::Structure),
    call("creat", libc::SYS_creat, Names::Path),
    call("write", libc::SYS_write, Names::Handle),
    call("pwrite64", libc::SYS_pwrite64, Names::Handle),
    call("writev", libc::SYS_writev, Names::Handle),
    call("pwritev", libc::SYS_pwritev, Names::Handle),
    call("pwritev2", libc::SYS_pwritev2, Names::Handle),
    call("sendfile", libc::SYS_sendfile, Names::Handle),
    call("copy_file_range", libc::SYS_copy_file_range, Names::ThirdHandle),
    call("splice", libc::SYS_splice, Names::ThirdHandle),
    call("truncate", libc::SYS_truncate, Names::Path),
    call("ftruncate", libc::SYS_ftruncate, Names::Handle),
    call("fallocate", libc::SYS_fallocate, Names::Handle),
    call("rename", libc::SYS_rename, Names::Path),
    call("renameat", libc::SYS_renameat, Names::Path),
    call("renameat2", libc::SYS_renameat2, Names::Path),
    call("link", libc::SYS_link, Names::Path),
    call("linkat", libc::SYS_linkat, Names::Path),
    call("symlink", libc::SYS_symlink, Names::Path),
    call("symlinkat", libc::SYS_symlinkat, Names::Path),
    call("unlink", libc::SYS_unlink, Names::Path),
    call("unlinkat", libc::SYS_unlinkat, Names::Path),
    call("rmdir", libc::SYS_rmdir, Names::Path),
    call("mkdir", libc::SYS_mkdir, Names::Path),
    call("mkdirat", libc::SYS_mkdirat, Names::Path),
    call("mknod", libc::SYS_mknod, Names::Path),
    call("mknodat", libc::SYS_mknodat, Names::Path),
    call("chmod", libc::SYS_chmod, Names::Path),
    call("fchmod", libc::SYS_fchmod, Names::Handle),
    call("fchmodat", libc::SYS_fchmodat, Names::Path),
    call("fchmodat2", 452, Names::Path),
    call("chown", libc::SYS_chown, Names::Path),
    call("fchown", libc::SYS_fchown, Names::Handle),
    call("lchown", libc::SYS_lchown, Names::Path),
    call("fchownat", libc::SYS_fchownat, Names::Path),
    call("utime", libc::SYS_utime, Names::Path),
    call("utimes", libc::SYS_utimes, Names::Path),
    call("futimesat", libc::SYS_futimesat, Names::Path),
    call("utimensat", libc::SYS_utimensat, Names::Path),
    call("setxattr", libc::SYS_setxattr, Names::Path),
    call("lsetxattr", libc::SYS_lsetxattr, Names::Path),
    call("fsetxattr", libc::SYS_fsetxattr, Names::Handle),
    call("setxattrat", 463, Names::Path),
    call("removexattr", libc::SYS_removexattr, Names::Path),
    call("lremovexattr", libc::SYS_lremovexattr, Names::Path),
    call("fremovexattr", libc::SYS_fremovexattr, Names::Handle),
    call("removexattrat", 466, Names::Path),
    call("ioctl", libc::SYS_ioctl, Names::Handle),
    call("fsync", libc::SYS_fsync, Names::Handle),
    call("fdatasync", libc::SYS_fdatasync, Names::Handle),
    call("sync", libc::SYS_sync, Names::Path),
    call("syncfs", libc::SYS_syncfs, Names::Handle),
    call("sync_file_range", libc::SYS_sync_file_range, Names::Handle),
    call("mount", libc::SYS_mount, Names::Path),
    call("umount2", libc::SYS_umount2, Names::Path),
    call("move_mount", libc::SYS_move_mount, Names::Path),
    // Only of sockets: requests and answers.
    call("sendto", libc::SYS_sendto, Names::Handle),
    call("recvfrom", libc::SYS_recvfrom, Names::Handle),
];

/// Those that read from a disk.
pub(crate) const READS: &[Call] = &[
    call("openat", libc::SYS_openat, Names::Opened(Flags::Third)),
    call("openat2", libc::SYS_openat2, Names::Opened(Flags::InThird)),
    call("read", libc::SYS_read, Names::Handle),
    call("readv", libc::SYS_readv, Names::Handle),
    call("pread64", libc::SYS_pread64, Names::Handle),
    call("preadv", libc::SYS_preadv, Names::Handle),
    call("preadv2", libc::SYS_preadv2, Names::Handle),
    call("getdents64", libc::SYS_getdents64, Names::Handle),
    call("fstat", libc::SYS_fstat, Names::Handle),
    call("newfstatat", libc::SYS_newfstatat, Names::Within),
    call("statx", libc::SYS_statx, Names::Within),
    call("readlinkat", libc::SYS_readlinkat, Names::Within),
    call("lseek", libc::SYS_lseek, Names::Handle),
    call("fgetxattr", libc::SYS_fgetxattr, Names::Handle),
    call("flistxattr", libc::SYS_flistxattr, Names::Handle),
];

/// The requests of `ioctl` that change a file: `FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`, `FICLONE`, `FICLONERANGE`.
const IOCTLS: [u64; 4] = [0x4008_6602, 0x401c_5820, 0x4004_9409, 0x4020_940d];

/// Any of the rules stops the call; without one, every call does.
fn rules(call: &Call) -> Vec<SeccompRule> {
    let condition = |argument, operator, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value);
        SeccompRule::new(vec![condition.expect("an argument that exists")]).expect("a condition")
    };
    // A masked comparison is of all bits of the mask, so each flag is a rule.
    let flags = |argument| {
        [libc::O_CREAT, libc::O_TRUNC].map(|flag| {
            let flag = u64::from(flag.cast_unsigned());
            condition(argument, SeccompCmpOp::MaskedEq(flag), flag)
        })
    };
    match call.name {
        // The tracer looks at the flags, since a rule cannot ask for several that are not set.
        _ if matches!(call.names, Names::Opened(_)) => Vec::new(),
        "open" => flags(1).into(),
        "openat" => flags(2).into(),
        "ioctl" => IOCTLS.map(|request| condition(1, SeccompCmpOp::Eq, request)).into(),
        _ => Vec::new(),
    }
}
