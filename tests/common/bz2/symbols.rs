//! The last column as symbols: move-to-front ranks, with runs of rank zero encoded by the digits 1 and 2 of their
//! lengths.
//!
//! With n values in the map, symbols 0 and 1 are the digits, symbol k up to n is rank k - 1, and symbol n + 1
//! ends the block.

/// The digit 1 of a run's length. The least significant digit comes first.
pub const RUN_A: u16 = 0;

/// The digit 2 of a run's length.
pub const RUN_B: u16 = 1;

/// Returns the symbol that ends a block with `values` values in its map.
pub fn end(values: usize) -> u16 {
    u16::try_from(values + 1).unwrap()
}

/// Returns the symbols of a column, including the one that ends the block.
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

/// Returns the digits of a run's length, which may exceed the size of any block.
pub fn run(mut length: u128) -> Vec<u16> {
    let mut digits = Vec::new();
    while length > 0 {
        digits.push(if length % 2 == 1 { RUN_A } else { RUN_B });
        length = (length - 1) / 2;
    }
    digits
}

/// Returns the column of these symbols, without the end symbol; `None` if it is longer than `limit`.
pub fn decode(symbols: &[u16], values: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (mut list, mut column) = (values.to_vec(), Vec::new());
    for piece in symbols.chunk_by(|&a, &b| a <= RUN_B && b <= RUN_B) {
        if piece[0] <= RUN_B {
            let digits = piece.iter().enumerate();
            // Runs of 40 digits and more are longer than any block.
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
