//! Errors of requests to the engine, the time limit of a request, and its interruption.

use std::error::Error as _;
use std::future::Future;
use std::io::ErrorKind as IoKind;
use std::pin::pin;
use std::time::Duration;

use crate::error::ErrorKind::Failed;
use crate::error::{Cause, Error};
use crate::member::printable;
use crate::monitor::Monitor;

use super::address::Address;
use super::limited::TooLarge;

/// The time between two checks for cancellation while a request waits.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// The answer to a request, as bollard returns it.
pub(super) type Answer<T> = std::result::Result<T, bollard::errors::Error>;

/// The reason why a request has no answer.
pub(super) enum Fault {
    /// The engine or the connection to it reported an error.
    Engine(bollard::errors::Error),
    /// The answer was not complete within this time limit.
    TooSlow(Duration),
    /// The run was cancelled before the answer was complete.
    Interrupted,
}

/// Runs a request with a time limit that covers the complete answer; bollard's own limit ends with its headers. The
/// request ends early once `monitor`, if there is one, is cancelled.
pub(super) async fn within<T>(
    limit: Duration,
    monitor: Option<&dyn Monitor>,
    request: impl Future<Output = Answer<T>>,
) -> std::result::Result<T, Fault> {
    match tokio::time::timeout(limit, unless_cancelled(monitor, request)).await {
        Ok(Some(Err(bollard::errors::Error::RequestTimeoutError))) | Err(_) => Err(Fault::TooSlow(limit)),
        Ok(Some(answer)) => answer.map_err(Fault::Engine),
        Ok(None) => Err(Fault::Interrupted),
    }
}

/// Returns the result of `request`, or `None` once `monitor` is cancelled: then no request is sent.
async fn unless_cancelled<T>(monitor: Option<&dyn Monitor>, request: impl Future<Output = T>) -> Option<T> {
    let mut request = pin!(request);
    loop {
        if monitor.is_some_and(Monitor::cancelled) {
            return None;
        }
        if let Ok(result) = tokio::time::timeout(CANCEL_CHECK, request.as_mut()).await {
            return Some(result);
        }
    }
}

impl Fault {
    /// Returns the error of a request; `what` is the operation that failed ("cannot list volumes").
    pub(super) fn into_error(self, what: &str, address: &Address) -> Error {
        use bollard::errors::Error as Docker;
        let describe = |cause: &str| {
            let cause = cause.trim().lines().next().unwrap_or_default();
            format!("{what} through {address}: {}", printable(cause.as_bytes()))
        };
        match self {
            Self::TooSlow(limit) => {
                Error::new(Failed, describe(&format!("no complete answer within {} s", limit.as_secs())))
                    .hint("is the daemon hanging? See `docker info` and its log (`journalctl -u docker`)")
            }
            Self::Interrupted => Error::interrupted(),
            Self::Engine(Docker::DockerResponseServerError { status_code, message }) => {
                let reason = if message.trim().is_empty() { format!("HTTP status {status_code}") } else { message };
                Error::new(Failed, describe(&reason))
            }
            Self::Engine(error) => match (too_large(&error), io_cause(&error)) {
                (Some(limit), _) => Error::new(Failed, describe(&limit.to_string())).hint(NOT_AN_ENGINE),
                (None, Some((kind, cause))) => {
                    Error::new(Failed, describe(&cause.to_string())).because(cause).hint(address.hint(kind))
                }
                (None, None) => Error::new(Failed, describe(&format!("not what an engine would answer ({error})")))
                    .hint(NOT_AN_ENGINE),
            },
        }
    }
}

const NOT_AN_ENGINE: &str = "is it a Docker engine that listens there?";

/// Returns the limit that an answer exceeded, if that is the cause of an error of bollard.
fn too_large(error: &bollard::errors::Error) -> Option<TooLarge> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        cause = inner.source();
        let carried = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(limit) = carried.and_then(|carried| carried.downcast_ref::<TooLarge>()) {
            return Some(*limit);
        }
    }
    None
}

/// Returns the error of the operating system that caused an error of bollard.
fn io_cause(error: &bollard::errors::Error) -> Option<(IoKind, Cause)> {
    // `source()` of this variant skips the I/O error itself.
    if let bollard::errors::Error::IOError { err } = error {
        return Some((err.kind(), err.into()));
    }
    innermost(error.source()?).downcast_ref::<std::io::Error>().map(|io| (io.kind(), io.into()))
}

/// Returns the error that caused all others: an I/O error that wraps another one has its kind and a longer message.
fn innermost<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_all_others_is_the_innermost() {
        let refused = std::io::Error::from(IoKind::ConnectionRefused);
        let wrapped = Error::failed("cannot open", "the socket", refused);
        assert_eq!(innermost(&wrapped).to_string(), "connection refused");
        let twice = Error::failed("cannot list", "volumes", std::io::Error::other(wrapped));
        assert_eq!(innermost(&twice).to_string(), "connection refused");
        let alone = std::io::Error::other("gone");
        assert_eq!(innermost(&alone).to_string(), "gone");
    }
}
