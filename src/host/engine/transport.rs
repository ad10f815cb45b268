//! The connections to an engine: one for each request, limited in what is read from it.
//!
//! bollard's own transports have no limits and hide the socket, whose peer `locality` must know.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, body_full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;
use super::fault::Answer;
use super::limited::Limited;

/// The process at the other end of the latest connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer(Arc<Credentials>);

#[derive(Debug, Default)]
struct Credentials {
    pid: AtomicI32,
    uid: AtomicU32,
}

impl Peer {
    /// Returns the id of the process that listens on the Unix socket: 0 if it is in a PID namespace that is not visible
    /// here, or if the connection is not one to a Unix socket (unix(7), `SO_PEERCRED`).
    pub(super) fn pid(&self) -> i32 {
        self.0.pid.load(Ordering::Relaxed)
    }

    /// Returns the user that this process had when it called listen(2); root's if the connection is not one to a Unix
    /// socket.
    pub(super) fn uid(&self) -> u32 {
        self.0.uid.load(Ordering::Relaxed)
    }

    fn set(&self, credentials: UCred) {
        self.0.pid.store(credentials.pid().unwrap_or_default(), Ordering::Relaxed);
        self.0.uid.store(credentials.uid(), Ordering::Relaxed);
    }
}

/// Where to connect to; host names are resolved.
#[derive(Debug)]
enum Endpoint {
    Unix(PathBuf),
    Tcp(Vec<SocketAddr>),
}

/// The way to one engine.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    endpoint: Arc<Endpoint>,
    base: String,
    peer: Peer,
}

impl Transport {
    /// Returns the way to the engine at `address`, which connects for each request and sets `peer`.
    pub(super) async fn to(address: &Address, peer: Peer) -> Answer<Self> {
        let (endpoint, base) = match address {
            // The host name is not used; `docker` and curl send a placeholder too.
            Address::Unix(socket) => (Endpoint::Unix(socket.clone()), "http://localhost".to_owned()),
            Address::Tcp(host) => {
                // Once, because a thread that waits for a name server cannot be interrupted.
                let resolved = tokio::net::lookup_host(host).await?;
                (Endpoint::Tcp(resolved.collect()), format!("http://{host}"))
            }
        };
        Ok(Self { endpoint: Arc::new(endpoint), base, peer })
    }

    /// Returns bollard's client; `limit` is the time limit of a request up to the headers of its answer.
    pub(super) fn client(&self, limit: Duration) -> Answer<Docker> {
        let Self { endpoint, base, peer } = self.clone();
        let transport = move |request: BollardRequest| request_on(Arc::clone(&endpoint), peer.clone(), request);
        Docker::connect_with_custom_transport(transport, Some(base), limit.as_secs(), API_DEFAULT_VERSION)
    }

    /// Returns the answer to a GET request, with the errors that bollard would return.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let request = Request::get(self.uri(path)).body(body_full(Bytes::new())).map_err(std::io::Error::other)?;
        Ok(serde_json::from_slice(&self.answer(request).await?)?)
    }

    /// Returns the body of the answer to a POST request, with the errors that bollard would return.
    pub(super) async fn post(&self, path: &str, content: &impl Serialize) -> Answer<Vec<u8>> {
        let content = body_full(serde_json::to_vec(content)?.into());
        let request = Request::post(self.uri(path)).header(CONTENT_TYPE, "application/json");
        self.answer(request.body(content).map_err(std::io::Error::other)?).await
    }

    fn uri(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn answer(&self, request: BollardRequest) -> Answer<Vec<u8>> {
        let answer = request_on(Arc::clone(&self.endpoint), self.peer.clone(), request).await?;
        let status = answer.status();
        let body = collect(answer.into_body()).await?;
        if status.is_success() {
            return Ok(body);
        }
        let message = match serde_json::from_slice(&body) {
            Ok(Failure { message }) => message,
            Err(_) => String::from_utf8_lossy(&body).into_owned(),
        };
        Err(BollardError::DockerResponseServerError { status_code: status.as_u16(), message })
    }
}

/// The body of an answer that reports an error.
#[derive(Deserialize)]
struct Failure {
    message: String,
}

/// Reads a body, whose size the connection limits.
async fn collect(mut body: Incoming) -> Answer<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

async fn request_on(endpoint: Arc<Endpoint>, peer: Peer, request: BollardRequest) -> Answer<Response<Incoming>> {
    match &*endpoint {
        Endpoint::Unix(socket) => {
            let stream = UnixStream::connect(socket).await?;
            peer.set(stream.peer_cred()?);
            exchange(stream, request).await
        }
        Endpoint::Tcp(addresses) => exchange(TcpStream::connect(&addresses[..]).await?, request).await,
    }
}

/// Sends the request and returns the answer, whose body is still to be read from `stream`.
async fn exchange<S>(stream: S, mut request: BollardRequest) -> Answer<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // RFC 9112, section 3.2: a server gets the path alone, and the host in a header.
    let host = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str()));
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(HOST, host);
    }
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let (mut sender, connection) = http1::handshake(Limited::new(stream)).await?;
    // It reports its errors to the request and to the body as well.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
