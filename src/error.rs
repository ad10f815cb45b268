//! The one error of the crate: what was being done, to what, and why it failed, in one line; with a
//! hint where there is something to do. It knows nothing of terminals; `report` prints it.

use std::fmt;

use crate::member::printable;

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
}

impl Error {
    /// An error of `kind`; `message` names the operation, what it was about, and the cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, others: Vec::new() }
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
    ///
    /// `cause` is shortened where it is an operating-system error: the number says nothing at 3 a.m.
    pub fn failed(operation: &str, subject: impl AsRef<[u8]>, cause: impl fmt::Display) -> Self {
        Self::new(
            ErrorKind::Failed,
            format!("{operation} '{}': {}", printable(subject.as_ref()), without_errno(&cause.to_string())),
        )
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

    /// The same error, told as part of something larger: "`context`: message".
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

    /// The advice that goes with it, if there is any.
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

impl std::error::Error for Error {}

/// "No space left on device (os error 28)" and "ENOSPC: No space left on device" read better bare.
#[must_use]
pub fn without_errno(cause: &str) -> &str {
    let cause = match cause.split_once(": ") {
        Some((name, rest))
            if name.len() > 2
                && name.starts_with('E')
                && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) =>
        {
            rest
        }
        _ => cause,
    };
    cause.rfind(" (os error ").map_or(cause, |at| &cause[..at])
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
    fn context_goes_in_front() {
        let error = Error::refused("no such mount").within("cvat_db").hint("mount it");
        assert_eq!(error.to_string(), "cvat_db: no such mount");
        assert_eq!(error.advice(), Some("mount it"));
    }
}
