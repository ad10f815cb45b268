//! Running a command in a container.
//!
//! The answer to the start of a command is its output, until it ends. Without `Upgrade` in the request it is an ordinary body
//! (Docker's API, "Start an exec instance"), so the limits of answers hold for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::error::{Error, ErrorKind, Result};
use crate::host::inventory::Execution;
use crate::host::parse;

use super::client::Client;
use super::convert::name_of;
use super::fault::{Answer, Fault, within};

/// The time between two looks at a command whose output has ended.
const INTERVAL: Duration = Duration::from_millis(50);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Create<'a> {
    attach_stdout: bool,
    attach_stderr: bool,
    cmd: [&'a str; 3],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    detach: bool,
    tty: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    exit_code: Option<i64>,
}

impl Client<'_> {
    /// Runs `command` with the shell of a container, and waits for its end for at most `limit`.
    pub(super) async fn execute(&self, id: &str, command: &str, limit: Duration) -> Result<Execution> {
        let id = parse::id(id)?;
        let name = name_of(&self.present(&id, Some(self.monitor)).await?)?;
        let what = format!("cannot run a command in container '{name}'");
        match within(limit, Some(self.monitor), self.executed(&id, command)).await {
            Ok(Some(execution)) => Ok(execution),
            Ok(None) => Err(Error::new(ErrorKind::Failed, format!("{what}: the engine lost it"))),
            Err(Fault::TooSlow(limit)) => {
                Err(Error::new(ErrorKind::Failed, format!("it has not ended within {} s", limit.as_secs())))
            }
            Err(fault) => Err(fault.into_error(&what, &self.address)),
        }
    }

    /// Returns `None` if the engine gives the command an id that cannot be part of a path.
    async fn executed(&self, container: &str, command: &str) -> Answer<Option<Execution>> {
        let create = Create { attach_stdout: true, attach_stderr: true, cmd: ["/bin/sh", "-c", command] };
        let created = self.transport.post(&format!("/containers/{container}/exec"), &create).await?;
        let Created { id } = serde_json::from_slice(&created)?;
        let Ok(id) = parse::id(&id) else { return Ok(None) };
        let stream = self.transport.post(&format!("/exec/{id}/start"), &Start { detach: false, tty: false }).await?;
        let output = printed(&stream);
        // The engine may learn of the end of the process after the end of its output.
        let begin = Instant::now();
        loop {
            let state: State = self.transport.get(&format!("/exec/{id}/json")).await?;
            match state.exit_code {
                Some(status) if !state.running => return Ok(Some(Execution { status, output })),
                _ => sleep(INTERVAL.max(begin.elapsed() / 4)).await,
            }
        }
    }
}

/// Returns what a command has printed on standard error or, if that is nothing, on standard output. Each frame of `stream`
/// begins with eight bytes: the number of the file descriptor, three zeros, and its length in big endian. What has not that
/// form is returned as it is.
fn printed(mut stream: &[u8]) -> Vec<u8> {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    while let Some((&[descriptor @ 0..=2, 0, 0, 0, a, b, c, d], rest)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (content, next) = rest.split_at(length.min(rest.len()));
        if descriptor == 2 { &mut errors } else { &mut output }.extend_from_slice(content);
        stream = next;
    }
    errors.extend_from_slice(stream);
    if errors.is_empty() { output } else { errors }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_come_before_other_output() {
        assert_eq!(printed(b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01c\x01\0\0\0\0\0\0\x01d"), b"c");
        assert_eq!(printed(b"\x01\0\0\0\0\0\0\x02ab\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01c"), b"abc");
        assert_eq!(printed(b"OCI runtime exec failed"), b"OCI runtime exec failed");
        assert_eq!(printed(b"\x01\0\0\0\xff\xff\xff\xffcut"), b"cut");
    }

    proptest! {
        #[test]
        fn no_stream_is_longer_than_what_was_received(stream: Vec<u8>) {
            prop_assert!(printed(&stream).len() <= stream.len());
        }
    }
}
