//! The stops that were requested through one connection. Their containers must run again, whatever ends the run.
//!
//! An interrupted stop goes on in the engine, which starts no container that is still running. So whoever starts the
//! container again waits until that stop has ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::query_parameters::StopContainerOptions;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::host::inventory::{State, StopOutcome};

use super::client::Client;
use super::convert::{name_of, state_of, stop_timeout};
use super::fault::{Answer, Fault, within};
use super::product::Product;

/// The time that a stop may take in addition to the container's stop timeout: unmounting, networks, slow disks.
const SLACK: Duration = Duration::from_secs(300);
/// The same once the run was interrupted, when somebody waits for its end.
const INTERRUPTED_SLACK: Duration = Duration::from_secs(5);
/// The time limit for stopping a container that has an unlimited stop timeout.
const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3600);

/// The containers for which a stop was requested, by id.
#[derive(Default)]
pub(super) struct Stops(Mutex<BTreeMap<String, Option<Pending>>>);

/// A stop that was interrupted here, and which the engine nevertheless carries out.
struct Pending {
    /// The request. Its connection stays open: engines of version 23 kill a container at once if the client of its stop
    /// goes away, which is no way to end a database.
    request: JoinHandle<Answer<()>>,
    /// The time at which the engine has killed the container.
    deadline: Instant,
}

impl Stops {
    /// Returns whether a stop of the container was requested.
    pub(super) fn contain(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Stops a container, and returns when it has stopped.
    pub(super) async fn stop(&self, client: &Client<'_>, id: &str) -> Result<StopOutcome> {
        self.lock().insert(id.to_owned(), None);
        let before = client.present(id, Some(client.monitor)).await?;
        let name = name_of(&before)?;
        match state_of(&before) {
            State::Stopped => return Ok(StopOutcome::WasStopped),
            State::Paused => {
                return Err(Error::refused(format!("container '{name}' is paused"))
                    .hint(format!("`docker unpause {name}` or `docker stop {name}` first")));
            }
            State::Running => {}
        }
        client.monitor.check_cancelled()?;
        let grace = stop_timeout(&before);
        let limit = limit(grace, SLACK);
        let mut request = {
            let docker = client.docker.clone().with_timeout(limit);
            let id = id.to_owned();
            // Without `t` and `signal` the container's own timeout and signal apply.
            let options = match client.product {
                Product::Docker => None,
                Product::Podman { .. } => grace.map(|grace| StopContainerOptions {
                    t: Some(i32::try_from(grace.as_secs()).unwrap_or(i32::MAX)),
                    ..StopContainerOptions::default()
                }),
            };
            tokio::spawn(async move { docker.stop_container(&id, options).await })
        };
        let joined = async { (&mut request).await.unwrap_or_else(|panic| Err(std::io::Error::other(panic).into())) };
        match within(limit, Some(client.monitor), joined).await {
            Ok(()) => {}
            Err(Fault::Interrupted) => {
                let deadline = Instant::now() + self::limit(grace, INTERRUPTED_SLACK);
                self.lock().insert(id.to_owned(), Some(Pending { request, deadline }));
                return Err(Error::interrupted());
            }
            Err(fault) => return Err(fault.into_error(&format!("cannot stop container '{name}'"), &client.address)),
        }
        match state_of(&client.present(id, Some(client.monitor)).await?) {
            State::Stopped => Ok(StopOutcome::Stopped),
            State::Running | State::Paused => {
                Err(Error::refused(format!("container '{name}' was stopped and runs again"))
                    .hint("something else starts it (an orchestrator, another operator); stop that first"))
            }
        }
    }

    /// Waits until the engine has ended a stop of the container that was interrupted here, if there is one: until then it
    /// would not start the container, which still runs, and would stop it afterwards.
    pub(super) async fn settle(&self, client: &Client<'_>, id: &str) -> Result<()> {
        let pending = self.lock().get_mut(id).and_then(Option::take);
        let Some(Pending { mut request, deadline }) = pending else { return Ok(()) };
        let name = name_of(&client.present(id, None).await?)?;
        if !request.is_finished() {
            client
                .monitor
                .note(&format!("container '{name}' is being stopped, and is started again once that has ended"));
        }
        let ended = tokio::time::timeout_at(deadline, &mut request).await.is_ok();
        if ended || state_of(&client.present(id, None).await?) == State::Stopped {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Failed,
            format!("container '{name}' still runs, but the engine was asked to stop it and has not answered"),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Pending>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time limit for stopping a container, which is longer than the engine waits for the container: a database
/// may need long to shut down.
fn limit(grace: Option<Duration>, slack: Duration) -> Duration {
    grace.map_or(ENDLESS, |grace| grace.saturating_add(slack).min(ENDLESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_waits_longer_than_the_engine() {
        let seconds = Duration::from_secs;
        assert_eq!(limit(Some(seconds(10)), SLACK), seconds(310));
        assert_eq!(limit(Some(seconds(0)), INTERRUPTED_SLACK), seconds(5));
        assert_eq!(limit(Some(Duration::MAX), SLACK), ENDLESS);
        assert_eq!(limit(None, SLACK), ENDLESS);
    }
}
