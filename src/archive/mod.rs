//! Tar archives as streams of members. No paths of the host are known here, and no threads.

pub mod listing;
