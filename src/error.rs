//! The one error of the crate: what was being done, to what, and why it failed, in one line; with a
//! hint where there is something to do. It knows nothing of terminals; `report` prints it.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use crate::member::{BadPath, printable, printable_text};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means to the caller. Every kind ends with exit status 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense: arguments or a layout file.
    Usage,
    /// The request is clear but carrying it out would lose or mix up data.
    Refused,
    /// An archive is not what it should be.
    Damaged,
    /// An archive tried to reach outside the volume.
    Unsafe,
    /// A signal asked to stop.
    Interrupted,
    /// The operating system or the engine said no.
    Failed,
}

/// Why something was not done.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    others: Vec<Error>,
    source: Option<Source>,
}

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why an operation failed: what the reader sees of it, and the error itself.
#[derive(Debug, Clone)]
pub struct Cause {
    text: String,
    source: Option<Source>,
}

impl From<Errno> for Cause {
    /// The text without the number or the name, which the reader has no use for; [`Error::errno`] keeps it.
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
    /// An error of `kind`; `message` names the operation, what it was about, and the cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, others: Vec::new(), source: None }
    }

    /// A request that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// A request that would lose or mix up data.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// `operation` on `subject` failed with `cause`: "cannot open 'a/b': Permission denied".
    pub fn failed(operation: &str, subject: impl AsRef<[u8]>, cause: impl Into<Cause>) -> Self {
        let Cause { text, source } = cause.into();
        let message = format!("{operation} '{}': {text}", printable(subject.as_ref()));
        Self { source, ..Self::new(ErrorKind::Failed, message) }
    }

    /// [`Self::failed`] for the file or directory at `path`.
    pub fn failed_at(operation: &str, path: &Path, cause: impl Into<Cause>) -> Self {
        Self::failed(operation, path.as_os_str().as_bytes(), cause)
    }

    /// The same error, with the cause that its message already names.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.source = cause.into().source;
        self
    }

    /// The signal that ends a run early.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error as part of something larger: "`context`: message".
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The same error with more that were found at the same time.
    #[must_use]
    pub fn and(mut self, others: Vec<Self>) -> Self {
        self.others.extend(others);
        self
    }

    /// Fails with all of `errors` at once, where there are any.
    pub fn none_of(mut errors: Vec<Self>) -> Result<()> {
        if errors.is_empty() {
            return Ok(());
        }
        let first = errors.remove(0);
        Err(first.and(errors))
    }

    /// What else was found at the same time.
    #[must_use]
    pub fn others(&self) -> &[Self] {
        &self.others
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The number of the operating system's error that caused this one, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.source.as_ref()?.downcast_ref::<Errno>().copied()
    }

    /// The hint that goes with it, if there is one.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
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

/// An error on its way through [`io::Read`] or [`io::Write`]; [`carried`] takes it out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// The error of type `E` that came through [`io::Read`] or [`io::Write`] inside `error`, if there is one.
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
    fn the_cause_and_its_number_survive() {
        use std::error::Error as _;
        let error = Error::failed("cannot write", "x", io::Error::from_raw_os_error(28)).within("cvat_db");
        assert_eq!(error.errno(), Some(Errno::ENOSPC));
        assert_eq!(error.source().unwrap().to_string(), Errno::ENOSPC.to_string());
        let error = Error::failed("cannot write", "x", io::Error::other("odd"));
        assert_eq!((error.errno(), error.source().unwrap().to_string().as_str()), (None, "odd"));
        assert!(Error::failed("cannot write", "x", "a text").source().is_none());
    }

    #[test]
    fn an_error_comes_through_a_reader_as_it_was() {
        let error = io::Error::from(Error::refused("no").hint("yes"));
        let same: &Error = carried(&error).unwrap();
        assert_eq!((same.kind(), same.advice()), (ErrorKind::Refused, Some("yes")));
        assert!(carried::<Error>(&io::Error::from_raw_os_error(5)).is_none());
    }

    #[test]
    fn context_goes_in_front() {
        let error = Error::refused("no such mount").within("cvat_db").hint("mount it");
        assert_eq!(error.to_string(), "cvat_db: no such mount");
        assert_eq!(error.advice(), Some("mount it"));
    }
}
