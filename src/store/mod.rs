//! Stores of archives. A store lists its archives, opens an archive for reading from its start, and creates new ones.
//! A new archive is written in order, has no name until it is committed, and is removed if it is dropped before. The
//! archives of one run are committed together or not at all. Other modules use this interface, never the files.
//!
//! There is one kind of store, a [`directory`] of this host. The interface requires no more than an object store or a
//! pipe can offer: no seeking, no rename by the caller, and the length may be unknown.

pub mod directory;
mod location;
mod name;
mod source;

pub use directory::{Complete, Directory, NewArchive, commit};
pub use location::{Location, Opened};
pub use source::{Source, select};
