//! Files that people write: layouts and configurations.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::durable::{is_trusted, small_file};
use crate::error::{Error, Result};
use crate::member::printable_path;
use crate::monitor::Monitor;

/// The size limit of a file, in bytes; it usually has a few lines.
const MAX_BYTES: u64 = 1 << 20;

/// The text of a layout or configuration file.
#[derive(Debug)]
pub struct TextFile {
    /// The text.
    pub text: String,
    /// Of the open file that the text was read from.
    status: Metadata,
}

impl TextFile {
    /// Reads the file at `path`. A pipe of this process is waited for until `monitor` is cancelled.
    ///
    /// # Errors
    /// Those of the system calls; it has more than 1 MiB, is no text in UTF-8, or is neither a regular file nor such a pipe.
    pub fn read(path: &Path, monitor: &dyn Monitor) -> io::Result<Self> {
        let (text, status) = small_file::read_waiting(path, MAX_BYTES, monitor)?;
        let text = String::from_utf8(text).map_err(|_| io::Error::other("it is no text in UTF-8"))?;
        Ok(Self { text, status })
    }

    /// Checks that nobody else than root and this user can write the file, which is at `path`: what it says is done as this
    /// user.
    ///
    /// # Errors
    /// It belongs to another user, or its group or others can write it.
    pub fn check_trusted(&self, path: &Path) -> Result<()> {
        let path = printable_path(path);
        if !is_trusted(self.status.uid()) {
            return Err(Error::refused(format!("the file belongs to the user {}", self.status.uid()))
                .hint(format!("look at what it says, then `chown root {path}`")));
        }
        let who = match self.status.mode() & 0o022 {
            0 => return Ok(()),
            0o020 => "its group",
            _ => "everybody",
        };
        Err(Error::refused(format!("{who} can write the file")).hint(format!("`chmod go-w {path}`")))
    }
}

/// Returns the line of a TOML `text` in which `error` is, and its reason, which may quote the text.
#[must_use]
pub fn line_and_reason<'a>(text: &str, error: &'a toml::de::Error) -> (usize, &'a str) {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    // The message of toml has several lines; the first one is the reason.
    (line, error.message().lines().next().unwrap_or_default())
}

/// Returns the number of the line of `text` in which the byte at `offset` is.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
