//! soon
use crate::stack::Test;
/// Soon.
pub const TESTS: &[Test] = &[];
