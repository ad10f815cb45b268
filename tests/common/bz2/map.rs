//! The symbol map: which byte values occur in a block. Sixteen bits select the groups of sixteen values that have
//! any; each of those groups has a row of sixteen bits, one for each value.

use super::bits::Bits;

/// A map, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolMap {
    /// The groups that have a row.
    pub groups: u16,
    /// The rows of those groups.
    pub rows: Vec<u16>,
}

impl SymbolMap {
    /// Creates the map of the values in `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut all = [0_u16; 16];
        for &byte in bytes {
            all[usize::from(byte / 16)] |= 0x8000 >> (byte % 16);
        }
        let groups = (0..16).filter(|&n| all[n] != 0).fold(0, |groups, n| groups | 0x8000 >> n);
        Self { groups, rows: all.into_iter().filter(|&row| row != 0).collect() }
    }

    /// Returns the values in ascending order.
    pub fn values(&self) -> Vec<u8> {
        let bits = |row: u16| (0..16_u8).filter(move |&n| row & 0x8000 >> n != 0);
        bits(self.groups).zip(&self.rows).flat_map(|(group, &row)| bits(row).map(move |n| group * 16 + n)).collect()
    }

    /// Returns the stored form.
    pub fn bits(&self) -> Bits {
        let mut bits = Bits::default();
        bits.push(self.groups.into(), 16);
        for &row in &self.rows {
            bits.push(row.into(), 16);
        }
        bits
    }
}
