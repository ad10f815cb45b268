//! How bsdtar writes the names and values of its own pax records (`archive_write_set_format_pax.c`): names like those in
//! URLs, and values in Base64 without padding.

/// Returns the name of which `text` has some bytes as `%` and two hexadecimal digits.
pub(super) fn url_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| byte == b'%');
        let escaped = digits.and_then(|[high, low]| Some(hex(*high)? << 4 | hex(*low)?));
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Returns the bytes that `text` has in Base64 (RFC 4648), with or without padding; `None` if it is malformed.
pub(super) fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = &text[..text.len() - padding];
    // One digit has less than a byte.
    if padding > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let word = group.iter().try_fold(0, |word: u32, &digit| Some(word << 6 | six_bits(digit)?))?;
        let word = word << (6 * (4 - group.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn six_bits(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_and_what_is_no_escape_stays() {
        for (text, name) in
            [("user.a", "user.a"), ("a%3Db%25", "a=b%"), ("%c3%A4", "ä"), ("%", "%"), ("%4", "%4"), ("%4g%41", "%4gA")]
        {
            assert_eq!(url_decoded(text.as_bytes()), name.as_bytes(), "{text}");
        }
    }

    #[test]
    fn the_vectors_of_rfc_4648_with_and_without_padding() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64_decoded(text.as_bytes()).unwrap(), bytes.as_bytes());
            assert_eq!(base64_decoded(text.trim_end_matches('=').as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64_decoded(b"+/8").unwrap(), [0xfb, 0xff]);
        for malformed in ["Z", "Zm9vY", "Zm 9", "Zg===", "Z=g", "Zm-_"] {
            assert_eq!(base64_decoded(malformed.as_bytes()), None, "{malformed}");
        }
    }
}
