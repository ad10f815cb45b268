//! Counting sort: counts the items with each digit, computes where the items of each digit begin in sorted order, and
//! scatters each item to the next position of its digit. Counters that are incremented often have 16 bits: if the same
//! counter is incremented again after a few others, AMD Zen 3 takes twice as long with 32 bits, and other CPUs may,
//! too.

/// Returns for each byte or other digit where its items begin in sorted order: the number of items with a lesser digit.
pub(super) fn starts<const DIGITS: usize>(counts: &[u32; DIGITS]) -> [u32; DIGITS] {
    let mut sum = 0;
    counts.map(|count| {
        let start = sum;
        sum += count;
        start
    })
}

/// The next free position of each byte or other digit in a scatter.
///
/// A position is the sum of two parts, so that the part which is incremented has 16 bits.
pub(super) struct Heads<const DIGITS: usize = 256> {
    taken: [u16; DIGITS],
    from: [u32; DIGITS],
}

impl<const DIGITS: usize> Heads<DIGITS> {
    pub(super) fn new(counts: &[u32; DIGITS]) -> Self {
        Self { taken: [0; DIGITS], from: starts(counts) }
    }

    /// Takes the next position of a digit.
    #[inline(always)]
    pub(super) fn take(&mut self, digit: usize) -> usize {
        let taken = self.taken[digit];
        let head = self.from[digit] as usize + usize::from(taken);
        self.taken[digit] = taken.wrapping_add(1);
        if taken == u16::MAX {
            self.from[digit] += 1 << 16;
        }
        head
    }

    /// Takes the next `len` positions of a digit, and returns the first one. Returns `None`, and takes none, if they
    /// must be taken one by one.
    #[inline(always)]
    pub(super) fn take_run(&mut self, digit: usize, len: u16) -> Option<usize> {
        let taken = self.taken[digit];
        self.taken[digit] = taken.checked_add(len)?;
        Some(self.from[digit] as usize + usize::from(taken))
    }

    /// Scatters words by their digits.
    #[inline(always)]
    pub(super) fn scatter(&mut self, from: &[u64], to: &mut [u64], digit: impl Fn(&u64) -> usize) {
        for word in from {
            if let Some(slot) = to.get_mut(self.take(digit(word))) {
                *slot = *word;
            }
        }
    }
}

/// Counts the items with each digit.
#[inline(always)]
pub(super) fn tally<const DIGITS: usize, T>(items: &[T], digit: impl Fn(&T) -> usize) -> [u32; DIGITS] {
    let mut counts = [0; DIGITS];
    let mut few = [0_u16; DIGITS];
    for items in items.chunks(u16::MAX.into()) {
        for item in items {
            few[digit(item)] += 1;
        }
        for (count, few) in counts.iter_mut().zip(&mut few) {
            *count += u32::from(std::mem::take(few));
        }
    }
    counts
}

/// Replaces the count of each digit by the position where its items begin.
pub(super) fn sum_up(counts: &mut [u16]) -> &mut [u16] {
    let mut sum = 0;
    for count in counts.iter_mut() {
        sum += std::mem::replace(count, sum);
    }
    counts
}

/// Scatters words by the digit above their low `shift` bits. `heads` is the next position of each digit; the number of
/// digits is a power of two. There are fewer than 2^16 words.
#[inline(always)]
pub(super) fn scatter_small(from: &[u64], to: &mut [u64], shift: u32, heads: &mut [u16]) {
    let mask = heads.len() - 1;
    for &word in from {
        let Some(head) = heads.get_mut((word >> shift) as usize & mask) else { return };
        if let Some(slot) = to.get_mut(usize::from(*head)) {
            *slot = word;
        }
        *head += 1;
    }
}
