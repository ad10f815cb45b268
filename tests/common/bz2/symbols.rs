//! The last column as symbols: each byte becomes the number of its value in a list of values, which then
//! moves to the front; zeros become runs, whose lengths are written in the digits 1 and 2.
//!
//! With n values in the map, symbols 0 and 1 are the digits, symbol k up to n is number k - 1 in the list,
//! and symbol n + 1 ends the block.

/// The digit 1 of a run's length, the least significant first.
pub const RUN_A: u16 = 0;

/// The digit 2.
pub const RUN_B: u16 = 1;

/// The symbol that ends a block with so many values in its map.
pub fn end(values: usize) -> u16 {
    u16::try_from(values + 1).unwrap()
}

/// The symbols of a column, and the one that ends the block.
pub fn encode(column: &[u8], values: &[u8]) -> Vec<u16> {
    let mut list = values.to_vec();
    let numbers: Vec<usize> = column
        .iter()
        .map(|byte| {
            let number = list.iter().position(|value| value == byte).expect("a value of the map");
            list[..=number].rotate_right(1);
            number
        })
        .collect();
    let mut symbols = Vec::new();
    for equal in numbers.chunk_by(|a, b| a == b) {
        match equal[0] {
            0 => symbols.extend(run(equal.len() as u128)),
            number => symbols.extend(std::iter::repeat_n(u16::try_from(number + 1).unwrap(), equal.len())),
        }
    }
    symbols.push(end(values.len()));
    symbols
}

/// The digits of a run's length, which may be beyond what anyone counts to.
pub fn run(mut length: u128) -> Vec<u16> {
    let mut digits = Vec::new();
    while length > 0 {
        digits.push(if length % 2 == 1 { RUN_A } else { RUN_B });
        length = (length - 1) / 2;
    }
    digits
}

/// The column that symbols without their end stand for; `None` if it is longer than `limit`.
pub fn decode(symbols: &[u16], values: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (mut list, mut column) = (values.to_vec(), Vec::new());
    for piece in symbols.chunk_by(|&a, &b| a <= RUN_B && b <= RUN_B) {
        if piece[0] <= RUN_B {
            let digits = piece.iter().enumerate();
            // A run of more than 40 digits is longer than any block, and so is one of 40.
            let length: u64 = digits.map(|(n, &digit)| (u64::from(digit) + 1) << n.min(40)).sum();
            if length > (limit - column.len()) as u64 {
                return None;
            }
            column.extend((0..length).map(|_| list[0]));
        } else {
            for &symbol in piece {
                list[..usize::from(symbol)].rotate_right(1);
                column.push(list[0]);
            }
        }
        if column.len() > limit {
            return None;
        }
    }
    Some(column)
}
