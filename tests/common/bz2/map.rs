//! The symbol map: which byte values occur in a block. Sixteen bits say which groups of sixteen values have
//! any; for each of those groups, sixteen bits more say which.

use super::bits::Bits;

/// A map as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolMap {
    /// Which groups have a row.
    pub groups: u16,
    /// The rows of those groups.
    pub rows: Vec<u16>,
}

impl SymbolMap {
    /// The map of the values among `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut all = [0_u16; 16];
        for &byte in bytes {
            all[usize::from(byte / 16)] |= 0x8000 >> (byte % 16);
        }
        let groups = (0..16).filter(|&n| all[n] != 0).fold(0, |groups, n| groups | 0x8000 >> n);
        Self { groups, rows: all.into_iter().filter(|&row| row != 0).collect() }
    }

    /// The values, smallest first.
    pub fn values(&self) -> Vec<u8> {
        let bits = |row: u16| (0..16_u8).filter(move |&n| row & 0x8000 >> n != 0);
        bits(self.groups).zip(&self.rows).flat_map(|(group, &row)| bits(row).map(move |n| group * 16 + n)).collect()
    }

    /// How it is stored.
    pub fn bits(&self) -> Bits {
        let mut bits = Bits::default();
        bits.push(self.groups.into(), 16);
        for &row in &self.rows {
            bits.push(row.into(), 16);
        }
        bits
    }
}
