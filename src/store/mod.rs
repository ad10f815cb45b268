//! Where archives live. A store lists its archives, opens one to be read from its start, and takes new ones, which are
//! written in order, have no name until they are committed, and are gone when they are dropped before; of one run all
//! are committed, or none. Everything else speaks to the store, never to its files.
//!
//! There is one kind of store, a [`directory`] of this host. The interface asks no more than an object store or a
//! pipe could give: no seeking, no rename by the caller, and a length that may be unknown.

pub mod directory;
mod location;
mod name;
mod source;

pub use directory::{Complete, Directory, NewArchive, commit};
pub use location::{Location, Opened};
pub use source::{Source, select};
