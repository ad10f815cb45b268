//! Running commands. A failure shows the command line, the exit status and the output.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};

/// A command to be run.
pub struct Tool {
    command: Command,
    input: Vec<u8>,
}

/// The result of a command.
pub struct Outcome {
    line: String,
    /// The exit status.
    pub status: ExitStatus,
    /// The bytes written to standard output.
    pub stdout: Vec<u8>,
    /// The bytes written to standard error.
    pub stderr: Vec<u8>,
}

impl Tool {
    /// Creates a command that runs `program` from the search path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        // Tests compare texts, and names are bytes.
        command.env("LC_ALL", "C").env("TZ", "UTC");
        Self { command, input: Vec::new() }
    }

    /// Creates a command that runs a line in bash, as the guide prints it.
    pub fn shell(line: &str) -> Self {
        Self::new("bash").args(["-euo", "pipefail", "-c", line])
    }

    /// Creates a command that runs the voltar under test.
    pub fn voltar() -> Self {
        // Cargo sets `CARGO_BIN_EXE_voltar` to the binary of this test run.
        // The engine and the context that this user has chosen are no concern of the tests.
        let tool = Self::new(env!("CARGO_BIN_EXE_voltar")).env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        tool.env("DOCKER_CONFIG", "/nonexistent")
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets the bytes on standard input, which is empty by default.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs the command to its end.
    pub fn run(mut self) -> Outcome {
        let line = line(&self.command);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        let mut stdin = child.stdin.take().expect("piped");
        let input = std::mem::take(&mut self.input);
        // On a separate thread: if the command fills its output before it has read all input, both would block.
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let Output { status, stdout, stderr } = child.wait_with_output().expect("waiting for a child");
        // A command may exit without reading all input.
        drop(feeder.join());
        Outcome { line, status, stdout, stderr }
    }

    /// Runs the command to its end and fails unless it succeeds.
    #[track_caller]
    pub fn ok(self) -> Outcome {
        self.run().expect_code(0)
    }

    /// Starts the command with its output redirected to the file `log`.
    pub fn spawn(self, log: &Path) -> Running {
        self.spawn_with(Stdio::null(), log)
    }

    /// Starts the command with its output redirected to the file `log` and gives it `input`. The returned pipe is still
    /// open, so that the command waits for more.
    pub fn spawn_waiting(self, input: &[u8], log: &Path) -> (Running, ChildStdin) {
        let mut run = self.spawn_with(Stdio::piped(), log);
        let mut stdin = run.child.as_mut().and_then(|child| child.stdin.take()).expect("piped");
        stdin.write_all(input).expect("writing to a child");
        (run, stdin)
    }

    fn spawn_with(mut self, stdin: Stdio, log: &Path) -> Running {
        let line = line(&self.command);
        let out = std::fs::File::create(log).expect("a log file");
        let err = out.try_clone().expect("a second handle");
        self.command.stdin(stdin).stdout(out).stderr(err);
        let child = self.command.spawn().unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        Running { line, child: Some(child), log: log.to_owned() }
    }

    /// Starts the command with a pipe from its standard output. Standard error is inherited.
    pub fn stream(mut self) -> Child {
        let line = line(&self.command);
        self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        self.command.spawn().unwrap_or_else(|error| panic!("cannot run {line}: {error}"))
    }
}

impl Outcome {
    /// Fails unless the exit status is `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.status.code() == Some(code), "expected exit status {code} of {self}");
        self
    }

    /// Fails unless standard output or standard error contains `text`.
    #[track_caller]
    pub fn expect_text(self, text: &str) -> Self {
        assert!(self.text().contains(text), "expected {text:?} in the output of {self}");
        self
    }

    /// Fails if standard output or standard error contains `text`.
    #[track_caller]
    pub fn expect_no_text(self, text: &str) -> Self {
        assert!(!self.text().contains(text), "did not expect {text:?} in the output of {self}");
        self
    }

    /// Returns both streams as text.
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr))
    }

    /// Returns standard output as text, without the last newline.
    pub fn answer(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}`, which ended with {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.line,
            self.status,
            excerpt(&self.stdout),
            excerpt(&self.stderr)
        )
    }
}

/// A running command. Dropping it kills the process, so that a failing test leaves none.
pub struct Running {
    line: String,
    child: Option<Child>,
    log: PathBuf,
}

impl Running {
    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("signalling a child");
    }

    /// Returns its process id.
    pub fn pid(&self) -> nix::unistd::Pid {
        let id = self.child.as_ref().expect("not yet waited for").id();
        nix::unistd::Pid::from_raw(i32::try_from(id).expect("a process id"))
    }

    /// Returns whether it has exited.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().expect("not yet waited for").try_wait().expect("asking for a child").is_some()
    }

    /// Waits until it exits.
    pub fn wait(mut self) -> Outcome {
        let status = self.child.take().expect("not yet waited for").wait().expect("waiting for a child");
        let stdout = std::fs::read(&self.log).expect("its log");
        Outcome { line: self.line.clone(), status, stdout, stderr: Vec::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have exited already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Outcome {
    /// Returns the signal that killed it, if any.
    pub fn killed_by(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// Returns whether `program` is on the search path.
pub fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

fn line(command: &Command) -> String {
    let words: Vec<OsString> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_owned).collect();
    words.iter().map(|word| voltar::member::printable(word.as_bytes())).collect::<Vec<_>>().join(" ")
}

/// Returns the beginning and the end of a long output.
fn excerpt(bytes: &[u8]) -> String {
    const END: usize = 3000;
    let text = String::from_utf8_lossy(bytes);
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= 2 * END {
        return text.into_owned();
    }
    let (head, tail) = (&chars[..END], &chars[chars.len() - END..]);
    format!("{}\n[…]\n{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
}
