//! Stores of archives. A [`Sink`] takes the archives of a backup; a [`Source`] lists those of a restore, and a
//! [`Location`] opens one for reading from its start. A new archive is written in order, is not complete until it is
//! committed, and is removed or broken off if it is dropped before. The archives of one run are committed together or
//! not at all. Other modules use this interface, never the files.
//!
//! Archives are in a [`Directory`] of this host, or in streams: standard input, standard output, and the standard input of
//! commands. The interface requires no more than a stream or an object store can offer: no seeking, no rename by the
//! caller, and the length may be unknown.

mod command;
pub mod directory;
mod file_reader;
mod held_back;
mod location;
mod name;
mod new_set;
mod set;
mod set_files;
mod set_name;
mod sets;
mod sink;
mod source;
mod spool;
mod stdin;
mod stdout;
mod waiting;

pub use command::CommandLine;
pub use directory::Directory;
pub use location::Location;
pub use new_set::NewSet;
pub use set::Set;
pub use set_name::SetName;
pub use sets::{Listed, Sets};
pub use sink::{Destination, Sink};
pub use source::{ChosenSet, Selected, Source, complete, select, single};

pub(crate) use location::{Base, Opened, Reader};
pub(crate) use set_files::{CHANGES, GONE, INDEX};
pub(crate) use sink::{Complete, NewArchive, commit};
