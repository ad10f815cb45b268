//! Commands in process groups of their own: all processes that a command starts can be killed with it, and a Ctrl-C is for
//! this program alone, which decides what it ends.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// The time between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_millis(500);

/// The interval at which a command is looked at that is about to end.
const INTERVAL: Duration = Duration::from_millis(10);

/// A command that runs, or has run. Dropping it does not end it.
#[derive(Debug)]
pub struct ProcessGroup {
    child: Child,
    status: Option<ExitStatus>,
}

impl ProcessGroup {
    /// Starts a command.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.process_group(0).spawn()?, status: None })
    }

    /// Takes the other end of the command's standard input, if that is a pipe.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Returns whether the command has ended. Its process id stays its own until [`Self::reap`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.status.is_some() || !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Waits until the command has ended, or at most [`GRACE`].
    pub fn wait_a_moment(&self) {
        wait_a_moment(|| self.has_ended());
    }

    /// Returns how the command has ended, if it was waited for.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Waits until the command has ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // It may have ended; as long as it is not waited for, the number is that of its group.
            killpg(self.pid(), signal).unwrap_or_default();
        }
    }
}

fn wait_a_moment(has_ended: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < GRACE && !has_ended() {
        sleep(INTERVAL);
    }
}

/// Kills all processes of the commands that were not waited for: with SIGTERM, and after [`GRACE`] with SIGKILL.
pub fn kill(groups: &mut [&mut ProcessGroup]) {
    for group in &*groups {
        group.signal(Signal::SIGTERM);
    }
    wait_a_moment(|| groups.iter().all(|group| group.has_ended()));
    for group in groups.iter_mut().filter(|group| group.status.is_none()) {
        // The shell may have ended before the commands that it has started.
        group.signal(Signal::SIGKILL);
        group.reap().ok();
    }
}
