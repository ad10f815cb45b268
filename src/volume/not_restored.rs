//! What was extracted without all its extended attributes: a filesystem may have none, and some are for root only.

use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::error::Cause;
use crate::member::{RelPath, printable};

/// The most files that are named; the others are counted.
const MOST_NAMED: usize = 20;

/// The files of an archive that lack extended attributes, by all threads that create files.
#[derive(Debug, Default)]
pub(crate) struct NotRestored(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    named: Vec<String>,
    others: u64,
}

impl NotRestored {
    /// Adds a file, if it lacks anything.
    pub(crate) fn add(&self, path: &RelPath, not_set: &[(Vec<u8>, Errno)]) {
        let Some((name, errno)) = not_set.first() else { return };
        let more = if not_set.len() == 1 { String::new() } else { format!(" (and {} more)", not_set.len() - 1) };
        let why = match *errno {
            Errno::NOTSUP => "the filesystem does not support it".into(),
            errno => Cause::from(std::io::Error::from(errno)),
        };
        self.push(|| format!("cannot set '{}'{more} of '{path}': {why}", printable(name)));
    }

    fn push(&self, message: impl FnOnce() -> String) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.named.len() < MOST_NAMED {
            files.named.push(message());
        } else {
            files.others += 1;
        }
    }

    /// Adds what the archive says of a file and no file here can have: `why` is part of a message.
    pub(crate) fn add_reason(&self, path: &RelPath, why: &str) {
        self.push(|| format!("'{path}' is restored without all its attributes: {why}"));
    }

    /// Returns a message for each of the first files, and one for the others.
    pub(crate) fn messages(&self) -> Vec<String> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut messages = files.named.clone();
        // Threads add files in no order.
        messages.sort();
        if files.others > 0 {
            messages.push(format!("{} more files lack extended attributes or ACLs that the archive has", files.others));
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_files_are_named_and_the_others_counted() {
        let lacking = NotRestored::default();
        let path = |number: usize| RelPath::parse(format!("{number:02}").as_bytes()).unwrap();
        lacking.add(&path(0), &[]);
        assert!(lacking.messages().is_empty());
        let two = vec![(b"user.a\n".to_vec(), Errno::NOTSUP), (b"user.b".to_vec(), Errno::NOTSUP)];
        lacking.add(&path(1), &two);
        lacking.add_reason(&path(2), "its ACL is malformed");
        for number in 3..=MOST_NAMED {
            lacking.add(&path(number), &[(b"trusted.a".to_vec(), Errno::PERM)]);
        }
        let messages = lacking.messages();
        assert_eq!(messages.len(), MOST_NAMED);
        assert!(messages.contains(&"'02' is restored without all its attributes: its ACL is malformed".to_owned()));
        assert!(
            messages.contains(&"cannot set 'trusted.a' of '03': Operation not permitted".to_owned()),
            "{messages:?}"
        );
        let first = "cannot set 'user.a\\n' (and 1 more) of '01': the filesystem does not support it";
        assert!(messages.contains(&first.to_owned()), "{messages:?}");
        lacking.add_reason(&path(98), "x");
        lacking.add_reason(&path(99), "x");
        assert_eq!(
            lacking.messages()[MOST_NAMED],
            "2 more files lack extended attributes or ACLs that the archive has"
        );
    }
}
