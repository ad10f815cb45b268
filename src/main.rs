//! Parse, plan, run, report, exit status.
fn main() {}
