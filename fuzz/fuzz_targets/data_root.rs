//! Whatever Docker's own files hold (`config.v2.json`, a NUL byte, `hostconfig.json`; or `opts.json`): an error of one
//! line, or a container whose sources are absolute paths. Whatever `/etc/subuid`, a NUL byte and `/etc/subgid` hold: an
//! error, or a map that has the ids of the containers' root.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voltar::internals::host::{stored_container, stored_volume_options, subordinate_ids};
use voltar_fuzz::{check_container, check_error};

fuzz_target!(|files: &[u8]| {
    let mut files = files.splitn(2, |&byte| byte == 0);
    let first = files.next().unwrap_or_default();
    let second = files.next();
    match stored_container(first, second.unwrap_or(b"{}")) {
        Ok(container) => check_container(&container),
        Err(error) => check_error(&error),
    }
    match stored_volume_options(first) {
        Ok(options) => assert!(options.keys().all(|key| matches!(&key[..], "type" | "o" | "device"))),
        Err(error) => check_error(&error),
    }
    match subordinate_ids(first, second.unwrap_or(first), (1000, 1000)) {
        Ok(map) => assert_eq!(map.container_root(), Some((1000, 1000))),
        Err(error) => check_error(&error),
    }
});
