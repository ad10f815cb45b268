//! Counting sort: how often each occurs, where the items of each begin, and each item to the next place of
//! its digit's. What is counted again and again is counted in 16 bits: AMD's Zen 3, and others may be like it, takes
//! twice as long to count in words of 32 bits, when the same count comes up again after a few others.

/// How many are below each byte or other digit: where its rotations begin among the sorted ones.
pub(super) fn starts<const DIGITS: usize>(counts: &[u32; DIGITS]) -> [u32; DIGITS] {
    let mut sum = 0;
    counts.map(|count| {
        let start = sum;
        sum += count;
        start
    })
}

/// For each byte or other digit, where the next of those goes that begin with it.
///
/// The numbers are kept in two parts, because the lower one has 16 bits then.
pub(super) struct Heads<const DIGITS: usize = 256> {
    passed: [u16; DIGITS],
    from: [u32; DIGITS],
}

impl<const DIGITS: usize> Heads<DIGITS> {
    pub(super) fn new(counts: &[u32; DIGITS]) -> Self {
        Self { passed: [0; DIGITS], from: starts(counts) }
    }

    #[inline(always)]
    pub(super) fn take(&mut self, digit: usize) -> usize {
        let passed = self.passed[digit];
        let head = self.from[digit] as usize + usize::from(passed);
        self.passed[digit] = passed.wrapping_add(1);
        if passed == u16::MAX {
            self.from[digit] += 1 << 16;
        }
        head
    }

    /// Takes so many in one; `None` if they must be taken one by one.
    #[inline(always)]
    pub(super) fn take_run(&mut self, digit: usize, len: u16) -> Option<usize> {
        let passed = self.passed[digit];
        self.passed[digit] = passed.checked_add(len)?;
        Some(self.from[digit] as usize + usize::from(passed))
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

/// How often each digit occurs.
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

/// Counts to where each digit's begin.
pub(super) fn sum_up(counts: &mut [u16]) -> &mut [u16] {
    let mut sum = 0;
    for count in counts.iter_mut() {
        sum += std::mem::replace(count, sum);
    }
    counts
}

/// Scatters words, fewer than 16 bits count, by the digit above so many bits. There are a power of two of `heads`, one
/// for each digit: where its next word goes.
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
