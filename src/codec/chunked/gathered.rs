//! The input of a chunk, in the pieces in which it came.

use crate::pieces::LEAST;

/// The room for copied bytes that is allocated at once.
const ROOM: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Gathered {
    pieces: Vec<Vec<u8>>,
    length: usize,
}

impl Gathered {
    /// Returns the number of bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Appends a copy of `bytes`.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.pieces.last_mut() {
            Some(last) if last.capacity() - last.len() >= bytes.len() => last.extend_from_slice(bytes),
            _ => {
                let mut piece = Vec::with_capacity(bytes.len().max(ROOM));
                piece.extend_from_slice(bytes);
                self.pieces.push(piece);
            }
        }
    }

    /// Appends `piece`.
    pub(super) fn take(&mut self, piece: Vec<u8>) {
        if piece.len() < LEAST {
            self.copy(&piece);
        } else {
            self.length += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Returns all bytes.
    pub(super) fn joined(mut self) -> Vec<u8> {
        match &mut self.pieces[..] {
            [only] => std::mem::take(only),
            pieces => pieces.concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_bytes_are_joined_in_order(parts in prop::collection::vec((any::<bool>(), 0..3 * LEAST), 0..20)) {
            let (mut gathered, mut expected) = (Gathered::default(), Vec::new());
            for (number, (copied, length)) in (0_u8..).zip(parts) {
                let part = vec![number; length];
                expected.extend_from_slice(&part);
                if copied { gathered.copy(&part) } else { gathered.take(part) }
                prop_assert_eq!(gathered.length(), expected.len());
            }
            prop_assert!(gathered.joined() == expected);
        }
    }
}
