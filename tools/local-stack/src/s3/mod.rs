//! An S3 server over a plain directory, which can be told to fail.

mod backend;
mod checksum;
mod faults;
mod operations;
mod service;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use self::backend::{Backend, Upstream};
pub use self::faults::{Operation, S3Action, S3Fault};
use self::operations::Operations;
use self::service::FaultyS3;
pub(crate) use self::store::ObjectStore;
use crate::faults::FaultPlan;
use crate::listen::{PortReservation, loopback};

/// The region that clients must sign for.
pub const REGION: &str = "us-east-1";

/// A pause after a failed `accept`, for example when the process has no file descriptor left.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How the S3 server is set up.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// A bucket that is made if it isn't there.
    pub bucket: String,
    /// The one access key id that is let in.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// `None` keeps objects in the data directory. Otherwise requests go to the server at this address as they came, the
    /// keys are that server's, and this one only makes them fail on demand and counts them.
    pub upstream: Option<SocketAddr>,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            port: 0,
            bucket: "names".to_owned(),
            access_key: "local-stack".to_owned(),
            secret_key: "local-stack-secret".to_owned(),
            upstream: None,
        }
    }
}

/// Why the S3 server can't start.
#[derive(Debug, thiserror::Error)]
pub enum S3StartError {
    /// The port can't be had.
    #[error("the S3 server can't listen on 127.0.0.1:{port}; is another program using the port?")]
    Port {
        /// The port asked for; 0 for any.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The directory can't serve as a store.
    #[error("the S3 store in {} can't be opened", data_dir.display())]
    Store {
        /// The data directory.
        data_dir: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// S3 has rules for the names of buckets.
    #[error(
        "{bucket:?} can't be the name of a bucket: 3 to 63 of a-z, 0-9, `-` and `.` are allowed"
    )]
    BucketName {
        /// The name asked for.
        bucket: String,
    },
}

/// Requests by operation and then by outcome: an HTTP status, `not_applied` (cut off before),
/// `answer_lost` (cut off after) or `failed` (no answer could be made). A request whose client went
/// away is not counted.
pub type RequestCounts = BTreeMap<String, BTreeMap<String, u64>>;

/// An S3 server on 127.0.0.1. Dropping it ends it; its directory stays.
#[derive(Debug)]
pub struct S3Server {
    options: S3Options,
    data_dir: PathBuf,
    endpoint: String,
    port: PortReservation,
    runtime: Handle,
    faults: Arc<FaultPlan<S3Fault>>,
    counts: Arc<Mutex<RequestCounts>>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    /// Answers when no connection is left.
    stopped: mpsc::Receiver<()>,
}

impl S3Server {
    /// Starts a server on `runtime` over `data_dir`, and makes its bucket.
    pub(crate) fn open(
        options: S3Options,
        data_dir: PathBuf,
        runtime: Handle,
    ) -> Result<Self, S3StartError> {
        let _context = runtime.enter();
        let port = PortReservation::reserve(loopback(options.port))
            .map_err(|source| S3StartError::Port { port: options.port, source })?;
        let server = Self {
            endpoint: format!("http://{}", port.address()),
            options,
            data_dir,
            port,
            runtime: runtime.clone(),
            faults: Arc::default(),
            counts: Arc::default(),
            running: Mutex::default(),
        };
        server.start()?;
        Ok(server)
    }

    /// The endpoint, such as `http://127.0.0.1:41027`; it stays over a stop and a start. Path style.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The credentials and the bucket.
    pub fn options(&self) -> &S3Options {
        &self.options
    }

    /// The folder with the buckets: an object lies at `BUCKET/KEY` below it.
    pub fn objects_dir(&self) -> PathBuf {
        ObjectStore::objects_dir(&self.data_dir)
    }

    /// What goes wrong next.
    pub fn faults(&self) -> &FaultPlan<S3Fault> {
        &self.faults
    }

    /// The requests answered (or not) so far.
    pub fn request_counts(&self) -> RequestCounts {
        lock(&self.counts).clone()
    }

    /// Begins to serve, on the same port and directory as before. A running server stays as it is.
    pub fn start(&self) -> Result<(), S3StartError> {
        let mut running = lock(&self.running);
        if running.is_some() {
            return Ok(());
        }
        let service = Arc::new(self.service()?);
        let _context = self.runtime.enter();
        let listener = self
            .port
            .listen()
            .map_err(|source| S3StartError::Port { port: self.port.address().port(), source })?;
        let (stop, stop_wanted) = oneshot::channel();
        let (report_stopped, stopped) = mpsc::channel();
        self.runtime.spawn(async move {
            serve(listener, service, stop_wanted).await;
            // Nobody waits for it if the server was dropped together with its runtime.
            let _ = report_stopped.send(());
        });
        *running = Some(Running { stop, stopped });
        Ok(())
    }

    /// Cuts every connection and refuses new ones until the next start: an outage. What was being
    /// applied may or may not be. Blocks the calling thread for the moment that this takes.
    pub fn stop(&self) {
        if let Some(running) = lock(&self.running).take() {
            // Both fail only if the serving task is gone already.
            let _ = running.stop.send(());
            let _ = running.stopped.recv();
        }
    }

    fn service(&self) -> Result<FaultyS3, S3StartError> {
        let backend = match self.options.upstream {
            None => Backend::Embedded(self.embedded()?),
            Some(upstream) => Backend::Upstream(Box::new(Upstream::new(upstream))),
        };
        Ok(FaultyS3::new(backend, Arc::clone(&self.faults), Arc::clone(&self.counts)))
    }

    fn embedded(&self) -> Result<S3Service, S3StartError> {
        let bucket = &self.options.bucket;
        if !s3s::path::check_bucket_name(bucket) {
            return Err(S3StartError::BucketName { bucket: bucket.clone() });
        }
        let store = ObjectStore::open(&self.data_dir)
            .and_then(|store| store.create_bucket(bucket).map(|_| store))
            .map_err(|source| S3StartError::Store {
                data_dir: self.data_dir.clone(),
                source: Box::new(source),
            })?;
        let mut builder = S3ServiceBuilder::new(Operations::new(store));
        let secret_key = self.options.secret_key.as_str();
        builder.set_auth(SimpleAuth::from_single(&self.options.access_key, secret_key));
        Ok(builder.build())
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Accepts connections until told to stop, and then cuts them.
async fn serve(listener: TcpListener, service: Arc<FaultyS3>, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve_connection(stream, peer, Arc::clone(&service)));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting an S3 connection failed");
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, service: Arc<FaultyS3>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY not set");
    }
    let handler = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { service.call(request).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), handler)
        .await;
    if let Err(error) = served {
        // A client went away, or a fault cut the connection on purpose.
        tracing::debug!(%peer, %error, "S3 connection ended early");
    }
}

/// A lock that a panicking test can't poison for the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
