//! bzip2's checksum: CRC-32 with the polynomial 0x04C11DB7, most significant bit first, which is not the
//! one of gzip and zip. Sixteen bytes are looked up at once ("slicing by 16"): each has a table of its own,
//! for as many zero bytes as follow it.

/// The checksum of nothing.
const EMPTY: u32 = u32::MAX;

static TABLES: [[u32; 256]; 16] = tables();

const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 16 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[zeros - 1][byte];
            tables[zeros][byte] = (before << 8) ^ tables[0][(before >> 24) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// A checksum in the making.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) fn new() -> Self {
        Self(EMPTY)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let (sixteens, rest) = bytes.as_chunks::<16>();
        let mut crc = self.0;
        for sixteen in sixteens {
            let mut next = 0;
            let state = crc.to_be_bytes();
            for (at, &byte) in sixteen.iter().enumerate() {
                let byte = if at < 4 { byte ^ state[at] } else { byte };
                next ^= TABLES[15 - at][usize::from(byte)];
            }
            crc = next;
        }
        for &byte in rest {
            crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 24) as u8 ^ byte)];
        }
        self.0 = crc;
    }

    pub(super) fn value(self) -> u32 {
        !self.0
    }
}

/// The checksum of a stream whose blocks so far have `stream`, and whose next one has `block`.
pub(super) fn combine(stream: u32, block: u32) -> u32 {
    stream.rotate_left(1) ^ block
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8]) -> u32 {
        let mut crc = Crc::new();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn it_is_that_of_the_catalogue() {
        // CRC-32/BZIP2 in the catalogue of parametrised CRC algorithms.
        assert_eq!(of(b"123456789"), 0xFC89_1918);
        assert_eq!(of(b""), 0);
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_as_bit_by_bit(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let mut plain = EMPTY;
            for byte in &bytes {
                plain ^= u32::from(*byte) << 24;
                for _ in 0..8 {
                    plain = (plain << 1) ^ if plain >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
                }
            }
            prop_assert_eq!(of(&bytes), !plain);
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut crc = Crc::new();
            crc.update(a);
            crc.update(b);
            prop_assert_eq!(crc.value(), !plain);
        }
    }
}
