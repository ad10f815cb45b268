//! Runs a program and counts the system calls by which it changes a disk, or reads from it, over all of its threads. Before
//! the n-th of them it is killed, or gets a signal, or that call fails, or all from the n-th on do.
//!
//! This program starts itself a second time ([`launch`]), which asks to be traced (ptrace(2)), applies a seccomp filter that
//! stops it before such a call, and executes the program. All of this can be done without `unsafe`, unlike work between
//! fork and exec.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::{CHANGING, Call, Counted, Flags, Names};

/// The first argument of this program when it is to be traced: what is counted and the command follow.
pub(crate) const LAUNCH: &str = "--launch";

/// No run of the campaign takes a second. One that takes this long does not end.
const LONGEST: Duration = Duration::from_secs(120);

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The process is killed before it.
    Kill,
    /// The process gets the signal that asks it to end.
    Signal,
    /// It fails with this error.
    Fail(Errno),
    /// It and all that follow fail with this error.
    FailOn(Errno),
}

/// A call, counted from 1, and what happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) number: usize,
    pub(crate) act: Act,
}

/// How a traced run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status; `None` if it was killed.
    pub(crate) code: Option<i32>,
    /// Standard output and standard error.
    pub(crate) text: String,
    /// The calls that it made, as far as it got.
    pub(crate) calls: Vec<String>,
    /// Whether it had to be killed because it did not end.
    pub(crate) hung: bool,
}

impl Ended {
    /// Returns the call at which something happened.
    pub(crate) fn at(&self, point: Point) -> &str {
        self.calls.get(point.number - 1).map_or("the end", String::as_str)
    }
}

/// Is the traced process until it has become the program: for [`LAUNCH`].
pub(crate) fn launch(command: &[String]) -> ! {
    ptrace::traceme().expect("to be traced");
    // The tracer sets its options now.
    raise(Signal::SIGSTOP).expect("stopping");
    seccompiler::apply_filter(&Counted::filter(&command[0])).expect("a seccomp filter");
    let error = Command::new(&command[1]).args(&command[2..]).exec();
    panic!("cannot execute {}: {error}", command[1]);
}

/// Returns why no program can be traced here, if that is so.
pub(crate) fn obstacle() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(find_obstacle).clone()
}

fn find_obstacle() -> Result<(), String> {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let traced = std::panic::catch_unwind(|| {
        let mut command = Command::new("mkdir");
        command.arg("made").current_dir(scratch.path());
        run(
            &command,
            scratch.path(),
            &scratch.path().join("world"),
            Counted::Changes,
            Some(Point { number: 1, act: Act::Fail(Errno::EDQUOT) }),
        )
    });
    match traced {
        Ok(ended) if ended.calls == ["mkdir made"] && ended.text.contains("quota") => Ok(()),
        Ok(ended) => Err(format!("system calls cannot be traced here: {ended:?}")),
        Err(_) => Err("processes cannot be traced here".to_owned()),
    }
}

/// Runs `command` to its end; its output goes to a file in `scratch`. Only calls on files below `world` are counted.
#[allow(clippy::zombie_processes, reason = "the tracer waits for it")]
pub(crate) fn run(command: &Command, scratch: &Path, world: &Path, counted: Counted, point: Option<Point>) -> Ended {
    let log = scratch.join("log");
    let out = fs::File::create(&log).expect("a log file");
    let mut launcher = Command::new(std::env::current_exe().expect("this program"));
    launcher.args([LAUNCH, counted.name()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => launcher.env(name, value),
            None => launcher.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        launcher.current_dir(directory);
    }
    launcher.stdin(Stdio::null()).stdout(out.try_clone().expect("a handle")).stderr(out);
    let child = launcher.spawn().expect("this program again");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    // Whoever drops the sender has seen the end.
    let (ended, watched) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hung = watched.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout);
        if hung {
            kill(pid, Signal::SIGKILL).unwrap_or_default();
        }
        hung
    });
    let mut tracer =
        Tracer { main: pid, world: world.to_owned(), counted, point, calls: Vec::new(), interrupted: BTreeMap::new() };
    let code = tracer.follow();
    drop(ended);
    let hung = watchdog.join().expect("the watchdog");
    Ended {
        code,
        text: String::from_utf8_lossy(&fs::read(&log).expect("a log")).into_owned(),
        calls: tracer.calls,
        hung,
    }
}

struct Tracer {
    main: Pid,
    world: PathBuf,
    counted: Counted,
    point: Option<Point>,
    calls: Vec<String>,
    /// The last call of each thread, if it was interrupted: number and arguments.
    interrupted: BTreeMap<Pid, [u64; 4]>,
}

impl Tracer {
    /// Returns the exit status, or `None` if a signal ended the process.
    fn follow(&mut self) -> Option<i32> {
        // Several threads of this program trace, and each may wait only for what it has started.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let stopped = waitpid(self.main, Some(flags)).expect("the launcher");
        assert_eq!(stopped, WaitStatus::Stopped(self.main, Signal::SIGSTOP), "the launcher stops before it executes");
        let options = Options::PTRACE_O_EXITKILL
            | Options::PTRACE_O_TRACESECCOMP
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::setoptions(self.main, options).expect("options of ptrace");
        resume(self.main, None);
        loop {
            match waitpid(None, Some(flags)).expect("a traced process") {
                WaitStatus::Exited(pid, code) if pid == self.main => return Some(code),
                WaitStatus::Signaled(pid, ..) if pid == self.main => return None,
                WaitStatus::PtraceEvent(pid, _, event) => {
                    if event == Event::PTRACE_EVENT_SECCOMP as i32 {
                        self.before_call(pid);
                    }
                    resume(pid, None);
                }
                // A new thread begins with this stop.
                WaitStatus::Stopped(pid, Signal::SIGSTOP) => resume(pid, None),
                WaitStatus::Stopped(pid, signal) => resume(pid, Some(signal)),
                _ => {}
            }
        }
    }

    fn before_call(&mut self, pid: Pid) {
        // It was killed meanwhile.
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        let number = registers.orig_rax.cast_signed();
        let Some(call) = self.counted.calls().iter().find(|call| call.number == number) else { return };
        let Some(subject) = self.subject(pid, call, &registers) else { return };
        self.calls.push(format!("{} {subject}", call.name));
        let (number, Some(point)) = (self.calls.len(), self.point) else { return };
        let errno = match point.act {
            Act::Kill if number == point.number => {
                kill(self.main, Signal::SIGKILL).expect("killing a traced process");
                return;
            }
            Act::Signal if number == point.number => {
                kill(self.main, Signal::SIGTERM).expect("a signal to a traced process");
                return;
            }
            Act::Fail(errno) if number == point.number => errno,
            Act::FailOn(errno) if number >= point.number => errno,
            _ => return,
        };
        if errno == Errno::EINTR {
            // Signals may keep coming, but a call that is made again is not interrupted for ever.
            let call = [registers.orig_rax, registers.rdi, registers.rsi, registers.rdx];
            if self.interrupted.remove(&pid) == Some(call) {
                return;
            }
            self.interrupted.insert(pid, call);
        }
        // The kernel makes no call with this number, and returns the error that is set already.
        registers.orig_rax = u64::MAX;
        registers.rax = (-i64::from(errno as i32)).cast_unsigned();
        match ptrace::setregs(pid, registers) {
            // The process has ended meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => panic!("cannot set the registers of {pid}: {errno}"),
        }
    }

    /// Returns what the call changes or reads; `None` if it is not in the world.
    fn subject(&self, pid: Pid, call: &Call, registers: &libc::user_regs_struct) -> Option<String> {
        let handle = match call.names {
            Names::Path => return Some(self.path(pid, call, registers)),
            Names::Structure => {
                // The flags are the first field of `struct open_how`.
                let flags = read_word(pid, registers.rdx)?;
                return (flags & CHANGING != 0).then(|| self.path(pid, call, registers));
            }
            Names::Opened(flags) => {
                let flags = if flags == Flags::Third { registers.rdx } else { read_word(pid, registers.rdx)? };
                return if flags & CHANGING == 0 { self.within(pid, registers) } else { None };
            }
            Names::Within => return self.within(pid, registers),
            Names::Handle => registers.rdi,
            Names::ThirdHandle => registers.rdx,
        };
        self.handle(pid, handle)
    }

    fn handle(&self, pid: Pid, handle: u64) -> Option<String> {
        let path = fs::read_link(format!("/proc/{pid}/fd/{}", handle as i32)).ok()?;
        if self.counted == Counted::ChangesAndRequests && path.as_os_str().as_bytes().starts_with(b"socket:") {
            return Some("to the engine".to_owned());
        }
        let inside = path.strip_prefix(&self.world).ok()?;
        Some(if inside.as_os_str().is_empty() { ".".to_owned() } else { inside.display().to_string() })
    }

    /// Returns the path of a call that has a handle of a directory and a path relative to it; `None` if it is not in the
    /// world.
    fn within(&self, pid: Pid, registers: &libc::user_regs_struct) -> Option<String> {
        let name = read_text(pid, registers.rsi);
        if name.starts_with('/') {
            return Path::new(&name).strip_prefix(&self.world).ok().map(|inside| inside.display().to_string());
        }
        let directory = if registers.rdi as i32 == libc::AT_FDCWD {
            // It is in the world from its start.
            String::from(".")
        } else {
            self.handle(pid, registers.rdi)?
        };
        Some(if name.is_empty() { directory } else { format!("{directory}/{name}") })
    }

    /// Returns the first path of a call: for messages only.
    fn path(&self, pid: Pid, call: &Call, registers: &libc::user_regs_struct) -> String {
        let is_at = call.name != "creat" && (call.name.ends_with("at") || call.name.ends_with("at2"));
        // symlinkat has the target first.
        let (directory, at) = match (is_at, call.name) {
            (_, "symlinkat") => (registers.rsi, registers.rdx),
            (true, _) => (registers.rdi, registers.rsi),
            (false, _) => (0, registers.rdi),
        };
        let name = read_text(pid, at);
        let directory = is_at.then(|| self.handle(pid, directory)).flatten();
        let name = name.strip_prefix(&format!("{}/", self.world.display())).map_or(name.clone(), str::to_owned);
        directory.filter(|_| !name.starts_with('/')).map_or(name.clone(), |directory| format!("{directory}/{name}"))
    }
}

/// Returns the beginning of a text that ends with a null byte.
fn read_text(pid: Pid, at: u64) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < 200 {
        let Some(word) = read_word(pid, at + bytes.len() as u64) else { break };
        bytes.extend(word.to_ne_bytes());
        if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            bytes.truncate(end);
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_word(pid: Pid, at: u64) -> Option<u64> {
    ptrace::read(pid, at as ptrace::AddressType).ok().map(i64::cast_unsigned)
}

/// A process that was killed meanwhile cannot be resumed, which its end will show.
fn resume(pid: Pid, signal: Option<Signal>) {
    match ptrace::cont(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("cannot resume {pid}: {errno}"),
    }
}
