//! Compresses odd contents. All readers must get them back, and the file must use only what bzip2 itself writes,
//! which the most restrictive readers accept.

use crate::common::bz2::{agree, inputs};

/// Contents by name.
pub type Contents = &'static [(&'static str, fn() -> Vec<u8>)];

pub const CONTENTS: Contents = &[
    ("nothing", Vec::new),
    ("one_byte", || vec![7]),
    ("every_byte_once", || (0..=255).collect()),
    ("two_bytes_in_turn", || b"ab".repeat(120_000)),
    ("a_short_period", || b"abcdefg".repeat(40_000)),
    // After the initial run-length encoding, the block is an integral number of periods, or nearly.
    ("a_period_as_long_as_the_block", || inputs::noise(33_327, 256, 1).repeat(3)),
    ("a_period_longer_than_half_a_block", || inputs::noise(70_000, 256, 2).repeat(3)),
    ("runs_of_all_lengths", runs_of_all_lengths),
    ("runs_that_end_with_the_block", || [vec![0; 99_980 / 5 * 255], b"x".to_vec(), vec![0; 400]].concat()),
    ("the_fibonacci_word", || inputs::fibonacci_word(250_000)),
    ("the_thue_morse_word", || inputs::thue_morse(250_000)),
    ("frequencies_that_need_long_codewords", || inputs::fibonacci_frequencies(800_000)),
    ("sorted_bytes", || (0..200_000_u32).map(|n| (n / 782) as u8).collect()),
    ("falling_bytes", || (0..200_000_u32).rev().map(|n| (n / 782) as u8).collect()),
    ("noise", || inputs::noise(300_000, 256, 3)),
    ("noise_of_two_values", || inputs::noise(300_000, 2, 4)),
    ("nearly_equal_halves", nearly_equal_halves),
];

fn runs_of_all_lengths() -> Vec<u8> {
    (1..=700_usize).flat_map(|length| std::iter::repeat_n((length % 3) as u8, length)).collect()
}

fn nearly_equal_halves() -> Vec<u8> {
    let half = inputs::noise(45_000, 3, 5);
    let mut other = half.clone();
    other[44_000] ^= 1;
    [half, other].concat()
}

/// Checks a content at the lowest level, which gives many blocks, and at the highest.
pub fn content(content: &[u8]) {
    for level in [1, 9] {
        agree::on_content(content, level);
    }
}
