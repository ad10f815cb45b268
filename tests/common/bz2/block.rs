//! A block whose fields can all be chosen. It starts as bzip2 would write it and is then changed.

use super::bits::Bits;
use super::code::{CodeTable, codewords};
use super::map::SymbolMap;
use super::{BLOCK_MAGIC, GROUP, MAGIC_BITS, checksum, randomise, reader, runs, sort, symbols};

/// The fields of a block, as they are stored. Counts are computed from the fields.
#[derive(Debug, Clone)]
pub struct Block {
    /// The checksum of the content.
    pub checksum: u32,
    /// Whether the block is randomised.
    pub randomised: bool,
    /// The index of the block among its sorted rotations.
    pub origin: u32,
    /// The byte values that occur.
    pub map: SymbolMap,
    /// The table of each group of symbols, as its position in a move-to-front list of tables.
    pub selectors: Vec<u8>,
    /// The code tables.
    pub tables: Vec<CodeTable>,
    /// All symbols, including the one that ends the block.
    pub symbols: Vec<u16>,
}

impl Block {
    /// Creates a block that holds `content`.
    pub fn of(content: &[u8]) -> Self {
        Self { checksum: checksum::of(content), ..Self::of_runs(&runs::encode(content)) }
    }

    /// Creates a randomised block that holds `content`.
    pub fn randomised(content: &[u8]) -> Self {
        let mut bytes = runs::encode(content);
        randomise::flip(&mut bytes);
        Self { checksum: checksum::of(content), randomised: true, ..Self::of_runs(&bytes) }
    }

    /// Creates a block from bytes after the initial run-length encoding, which need not be valid.
    pub fn of_runs(bytes: &[u8]) -> Self {
        let (column, origin) = sort::sort(bytes);
        Self::of_column(&column, origin)
    }

    /// Creates a block with this last column.
    pub fn of_column(column: &[u8], origin: u32) -> Self {
        let map = SymbolMap::of(column);
        let symbols = symbols::encode(column, &map.values());
        Self { origin, ..Self::of_symbols(map, symbols) }
    }

    /// Creates a block of these symbols with two equal code tables.
    pub fn of_symbols(map: SymbolMap, symbols: Vec<u16>) -> Self {
        let table = CodeTable::flat(map.values().len() + 2);
        let selectors = vec![0; symbols.len().div_ceil(GROUP)];
        let tables = vec![table.clone(), table];
        Self { checksum: 0, randomised: false, origin: 0, map, selectors, tables, symbols }
    }

    /// Replaces the code tables; all groups use the first one.
    #[must_use]
    pub fn coded_by(self, tables: Vec<CodeTable>) -> Self {
        Self { tables, ..self }
    }

    /// Selects the table of each group.
    #[must_use]
    pub fn with_tables_for_groups(self, groups: &[u8]) -> Self {
        let mut list: Vec<u8> = (0..6).collect();
        let number = |table: &u8| {
            let number = list.iter().position(|listed| listed == table).unwrap();
            list[..=number].rotate_right(1);
            u8::try_from(number).unwrap()
        };
        Self { selectors: groups.iter().map(number).collect(), ..self }
    }

    /// Sets the checksum to that of the content that the reader decodes.
    #[must_use]
    #[track_caller]
    pub fn sealed(self) -> Self {
        let checksum = checksum::of(&self.content());
        Self { checksum, ..self }
    }

    /// Returns the content that the reader decodes.
    #[track_caller]
    pub fn content(&self) -> Vec<u8> {
        reader::block(&self.bits(), 9).expect("a block that can be read").content
    }

    /// Returns the bits of the block, from its magic on. Symbols without a codeword or without a table are left
    /// out.
    pub fn bits(&self) -> Bits {
        let mut bits = Bits::default();
        bits.push(BLOCK_MAGIC, MAGIC_BITS);
        bits.push(self.checksum.into(), 32);
        bits.push(self.randomised.into(), 1);
        bits.push(self.origin.into(), 24);
        bits.append(&self.map.bits());
        bits.push(self.tables.len() as u64, 3);
        bits.push(self.selectors.len() as u64, 15);
        for &number in &self.selectors {
            (0..number).for_each(|_| bits.push(1, 1));
            bits.push(0, 1);
        }
        for table in &self.tables {
            bits.append(&table.stored);
        }
        let codewords: Vec<_> = self.tables.iter().map(|table| codewords(&table.lengths)).collect();
        for (symbols, table) in self.symbols.chunks(GROUP).zip(self.tables_for_groups()) {
            for &symbol in symbols {
                if let Some((codeword, length)) =
                    codewords.get(table).and_then(|codewords| codewords[usize::from(symbol)])
                {
                    bits.push(codeword, length.into());
                }
            }
        }
        bits
    }

    /// Returns the table of each group. Groups after the last selector use the first table.
    fn tables_for_groups(&self) -> impl Iterator<Item = usize> {
        let mut list: Vec<usize> = (0..8).collect();
        let table = move |&number: &u8| {
            list[..=usize::from(number)].rotate_right(1);
            list[0]
        };
        self.selectors.iter().map(table).chain(std::iter::repeat(0))
    }
}

/// Sets the checksum in a block's bits to that of its content. A block that cannot be decoded is not changed.
#[must_use]
pub fn seal(mut bits: Bits, level: u8) -> Bits {
    if let Ok(read) = reader::block(&bits, level) {
        bits.set(MAGIC_BITS..MAGIC_BITS + 32, checksum::of(&read.content).into());
    }
    bits
}
