//! Patterns of members that are left out of an archive, as those of GNU tar's `--exclude` by default: shell wildcards that
//! also match `/`, compared with the member's name and with every end of it that begins after a `/`. Bytes are compared,
//! as in the `POSIX` locale of a container. A pattern is compiled once and matched in time linear in the product of its
//! length and that of the name, because the names are not trusted.

use std::fmt;

use crate::member::{RelPath, printable};

/// The patterns of members that are left out of one archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclude(Vec<Pattern>);

/// One pattern of [`Exclude`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Vec<u8>,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`: any bytes.
    Any,
    /// `?`, `[…]` or a literal: one byte of a set.
    One(Box<Set>),
    /// One byte.
    Byte(u8),
}

type Set = [bool; 256];

/// The reason why a pattern cannot be used. GNU tar accepts such a pattern, which then matches nothing or something
/// unexpected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPattern {
    /// It is empty.
    Empty,
    /// It ends with a backslash that escapes nothing.
    Backslash,
    /// A `[:class:]` with an unknown name.
    Class,
    /// A collating symbol or equivalence class of several characters.
    Collating,
    /// A range without an end.
    Range,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Backslash => "it ends with a backslash",
            Self::Class => "it has an unknown character class",
            Self::Collating => "collating symbols of several characters are not supported",
            Self::Range => "a range in brackets has no end",
        })
    }
}

impl Exclude {
    /// Returns a set of patterns.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// Returns these patterns and those of `other`.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Returns whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first pattern that matches `name`, which does not end with `/`. What lies in an excluded directory is
    /// excluded too; the caller does not ask about it.
    #[must_use]
    pub fn matching(&self, name: &[u8]) -> Option<&Pattern> {
        self.0.iter().find(|pattern| pattern.matches(name))
    }

    /// Returns the first pattern that matches `root` or a directory above it: then nothing of the tree is archived.
    #[must_use]
    pub fn matching_root(&self, root: &RelPath) -> Option<&Pattern> {
        root.steps().find_map(|step| self.matching(step))
    }
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The pattern is empty or malformed.
    pub fn parse(text: &[u8]) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            tokens.push(match byte {
                b'*' => Token::Any,
                b'?' => Token::One(Box::new([true; 256])),
                b'\\' => {
                    let (&escaped, after) = rest.split_first().ok_or(BadPattern::Backslash)?;
                    rest = after;
                    Token::Byte(escaped)
                }
                b'[' => match bracket(rest)? {
                    Some((set, after)) => {
                        rest = after;
                        Token::One(set)
                    }
                    // Without its `]` it stands for itself.
                    None => Token::Byte(b'['),
                },
                literal => Token::Byte(literal),
            });
        }
        Ok(Self { text: text.to_vec(), tokens })
    }

    /// Returns whether the pattern matches `name`, or an end of it that begins after a `/`.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        // A `*` at its start also takes the directories.
        if self.tokens.first() == Some(&Token::Any) {
            return self.matches_all_of(name);
        }
        let starts = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
        std::iter::once(0).chain(starts).any(|start| self.matches_all_of(&name[start..]))
    }

    /// Returns whether the pattern matches `text` from its first to its last byte.
    fn matches_all_of(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where the last `*` stands, and where the text that it does not match begins.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match (self.tokens.get(token), text.get(at)) {
                (None, None) => return true,
                (Some(Token::Any), _) => {
                    token += 1;
                    retry = Some((token, at));
                    continue;
                }
                (Some(Token::One(set)), Some(&byte)) => set[usize::from(byte)],
                (Some(Token::Byte(literal)), Some(byte)) => literal == byte,
                (None, Some(_)) | (Some(_), None) => false,
            };
            if step {
                (token, at) = (token + 1, at + 1);
                continue;
            }
            // Only the last `*` needs to take more: what an earlier one could take, it can take too.
            let Some((after_any, from)) = retry.filter(|(_, from)| *from < text.len()) else { return false };
            retry = Some((after_any, from + 1));
            (token, at) = (after_any, from + 1);
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.text))
    }
}

/// A set in brackets, and what follows it.
type Bracket<'a> = (Box<Set>, &'a [u8]);

/// Parses what follows a `[`: returns the set, and what follows its `]`. `None` if there is no `]`.
fn bracket(text: &[u8]) -> Result<Option<Bracket<'_>>, BadPattern> {
    let (negated, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut set = Box::new([false; 256]);
    let mut is_first = true;
    loop {
        let Some((&byte, after)) = rest.split_first() else { return Ok(None) };
        rest = after;
        let low = match (byte, rest) {
            (b']', _) if !is_first => break,
            (b'\\', _) => {
                let (&escaped, after) = rest.split_first().ok_or(BadPattern::Backslash)?;
                rest = after;
                escaped
            }
            (b'[', [b':', ..]) if let Some((name, after)) = class_name(&rest[1..]) => {
                let is_in = class(name).ok_or(BadPattern::Class)?;
                (0..=u8::MAX).filter(is_in).for_each(|member| set[usize::from(member)] = true);
                (rest, is_first) = (after, false);
                continue;
            }
            (b'[', [b'=', member, b'=', b']', after @ ..]) => {
                set[usize::from(*member)] = true;
                (rest, is_first) = (after, false);
                continue;
            }
            (b'[', [b'.', ..]) => {
                let (member, after) = collating(rest)?;
                rest = after;
                member
            }
            (byte, _) => byte,
        };
        is_first = false;
        let high = match rest {
            [b'-', b']', ..] => low,
            [b'-'] => return Err(BadPattern::Range),
            [b'-', b'\\'] => return Err(BadPattern::Backslash),
            [b'-', b'[', b'.', ..] => {
                let (high, after) = collating(&rest[2..])?;
                rest = after;
                high
            }
            [b'-', b'\\', high, after @ ..] | [b'-', high, after @ ..] => {
                rest = after;
                *high
            }
            _ => low,
        };
        (low..=high).for_each(|member| set[usize::from(member)] = true);
    }
    if negated {
        set.iter_mut().for_each(|member| *member = !*member);
    }
    Ok(Some((set, rest)))
}

/// Returns the name in `name:]…` and what follows; `None` if it cannot be the name of a class.
fn class_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let (name, rest) = text.split_at(length);
    Some((name, rest.strip_prefix(b":]")?))
}

/// Returns the character class of this name in the `POSIX` locale.
fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

/// Parses `.x.]…`: returns `x` and what follows.
fn collating(text: &[u8]) -> Result<(u8, &[u8]), BadPattern> {
    match text {
        [b'.', member, b'.', b']', after @ ..] => Ok((*member, after)),
        _ => Err(BadPattern::Collating),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern.as_bytes()).unwrap().matches(name.as_bytes())
    }

    #[test]
    fn a_pattern_matches_a_name_or_its_end_after_a_slash() {
        for (pattern, name, expected) in [
            ("cache", "srv/x/cache", true),
            ("x/cache", "srv/x/cache", true),
            ("cache", "srv/x/cache2", false),
            ("ache", "srv/x/cache", false),
            ("srv", "srv/x/cache", false),
            ("*.log", "srv/x/a.log", true),
            // The wildcards match a slash, and a leading dot.
            ("x*log", "srv/x/y/.log", true),
            ("x?y", "srv/x/y", true),
            ("[.]hidden", "srv/.hidden", true),
            ("a*b*c", "abbbcb", false),
            ("a*b*c", "abbbcbc", true),
            ("cache/", "srv/x/cache", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn brackets_are_sets_of_bytes() {
        for (pattern, name, expected) in [
            ("[a-c]", "b", true),
            ("[!a-c]", "b", false),
            ("[^a-c]", "d", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[\\]]", "]", true),
            ("[a\\-c]", "b", false),
            ("[[:digit:][:upper:]]", "7", true),
            ("[[:digit:][:upper:]]", "x", false),
            ("[[=a=]]", "a", true),
            ("[[.-.]]", "-", true),
            ("[c-a]", "b", false),
            // Without its bracket it stands for itself.
            ("a[b", "a[b", true),
            ("[[:digit", "[[:digit", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(Pattern::parse(b"[\xe4]").unwrap().matches(b"\xe4"));
    }

    #[test]
    fn a_backslash_takes_the_meaning_of_the_next_byte() {
        assert!(matches("\\*", "*") && !matches("\\*", "a"));
        assert!(matches("a\\b", "ab") && matches("a\\\\b", "a\\b"));
    }

    #[test]
    fn patterns_that_tar_takes_differently_than_meant_are_refused() {
        for (pattern, why) in [
            ("", BadPattern::Empty),
            ("a\\", BadPattern::Backslash),
            ("[a\\", BadPattern::Backslash),
            ("[[:foo:]]", BadPattern::Class),
            ("[[.hyphen.]]", BadPattern::Collating),
            ("[a-", BadPattern::Range),
        ] {
            assert_eq!(Pattern::parse(pattern.as_bytes()), Err(why), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_matches_the_root_or_above_matches_the_whole_tree() {
        let root = RelPath::parse(b"home/django/data").unwrap();
        let whole = |pattern: &str| {
            Exclude::new(vec![Pattern::parse(pattern.as_bytes()).unwrap()]).matching_root(&root).is_some()
        };
        assert!(whole("data") && whole("django") && whole("home/django") && whole("d*"));
        assert!(!whole("data/*") && !whole("home/data"));
    }

    #[test]
    fn a_pattern_of_many_stars_is_matched_in_linear_time() {
        let pattern = Pattern::parse("*a".repeat(200).as_bytes()).unwrap();
        assert!(!pattern.matches(&[[b'a'; 4000].as_slice(), b"b"].concat()));
    }
}
