//! The error type of the crate: the operation, its subject and the cause in one line, and a hint if something can be
//! done about it. `report` prints it.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use crate::member::{BadPath, printable_text, quotable};

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error. Every kind leads to exit status 2, except [`Self::Interrupted`] to 130 and
/// [`Self::Busy`] to 75.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is invalid: its arguments or a layout file.
    Usage,
    /// The request is valid, but carrying it out would lose or mix up data.
    Refused,
    /// An archive is damaged.
    Damaged,
    /// An archive is in a format that is not read.
    Unsupported,
    /// A member of an archive refers to a path outside the volume.
    Unsafe,
    /// The run was cancelled by a signal.
    Interrupted,
    /// Another run is in progress.
    Busy,
    /// The operating system or the engine reported an error.
    Failed,
}

impl ErrorKind {
    /// Returns the name of the kind in `--json`, which never changes.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Unsupported => "unsupported",
            Self::Unsafe => "unsafe",
            Self::Interrupted => "interrupted",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// The error of an operation, with a message of one line.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    others: Vec<Error>,
    source: Option<Source>,
}

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// The cause of a failure: its text for the message, and the original error.
#[derive(Debug, Clone)]
pub struct Cause {
    text: String,
    source: Option<Source>,
}

impl From<Errno> for Cause {
    /// Uses the description without the number and the name, which [`Error::errno`] returns.
    fn from(errno: Errno) -> Self {
        Self { text: errno.desc().to_owned(), source: Some(Arc::new(errno)) }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => Self { text: error.to_string(), source: Some(Arc::new(error)) },
        }
    }
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).into(),
            None => Self { text: error.to_string(), source: None },
        }
    }
}

/// The message may quote a key or a value of the input.
impl From<serde_json::Error> for Cause {
    fn from(error: serde_json::Error) -> Self {
        Self { text: printable_text(&error.to_string()), source: Some(Arc::new(error)) }
    }
}

impl From<BadPath> for Cause {
    fn from(error: BadPath) -> Self {
        error.to_string().into()
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self { text, source: None }
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error {
    /// Returns an error of `kind`; `message` holds the operation, its subject and the cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, others: Vec::new(), source: None }
    }

    /// Returns the error of an invalid request.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Returns the error of a request that would lose or mix up data.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// Returns the error of `operation` on `subject`: "cannot open 'a/b': Permission denied".
    pub fn failed(operation: &str, subject: impl AsRef<[u8]>, cause: impl Into<Cause>) -> Self {
        let Cause { text, source } = cause.into();
        let message = format!("{operation} '{}': {text}", quotable(subject.as_ref()));
        Self { source, ..Self::new(ErrorKind::Failed, message) }
    }

    /// Returns the error of `operation` on the file or directory at `path`, like [`Self::failed`].
    pub fn failed_at(operation: &str, path: &Path, cause: impl Into<Cause>) -> Self {
        Self::failed(operation, path.as_os_str().as_bytes(), cause)
    }

    /// Returns the same error with `cause` as its source; the message already names it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.source = cause.into().source;
        self
    }

    /// Returns the error of a run that was cancelled by a signal.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// Returns the same error; for that of a cancelled run, with what the run has left: "interrupted: `left`".
    #[must_use]
    pub(crate) fn leaving(self, left: &str) -> Self {
        if self.is_bare_interruption() {
            return Self { message: format!("{}: {left}", self.message), ..self };
        }
        self
    }

    /// Whether it is the error of a cancelled run, and says nothing more.
    fn is_bare_interruption(&self) -> bool {
        let interrupted = Self::interrupted();
        (self.kind, &self.message) == (interrupted.kind, &interrupted.message)
    }

    /// Returns the same error with a hint: what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the same error with `context` before its message: "`context`: message". That of a cancelled run stays as it
    /// is: it matters to nobody what was read just then.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        if !self.is_bare_interruption() {
            self.message = format!("{context}: {}", self.message);
        }
        self
    }

    /// Returns the same error together with others that were found at the same time.
    #[must_use]
    pub fn and(mut self, others: Vec<Self>) -> Self {
        self.others.extend(others);
        self
    }

    /// Returns `Ok` if `errors` is empty.
    ///
    /// # Errors
    /// The first of `errors`, which holds the others.
    pub fn none_of(mut errors: Vec<Self>) -> Result<()> {
        if errors.is_empty() {
            return Ok(());
        }
        let first = errors.remove(0);
        Err(first.and(errors))
    }

    /// Returns the other errors that were found at the same time.
    #[must_use]
    pub fn others(&self) -> &[Self] {
        &self.others
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the error number of the operating system that caused this error, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.source.as_ref()?.downcast_ref::<Errno>().copied()
    }

    /// Returns the hint, if there is one.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Error {
    /// Returns the message with the hint in parentheses, for an error that is reported as an issue.
    #[must_use]
    pub fn with_hint(&self) -> String {
        self.hint.as_ref().map_or_else(|| self.message.clone(), |hint| format!("{} ({hint})", self.message))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

/// Wraps an error, to return it from [`io::Read`] or [`io::Write`]; [`carried`] unwraps it.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// Returns the error of type `E` that `error` wraps, if there is one.
pub fn carried<E: std::error::Error + 'static>(error: &io::Error) -> Option<&E> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_names_operation_subject_and_cause() {
        let cause = std::io::Error::from_raw_os_error(28);
        let error = Error::failed("cannot write", b"a\n\xff", cause);
        assert_eq!(error.to_string(), "cannot write 'a\\n\\377': No space left on device");
        for (errno, text) in [(nix::errno::Errno::EACCES, "Permission denied"), (nix::errno::Errno::EIO, "I/O error")] {
            let error = Error::failed("cannot open", "x", errno);
            assert_eq!(error.to_string(), format!("cannot open 'x': {text}"));
        }
    }

    #[test]
    fn the_source_and_its_error_number_are_kept() {
        use std::error::Error as _;
        let error = Error::failed("cannot write", "x", io::Error::from_raw_os_error(28)).within("cvat_db");
        assert_eq!(error.errno(), Some(Errno::ENOSPC));
        assert_eq!(error.source().unwrap().to_string(), Errno::ENOSPC.to_string());
        let error = Error::failed("cannot write", "x", io::Error::other("odd"));
        assert_eq!((error.errno(), error.source().unwrap().to_string().as_str()), (None, "odd"));
        assert!(Error::failed("cannot write", "x", "a text").source().is_none());
    }

    #[test]
    fn a_wrapped_error_is_unwrapped_unchanged() {
        let error = io::Error::from(Error::refused("no").hint("yes"));
        let same: &Error = carried(&error).unwrap();
        assert_eq!((same.kind(), same.advice()), (ErrorKind::Refused, Some("yes")));
        assert!(carried::<Error>(&io::Error::from_raw_os_error(5)).is_none());
    }

    #[test]
    fn context_precedes_the_message() {
        let error = Error::refused("no such mount").within("cvat_db").hint("mount it");
        assert_eq!(error.to_string(), "cvat_db: no such mount");
        assert_eq!(error.advice(), Some("mount it"));
    }

    #[test]
    fn that_of_a_cancelled_run_says_what_it_has_left_wherever_it_was_noticed() {
        let error = Error::interrupted().within("cvat_db").leaving("nothing was changed");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Interrupted, "interrupted: nothing was changed")
        );
        let error = error.within("cvat_db").leaving("no archive was made");
        assert_eq!(error.to_string(), "cvat_db: interrupted: nothing was changed");
    }
}
