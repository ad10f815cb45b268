//! Requests to an engine: each ends within a time limit, and its failure is an error of this crate.

use std::future::Future;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::monitor::Monitor;
use bollard::Docker;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::answers::{ContainerInspectResponse, ContainerSummary};
use super::fault::{Answer, Fault, within};
use super::product::{self, Product};
use super::transport::Transport;

/// The time limit of one request: enough for a busy host with hundreds of containers.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(120);

/// The client of one engine.
pub(super) struct Client<'a> {
    pub(super) docker: Docker,
    pub(super) transport: Transport,
    pub(super) product: Product,
    pub(super) address: Address,
    pub(super) monitor: &'a dyn Monitor,
}

impl Client<'_> {
    /// Runs one request to its end, unless the run is cancelled.
    pub(super) async fn run<T>(&self, what: &str, request: impl Future<Output = Answer<T>>) -> Result<T> {
        self.finish(what, Some(self.monitor), request).await
    }

    /// Runs one request to its end, unless `monitor` is cancelled.
    pub(super) async fn finish<T>(
        &self,
        what: &str,
        monitor: Option<&dyn Monitor>,
        request: impl Future<Output = Answer<T>>,
    ) -> Result<T> {
        within(REQUEST_LIMIT, monitor, request).await.map_err(|fault| fault.into_error(what, &self.address))
    }

    /// Lists all containers.
    pub(super) async fn list_containers(&self) -> Result<Vec<ContainerSummary>> {
        self.run("cannot list containers", self.transport.get("/containers/json?all=true")).await
    }

    /// Inspects a container; returns `None` if it does not exist.
    pub(super) async fn inspect(
        &self,
        id: &str,
        monitor: Option<&dyn Monitor>,
    ) -> Result<Option<ContainerInspectResponse>> {
        let path = format!("/containers/{id}/json");
        let Some(found) = self.get(id, &path, monitor).await? else { return Ok(None) };
        let Product::Podman { api } = &self.product else { return Ok(Some(found)) };
        // Docker's API does not say that a container has a map of ids by `--userns=auto`.
        let own = self.get(id, &format!("/v{api}/libpod{path}"), monitor).await?;
        Ok(own.map(|own| product::with_podmans(found, &own)))
    }

    /// Returns the answer to a request about a container; `None` if that does not exist.
    async fn get<T: DeserializeOwned>(&self, id: &str, path: &str, monitor: Option<&dyn Monitor>) -> Result<Option<T>> {
        let answer = match within(REQUEST_LIMIT, monitor, self.transport.get(path)).await {
            // The container was removed since it was listed.
            Err(Fault::Engine(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
            answer => answer.map(Some),
        };
        answer.map_err(|fault| fault.into_error(&format!("cannot inspect container {}", short(id)), &self.address))
    }

    /// Inspects a container that must exist.
    pub(super) async fn present(&self, id: &str, monitor: Option<&dyn Monitor>) -> Result<ContainerInspectResponse> {
        let found = self.inspect(id, monitor).await?;
        found.ok_or_else(|| Error::refused(format!("container {} does not exist any more", short(id))))
    }
}

/// Returns an id as shortened by `docker ps`.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
