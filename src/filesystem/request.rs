//! What the kernel is asked for to mount a filesystem as an engine does. The engine passes the options of a volume to
//! mount(2), some as flags and the rest as text (`parseOptions` of moby/sys/mount); fsconfig(2) takes them one by one.
//! Host names of NFS and SMB servers are resolved by the engine (`volume/local` of moby), since the kernel cannot.

use std::io;
use std::net::IpAddr;

use rustix::mount::MountAttrFlags;

use super::{Access, Filesystem};
use crate::error::Cause;

/// The longest value that fsconfig(2) takes, in bytes.
const MAX_VALUE_BYTES: usize = 255;

/// One parameter of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// A word: `FSCONFIG_SET_FLAG`.
    Flag(String),
    /// A name and a value: `FSCONFIG_SET_STRING`.
    Text(String, String),
}

/// The arguments of fsopen(2), fsconfig(2) and fsmount(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) kind: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) attributes: MountAttrFlags,
}

impl Request {
    /// Converts the options of a volume; `resolve` returns the address of a host name.
    ///
    /// # Errors
    /// A host name cannot be resolved, or the kernel does not take so long a value.
    pub(crate) fn new(
        filesystem: &Filesystem,
        access: Access,
        resolve: impl Fn(&str) -> io::Result<IpAddr>,
    ) -> Result<Self, Cause> {
        let Filesystem { kind, device, options } = filesystem;
        let mut request = Self { kind: kind.clone(), parameters: Vec::new(), attributes: MountAttrFlags::empty() };
        let of_server = matches!(&kind[..], "nfs" | "nfs4" | "cifs" | "smb3");
        let mut has_address = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            if request.set_attribute(option) {
                continue;
            }
            match option.split_once('=') {
                Some(("addr", host)) if of_server => {
                    has_address = true;
                    request.text("addr", &address(host, &resolve)?)?;
                }
                Some((key, value)) => request.text(key, value)?,
                None => request.parameters.push(Parameter::Flag(option.to_owned())),
            }
        }
        let source = match share(device).filter(|_| matches!(&kind[..], "cifs" | "smb3") && !has_address) {
            Some((start, host, path)) => format!("{start}{}{path}", address(host, &resolve)?),
            None => device.clone(),
        };
        if !source.is_empty() {
            request.text("source", &source)?;
        }
        if access == Access::ReadOnly {
            request.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        Ok(request)
    }

    /// Takes an option that concerns the mount and not the filesystem; returns whether it is one. The last one counts, as
    /// for mount(2).
    fn set_attribute(&mut self, option: &str) -> bool {
        let attributes = &mut self.attributes;
        let times = MountAttrFlags::MOUNT_ATTR__ATIME;
        match option {
            "nosuid" => *attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "suid" => *attributes -= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "nodev" => *attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
            "dev" => *attributes -= MountAttrFlags::MOUNT_ATTR_NODEV,
            "noexec" => *attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "exec" => *attributes -= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "nodiratime" => *attributes |= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "diratime" => *attributes -= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "noatime" => *attributes = (*attributes - times) | MountAttrFlags::MOUNT_ATTR_NOATIME,
            "strictatime" => *attributes = (*attributes - times) | MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            // Relative times are the kernel's default.
            "atime" | "relatime" | "norelatime" | "nostrictatime" => *attributes -= times,
            // Nothing is propagated to or from a mount that is in no table.
            "defaults" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" | "unbindable"
            | "runbindable" => {}
            _ => return false,
        }
        true
    }

    fn text(&mut self, key: &str, value: &str) -> Result<(), Cause> {
        if value.len() <= MAX_VALUE_BYTES {
            self.parameters.push(Parameter::Text(key.to_owned(), value.to_owned()));
        } else if (&*self.kind, key) == ("overlay", "lowerdir") {
            let layers = value.split(':');
            self.parameters.extend(layers.map(|layer| Parameter::Text("lowerdir+".to_owned(), layer.to_owned())));
        } else {
            return Err(format!("the value of '{key}' has more than {MAX_VALUE_BYTES} bytes").into());
        }
        Ok(())
    }
}

fn address(host: &str, resolve: impl Fn(&str) -> io::Result<IpAddr>) -> Result<String, Cause> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host.to_owned());
    }
    let found = resolve(host).map_err(|cause| format!("cannot resolve host '{host}': {cause}"))?;
    Ok(found.to_string())
}

/// Divides `//user@host/share` at its host.
fn share(device: &str) -> Option<(&str, &str, &str)> {
    let rest = device.strip_prefix("//")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
    let (before, after) = (&device[..2 + start], &rest[end..]);
    (start < end).then(|| (before, &rest[start..end], after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: &str, device: &str, options: &str) -> Result<Request, String> {
        let filesystem = Filesystem { kind: kind.to_owned(), device: device.to_owned(), options: options.to_owned() };
        let resolve = |host: &str| match host {
            "nas" => Ok([192, 0, 2, 7].into()),
            other => Err(io::Error::other(format!("no such host: {other}"))),
        };
        Request::new(&filesystem, Access::ReadWrite, resolve).map_err(|cause| cause.to_string())
    }

    fn parameters(kind: &str, device: &str, options: &str) -> Vec<String> {
        let shown = |parameter: Parameter| match parameter {
            Parameter::Flag(word) => word,
            Parameter::Text(key, value) => format!("{key}={value}"),
        };
        request(kind, device, options).unwrap().parameters.into_iter().map(shown).collect()
    }

    /// No NFS or SMB server is needed: these are the options of Docker's and CVAT's documentation, and what moby's
    /// `volume/local` and `parseOptions` make of them.
    #[test]
    fn servers_are_mounted_as_the_engine_mounts_them() {
        assert_eq!(
            parameters("nfs", ":/srv/cvat", "addr=nas,rw,nfsvers=4,soft,nolock"),
            ["addr=192.0.2.7", "rw", "nfsvers=4", "soft", "nolock", "source=:/srv/cvat"]
        );
        assert_eq!(parameters("nfs4", ":/", "clientaddr=nas,addr=10.0.0.1")[..2], ["clientaddr=nas", "addr=10.0.0.1"]);
        assert_eq!(
            parameters("cifs", "//nas/cvat", "username=u,password=p=1,uid=1000"),
            ["username=u", "password=p=1", "uid=1000", "source=//192.0.2.7/cvat"]
        );
        assert_eq!(parameters("cifs", "//u:p@nas/a/b", ""), ["source=//u:p@192.0.2.7/a/b"]);
        assert_eq!(parameters("cifs", "//nas/cvat", "addr=nas"), ["addr=192.0.2.7", "source=//nas/cvat"]);
        assert_eq!(request("nfs", ":/srv", "addr=gone").unwrap_err(), "cannot resolve host 'gone': no such host: gone");
    }

    #[test]
    fn options_of_the_mount_are_attributes_and_the_last_one_counts() {
        use MountAttrFlags as Flags;
        let attributes = |options: &str| request("ext4", "/dev/sdb", options).unwrap().attributes;
        assert_eq!(attributes("nosuid,noexec,suid,nodev"), Flags::MOUNT_ATTR_NOEXEC | Flags::MOUNT_ATTR_NODEV);
        assert_eq!(attributes("noatime"), Flags::MOUNT_ATTR_NOATIME);
        assert_eq!(attributes("noatime,strictatime,nodiratime"), {
            Flags::MOUNT_ATTR_STRICTATIME | Flags::MOUNT_ATTR_NODIRATIME
        });
        assert_eq!(attributes("strictatime,relatime,defaults,shared"), Flags::empty());
        assert_eq!(
            parameters("ext4", "/dev/sdb", "ro,,data=journal,noatime"),
            ["ro", "data=journal", "source=/dev/sdb"]
        );
    }

    #[test]
    fn long_lists_of_layers_are_given_one_by_one() {
        let layer = "l".repeat(200);
        let long = format!("lowerdir=/{layer}:/{layer},upperdir=/u");
        let layer = format!("lowerdir+=/{layer}");
        assert_eq!(parameters("overlay", "overlay", &long), [&layer, &layer, "upperdir=/u", "source=overlay"]);
        let error = request("ext4", "/dev/sdb", &format!("journal_path={}", "j".repeat(256))).unwrap_err();
        assert_eq!(error, "the value of 'journal_path' has more than 255 bytes");
    }
}
