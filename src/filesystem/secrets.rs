//! Mount options as messages show them: a password in them is masked.

/// Options whose value is a secret, or the path of a file that holds one (mount.cifs(8), mount.davfs(8), sshfs(1)).
const SECRET: &[&str] =
    &["pass", "passwd", "password", "password2", "cred", "credentials", "passphrase", "secret", "key"];

const MASK: &str = "***";

/// Returns the options `o=…` of a mount with the values of secret options masked.
pub(super) fn mask_options(options: &str) -> String {
    // A password may hold a comma only where the filesystem allows it to be escaped; what follows one is then taken for
    // an option, and is masked unless it has the form of one.
    let mut after_secret = false;
    let masked = options.split(',').map(|option| {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
        let is_word = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if value.is_some() && SECRET.contains(&key.trim().to_ascii_lowercase().as_str()) {
            after_secret = true;
            return format!("{key}={MASK}");
        }
        if after_secret && !is_word {
            return MASK.to_owned();
        }
        after_secret = false;
        option.to_owned()
    });
    masked.collect::<Vec<_>>().join(",")
}

/// Returns the device of a mount with the password of a URL or an SMB share masked: `user:***@host`.
pub(super) fn mask_device(device: &str) -> String {
    let start = device.find("//").map_or(0, |at| at + 2);
    let (scheme, rest) = device.split_at(start);
    // A password may hold '@' and '/', a host cannot hold '@'.
    let Some(at) = rest.rfind('@') else { return device.to_owned() };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:{MASK}{}", &rest[at..]),
        None => device.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_options_are_masked() {
        for (options, shown) in [
            ("addr=nas,rw", "addr=nas,rw"),
            ("username=cvat,password=s3cret,vers=3.0", "username=cvat,password=***,vers=3.0"),
            ("credentials=/root/.smb", "credentials=***"),
            ("PASS=x", "PASS=***"),
            ("rw,password=a,b!c,uid=7", "rw,password=***,***,uid=7"),
            ("password=", "password=***"),
            ("passthrough=1", "passthrough=1"),
            ("", ""),
        ] {
            assert_eq!(mask_options(options), shown, "{options}");
        }
    }

    #[test]
    fn the_password_of_a_device_is_masked() {
        for (device, shown) in [
            (":/export", ":/export"),
            ("//nas/share", "//nas/share"),
            ("//cvat:s3@cr/et@nas/share", "//cvat:***@nas/share"),
            ("https://u:p@host:8443/dav", "https://u:***@host:8443/dav"),
            ("cvat@host:/data", "cvat@host:/data"),
            ("/dev/sdb1", "/dev/sdb1"),
        ] {
            assert_eq!(mask_device(device), shown, "{device}");
        }
    }
}
