//! Archives that no honest program writes, header by header: the `tar` crate's builder refuses such names.

use tar::{Builder, EntryType, Header};

/// A header with this name and link name as they are, owned by the user of the tests.
pub fn header(name: &str, kind: EntryType, link: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_mtime(0);
    header.set_uid(nix::unistd::geteuid().as_raw().into());
    header.set_gid(nix::unistd::getegid().as_raw().into());
    header.set_size(size);
    header.set_cksum();
    header
}

/// An archive of these members (name, kind, link name); files hold `evil`.
pub fn archive(members: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for &(name, kind, link) in members {
        let content: &[u8] = if kind == EntryType::Regular { b"evil" } else { b"" };
        builder.append(&header(name, kind, link, content.len() as u64), content).unwrap();
    }
    builder.into_inner().unwrap()
}
