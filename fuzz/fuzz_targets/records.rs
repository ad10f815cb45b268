//! Whatever a record on disk holds: the record of a restore and that of stopped containers are parsed, or
//! refused with a reason of one line; that of the locks of a backup is one or is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voltar::internals::{is_lock_record, parse_restore_record, parse_stop_record};
use voltar_fuzz::is_text;

fuzz_target!(|text: &[u8]| {
    for reason in [parse_restore_record(text), parse_stop_record(text)].into_iter().filter_map(Result::err) {
        assert!(is_text(&reason), "{reason:?}");
    }
    let _ = is_lock_record(text);
});
