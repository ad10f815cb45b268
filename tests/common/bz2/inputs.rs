//! What is worth compressing: contents whose rotations are hard to sort, whose symbols are hard to code, or
//! whose runs end where blocks do. Some are made of instructions, so that a few bytes stand for much.

use super::choices::Choices;

/// Content that grows by instructions: literal bytes, runs, copies from further back, and so on.
pub fn by_instruction(choices: &mut Choices<'_>, most: usize) -> Vec<u8> {
    let mut content: Vec<u8> = Vec::new();
    while !choices.used_up() && content.len() < most {
        let room = most - content.len();
        match choices.below(8) {
            0 => content.extend(choices.bytes(40.min(room))),
            1 => {
                let (byte, length) = (choices.byte(), length(choices));
                content.extend(std::iter::repeat_n(byte, length.min(room)));
            }
            // Again what stood some way back; if that is less than the length, over and over.
            2 | 3 => {
                let (back, length) = (1 + choices.below(content.len().max(1)), length(choices));
                repeat(&mut content, back, length.min(room));
            }
            4 => {
                let (back, length) = (1 + choices.below(16), length(choices));
                repeat(&mut content, back, length.min(room));
            }
            5 => {
                let (values, seed, length) = (1 + choices.below(256), choices.byte(), length(choices));
                content.extend(noise(length.min(room), values, seed.into()));
            }
            6 => {
                let (one, other, length) = (choices.byte(), choices.byte(), length(choices));
                content.extend(fibonacci_word(length.min(room)).into_iter().map(|n| if n == 0 { one } else { other }));
            }
            // One byte changed: two long pieces that are nearly the same.
            _ => {
                let at = choices.below(content.len().max(1));
                if let Some(byte) = content.get_mut(at) {
                    *byte = choices.byte();
                }
            }
        }
    }
    content
}

/// Short ones most of the time, and the limits of runs and blocks.
fn length(choices: &mut Choices<'_>) -> usize {
    match choices.below(4) {
        0 => choices.below(8),
        1 => choices.below(600),
        2 => choices.of(&[254, 255, 256, 259, 260, 510, 511, 99_980, 99_981, 99_982, 100_000, 199_962]),
        _ => choices.below(150_000),
    }
}

fn repeat(content: &mut Vec<u8>, back: usize, length: usize) {
    for _ in 0..length {
        let again = content.len().checked_sub(back).map_or(0, |at| content[at]);
        content.push(again);
    }
}

/// Bytes by chance, of the first `values` values.
pub fn noise(length: usize, values: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % values
    };
    (0..length).map(|_| next() as u8).collect()
}

/// The Fibonacci word, of zeros and ones: it repeats itself as far as that goes without a period.
pub fn fibonacci_word(length: usize) -> Vec<u8> {
    let (mut word, mut before) = (vec![0_u8, 1], vec![0_u8]);
    while word.len() < length {
        let longer = [&word[..], &before].concat();
        before = std::mem::replace(&mut word, longer);
    }
    word.truncate(length);
    word
}

/// The Thue-Morse word, of zeros and ones: it has no piece three times in a row.
pub fn thue_morse(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.count_ones() % 2) as u8).collect()
}

/// Each byte value a little over half as often as the one before: the best code for them has codewords far
/// longer than the format allows.
pub fn fibonacci_frequencies(length: usize) -> Vec<u8> {
    let mut counts = vec![1_usize, 1];
    while counts.iter().sum::<usize>() < length {
        counts.push(counts[counts.len() - 2..].iter().sum());
    }
    let values = counts.iter().enumerate().flat_map(|(n, &count)| std::iter::repeat_n(n as u8, count));
    let mut all: Vec<u8> = values.collect();
    // Shuffled, or they would be runs.
    let mut state = 1_u64;
    for at in (1..all.len()).rev() {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        all.swap(at, (state >> 33) as usize % (at + 1));
    }
    all.truncate(length);
    all
}
