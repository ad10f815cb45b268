//! Whatever the engine answers: an error of one line, or a container or volume whose name, id and paths can be
//! printed, put into a URL and joined.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voltar::internals::host::{engine_container, engine_listed, engine_volume};
use voltar_fuzz::{check_container, check_error, is_normal, is_text};

fuzz_target!(|answer: &[u8]| {
    match engine_container(answer) {
        Ok(container) => check_container(&container),
        Err(error) => check_error(&error),
    }
    match engine_listed(answer) {
        Ok(Some(container)) => check_container(&container),
        Ok(None) => {}
        Err(error) => check_error(&error),
    }
    match engine_volume(answer) {
        Ok(volume) => {
            assert!(is_text(&volume.name) && is_text(&volume.driver));
            assert!(
                volume.mountpoint.as_os_str().is_empty() || is_normal(&volume.mountpoint),
                "{:?}",
                volume.mountpoint
            );
        }
        Err(error) => check_error(&error),
    }
});
