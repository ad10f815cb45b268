//! Whatever a record on disk holds: the journal of a restore and the record of stopped containers are parsed, or
//! refused with a reason of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voltar::internals::{parse_journal, parse_stop_record};
use voltar_fuzz::is_text;

fuzz_target!(|text: &[u8]| {
    for reason in [parse_journal(text), parse_stop_record(text)].into_iter().filter_map(Result::err) {
        assert!(is_text(&reason), "{reason:?}");
    }
});
