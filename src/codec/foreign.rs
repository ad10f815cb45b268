//! Formats that are not read, by the first bytes of a file, and the commands that unpack them.

use std::fmt;

/// A format that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    name: &'static str,
    command: &'static str,
}

/// The formats, each with the bytes that a file begins with.
const MAGICS: [(&[u8], Foreign); 15] = [
    (b"\x04\x22\x4d\x18", Foreign::new("lz4", "lz4 -dk")),
    (b"\x02\x21\x4c\x18", Foreign::new("lz4", "lz4 -dk")),
    (b"LZIP", Foreign::new("lzip", "lzip -dk")),
    (b"\x89LZO\0\r\n\x1a\n", Foreign::new("lzop", "lzop -dk")),
    (b"\x5d\0\0", Foreign::new("lzma", "xz -dk")),
    (b"\x1f\x9d", Foreign::new("compress", "uncompress -k")),
    (b"PK\x03\x04", Foreign::new("zip", "unzip")),
    (b"7z\xbc\xaf\x27\x1c", Foreign::new("7z", "7z x")),
    (b"Rar!\x1a\x07", Foreign::new("rar", "unrar x")),
    (b"age-encryption.org/v1\n", AGE),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", AGE),
    (b"-----BEGIN PGP MESSAGE-----", GPG),
    (b"Salted__", Foreign::new("openssl", "openssl enc -d -in")),
    (b"hsqs", Foreign::new("squashfs", "unsquashfs")),
    (b"!<arch>\n", Foreign::new("ar", "ar x")),
];

const AGE: Foreign = Foreign::new("age", "age -d -o ARCHIVE");
const GPG: Foreign = Foreign::new("gpg", "gpg -o ARCHIVE -d");

impl Foreign {
    const fn new(name: &'static str, command: &'static str) -> Self {
        Self { name, command }
    }

    /// Detects the format of a file by its first bytes.
    pub(super) fn detect(first_bytes: &[u8]) -> Option<Self> {
        let known = MAGICS.iter().find(|(magic, _)| first_bytes.starts_with(magic)).map(|(_, format)| *format);
        known.or_else(|| is_openpgp(first_bytes).then_some(GPG))
    }

    /// Returns the command that unpacks or decrypts a file, which lacks the name of that file at its end.
    #[must_use]
    pub const fn command(self) -> &'static str {
        self.command
    }
}

/// Returns whether these bytes begin with a session key that is encrypted with a public key or a passphrase, as an encrypted
/// message does (RFC 9580, sections 4.2, 5.1 and 5.3): a tag, a length of one or two bytes, a version.
fn is_openpgp(bytes: &[u8]) -> bool {
    match bytes {
        [0x84, _, version, ..]
        | [0x85, _, _, version, ..]
        | [0xc1, 0..=191, version, ..]
        | [0xc1, 192..=223, _, version, ..] => matches!(version, 3 | 6),
        [0x8c, _, version, ..] | [0x8d, _, _, version, ..] | [0xc3, 0..=191, version, ..] => matches!(version, 4..=6),
        _ => false,
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_detected_by_their_first_bytes() {
        let name = |bytes: &[u8]| Foreign::detect(bytes).map(|format| format.to_string());
        for (bytes, expected) in [
            (&b"\x04\x22\x4d\x18\x64\x40\xa7"[..], Some("lz4")),
            (b"PK\x03\x04\x14\0", Some("zip")),
            (b"age-encryption.org/v1\n-> X25519 ", Some("age")),
            (b"-----BEGIN PGP MESSAGE-----\n\n", Some("gpg")),
            // gpg -e to an RSA key of 2048 bits, gpg -e to an ECDH key, gpg -c.
            (b"\x85\x01\x0c\x03\xd1\x2f", Some("gpg")),
            (b"\x84\x5e\x03\x7c", Some("gpg")),
            (b"\x8c\x0d\x04\x09\x03\x0a", Some("gpg")),
            (b"\xc3\x0d\x04\x09", Some("gpg")),
            (b"\xff\xd8\xff\xe0", None),
            (b"#!/bin/sh", None),
            (b"", None),
        ] {
            assert_eq!(name(bytes).as_deref(), expected, "{bytes:x?}");
        }
    }
}
