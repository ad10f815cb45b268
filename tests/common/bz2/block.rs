//! A block with every field to choose. It begins as bzip2 might have written it, and is then changed.

use super::bits::Bits;
use super::code::{CodeTable, codewords};
use super::map::SymbolMap;
use super::{BLOCK_MAGIC, GROUP, MAGIC_BITS, checksum, randomise, reader, runs, sort, symbols};

/// A block, field by field as it is stored. Counts are those of what is there.
#[derive(Debug, Clone)]
pub struct Block {
    /// The checksum of its content.
    pub checksum: u32,
    /// Whether some bits are turned over.
    pub randomised: bool,
    /// Which of the sorted rotations is the block.
    pub origin: u32,
    /// Which byte values there are.
    pub map: SymbolMap,
    /// For each group of symbols how many other tables were used since its own was: the numbers in a list
    /// of tables in which the last used one is moved to the front.
    pub selectors: Vec<u8>,
    /// The codes.
    pub tables: Vec<CodeTable>,
    /// All symbols, with the one that ends the block.
    pub symbols: Vec<u16>,
}

impl Block {
    /// A block that holds `content`.
    pub fn of(content: &[u8]) -> Self {
        Self { checksum: checksum::of(content), ..Self::of_runs(&runs::encode(content)) }
    }

    /// A randomised block that holds `content`.
    pub fn randomised(content: &[u8]) -> Self {
        let mut bytes = runs::encode(content);
        randomise::flip(&mut bytes);
        Self { checksum: checksum::of(content), randomised: true, ..Self::of_runs(&bytes) }
    }

    /// A block of bytes that have been, or might have been, through the first run-length stage.
    pub fn of_runs(bytes: &[u8]) -> Self {
        let (column, origin) = sort::sort(bytes);
        Self::of_column(&column, origin)
    }

    /// A block with this last column.
    pub fn of_column(column: &[u8], origin: u32) -> Self {
        let map = SymbolMap::of(column);
        let symbols = symbols::encode(column, &map.values());
        Self { origin, ..Self::of_symbols(map, symbols) }
    }

    /// A block of these symbols, in two tables without a difference.
    pub fn of_symbols(map: SymbolMap, symbols: Vec<u16>) -> Self {
        let table = CodeTable::flat(map.values().len() + 2);
        let selectors = vec![0; symbols.len().div_ceil(GROUP)];
        let tables = vec![table.clone(), table];
        Self { checksum: 0, randomised: false, origin: 0, map, selectors, tables, symbols }
    }

    /// The same block with other codes, all groups coded by the first of them.
    #[must_use]
    pub fn coded_by(self, tables: Vec<CodeTable>) -> Self {
        Self { tables, ..self }
    }

    /// The same block with the given table for each group.
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

    /// The same block with the checksum of what the reader finds in it.
    #[must_use]
    #[track_caller]
    pub fn sealed(self) -> Self {
        let checksum = checksum::of(&self.content());
        Self { checksum, ..self }
    }

    /// What the reader finds in it.
    #[track_caller]
    pub fn content(&self) -> Vec<u8> {
        reader::block(&self.bits(), 9).expect("a block that can be read").content
    }

    /// All of it, from its magic on. Where a symbol's code has no codeword for it, or there is no such code,
    /// nothing is written.
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

    /// The table of each group; beyond the selectors it is the first one.
    fn tables_for_groups(&self) -> impl Iterator<Item = usize> {
        let mut list: Vec<usize> = (0..8).collect();
        let table = move |&number: &u8| {
            list[..=usize::from(number)].rotate_right(1);
            list[0]
        };
        self.selectors.iter().map(table).chain(std::iter::repeat(0))
    }
}

/// Gives a block's bits the checksum of what they hold; as they are, if they hold nothing.
#[must_use]
pub fn seal(mut bits: Bits, level: u8) -> Bits {
    if let Ok(read) = reader::block(&bits, level) {
        bits.set(MAGIC_BITS..MAGIC_BITS + 32, checksum::of(&read.content).into());
    }
    bits
}
