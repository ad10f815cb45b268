//! Numbers in tar headers: octal text, or base-256 for values that octal cannot hold (GNU tar's extension, see
//! "Extensions to tar Archive Format" in its manual).

/// Writes `value` as GNU tar does: zero-padded octal and a NUL if it fits, base-256 otherwise.
pub fn write(field: &mut [u8], value: i64) {
    let digits = field.len().saturating_sub(1);
    let limit = 1_u128 << (3 * digits);
    match u64::try_from(value) {
        Ok(value) if u128::from(value) < limit => {
            let mut rest = value;
            for digit in field.iter_mut().take(digits).rev() {
                *digit = b'0' + (rest & 7) as u8;
                rest >>= 3;
            }
            if let Some(last) = field.last_mut() {
                *last = 0;
            }
        }
        _ => {
            // Big-endian two's complement; the high bit of the first byte distinguishes it from octal.
            let fill = if value < 0 { 0xff } else { 0 };
            let bytes = value.to_be_bytes();
            for (i, slot) in field.iter_mut().rev().enumerate() {
                *slot = bytes.iter().rev().nth(i).copied().unwrap_or(fill);
            }
            if let Some(first) = field.first_mut() {
                *first = if value < 0 { 0xff } else { 0x80 };
            }
        }
    }
}

/// Reads the octal or base-256 number in `field`. Returns `None` if it has neither form, does not fit 64 bits, or
/// `field` has no bytes. A field of NULs or spaces is 0.
#[must_use]
pub fn read(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // GNU tar writes 0x80 or 0xff first; the lower six bits of the first byte belong to the value.
        let negative = first & 0x40 != 0;
        let mut value = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
        for &byte in rest {
            value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
        }
        return i64::try_from(value).ok();
    }
    let text: &[u8] = field.trim_ascii_start();
    let end = text.iter().position(|&b| b == 0 || b == b' ').unwrap_or(text.len());
    let (digits, tail) = text.split_at(end);
    if tail.iter().any(|&b| b != 0 && b != b' ') {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(len: usize, value: i64) -> Vec<u8> {
        let mut field = vec![0xaa; len];
        write(&mut field, value);
        field
    }

    #[test]
    fn octal_where_it_fits_and_base_256_beyond() {
        assert_eq!(written(8, 0o644), b"0000644\0");
        assert_eq!(written(8, 2_097_151), b"7777777\0");
        assert_eq!(written(8, 2_097_152), [0x80, 0, 0, 0, 0, 0x20, 0, 0]);
        assert_eq!(written(12, (1 << 33) - 1), b"77777777777\0");
        assert_eq!(written(12, 1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        assert_eq!(written(12, -1), [0xff; 12]);
    }

    #[test]
    fn fields_of_other_tars_are_read() {
        assert_eq!(read(b"   644 \0"), Some(0o644));
        assert_eq!(read(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(read(b"        "), Some(0));
        assert_eq!(read(b"00000644"), Some(0o644));
        assert_eq!(read(b"0000648\0"), None);
        assert_eq!(read(b"12\x0034\0\0\0"), None);
        assert_eq!(read(&[0xbf; 12]), None, "more than 64 bits");
    }

    proptest! {
        #[test]
        fn written_numbers_are_read_back(value: i64, len in prop_oneof![Just(12_usize)]) {
            prop_assert_eq!(read(&written(len, value)), Some(value));
        }

        #[test]
        fn any_field_is_read_or_refused(field: Vec<u8>) {
            read(&field).unwrap_or_default();
        }
    }
}
