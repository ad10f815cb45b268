//! The error of a file that cannot be written.

use std::io;

use crate::codec::NotReadBack;
use crate::error::{Error, carried};
use crate::store::Destination;

/// Words why an archive, or a file beside it, cannot be written.
pub(super) fn cannot_write(destination: &Destination, e: &io::Error) -> Error {
    // An error of the run or of the tree, not of writing.
    if let Some(error) = carried::<Error>(e) {
        return error.clone();
    }
    let error = match destination {
        Destination::File(path) | Destination::InSet { path, .. } => Error::failed_at("cannot write", path, e),
        stream @ (Destination::Stdout | Destination::Command(_)) => {
            Error::failed("cannot write", stream.to_string(), e)
        }
    };
    if carried::<NotReadBack>(e).is_some() {
        return error
            .hint("test this computer's memory; if it is sound, please report this. The archive has been removed");
    }
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            error.hint("make room, or write to another directory; what was written has been removed")
        }
        _ => error,
    }
}
