//! Filesystems that are to be mounted, as `docker volume create` describes them: type, device and options. These are
//! values; `volume::detached` mounts them.

pub(crate) mod request;
mod secrets;

use crate::member::{printable, printable_path};
use secrets::{mask_device, mask_options};

/// A filesystem that an engine mounts for the containers that use a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// Its type: `ext4`, `nfs`, `overlay` …
    pub kind: String,
    /// The block device, or the export of a server.
    pub device: String,
    /// The options, separated by commas, as mount(8) takes them after `-o`.
    pub options: String,
}

/// Whether a tree is only read, or written too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only read.
    ReadOnly,
    /// It is read and written.
    ReadWrite,
}

impl Filesystem {
    /// Returns `type=…, device=…, o=…` for messages, with passwords masked.
    #[must_use]
    pub fn describe(&self) -> String {
        let (device, options) = (mask_device(&self.device), mask_options(&self.options));
        let given: Vec<String> = [("type", &*self.kind), ("device", &*device), ("o", &*options)]
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| format!("{key}={}", printable(value.as_bytes())))
            .collect();
        given.join(", ")
    }

    /// Returns the command that mounts it by hand at `mountpoint`, with passwords masked.
    #[must_use]
    pub fn command(&self, mountpoint: &std::path::Path) -> String {
        let (device, options) = (mask_device(&self.device), mask_options(&self.options));
        let mut words = vec!["mount".to_owned()];
        for (option, value) in [("-t", &*self.kind), ("-o", &*options)] {
            if !value.is_empty() {
                words.extend([option.to_owned(), printable(value.as_bytes())]);
            }
        }
        words.extend([printable(device.as_bytes()), printable_path(mountpoint)]);
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_no_passwords() {
        let cifs = Filesystem {
            kind: "cifs".to_owned(),
            device: "//u:s3@nas/x".to_owned(),
            options: "user=u,password=s3cret".to_owned(),
        };
        assert_eq!(cifs.describe(), "type=cifs, device=//u:***@nas/x, o=user=u,password=***");
        assert_eq!(
            cifs.command(std::path::Path::new("/v/_data")),
            "mount -t cifs -o user=u,password=*** //u:***@nas/x /v/_data"
        );
        let disk = Filesystem { device: "/dev/sdb1".to_owned(), ..Filesystem::default() };
        assert_eq!(disk.describe(), "device=/dev/sdb1");
        assert_eq!(disk.command(std::path::Path::new("/mnt")), "mount /dev/sdb1 /mnt");
    }
}
