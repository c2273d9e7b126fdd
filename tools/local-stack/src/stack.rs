//! The parts put together: started, found through the environment, and stopped as one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::api::{ApiOptions, ApiServer, ApiStartError};
use crate::control::{ControlServer, ControlStartError};
use crate::env_file::{self, EnvFileError};
use crate::kafka::{KafkaCluster, KafkaClusterError, KafkaOptions};
use crate::proxy::{ProxyOptions, ProxyStartError, TcpProxy};
use crate::s3::{REGION, S3Options, S3Server, S3StartError};

/// The servers' threads. Files are written by tokio's own pool besides them.
const WORKER_THREADS: usize = 2;

/// The file of shell exports, below the data directory.
const ENV_FILE: &str = "env";

/// What a stack consists of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the objects and the lock file lie; made if it isn't there.
    pub data_dir: PathBuf,
    /// `None` leaves Kafka out.
    pub kafka: Option<KafkaOptions>,
    /// `None` leaves S3 out.
    pub s3: Option<S3Options>,
    /// `None` leaves the API out.
    pub api: Option<ApiOptions>,
    /// TCP proxies in front of servers elsewhere.
    pub proxies: Vec<ProxyOptions>,
    /// The port of the control endpoint, 0 for a free one; `None` leaves it out.
    pub control_port: Option<u16>,
}

impl Options {
    /// Every part, on free ports.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            kafka: Some(KafkaOptions::default()),
            s3: Some(S3Options::default()),
            api: Some(ApiOptions::default()),
            proxies: Vec::new(),
            control_port: Some(0),
        }
    }

    /// S3 alone, with the rest left out.
    pub fn s3_only(data_dir: impl Into<PathBuf>) -> Self {
        Self { kafka: None, api: None, control_port: None, ..Self::new(data_dir) }
    }
}

/// Why a stack can't start, or a part of it can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Two stacks over one directory would remove each other's half-written objects.
    #[error(
        "another local stack is running on {}; stop it, or choose another data directory",
        data_dir.display()
    )]
    DataDirInUse {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The directory can't be made, or locked.
    #[error("the data directory {} can't be used", data_dir.display())]
    DataDir {
        /// The data directory.
        data_dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The servers' threads can't be started.
    #[error("the runtime of the servers can't start")]
    Runtime(#[source] io::Error),
    /// The part was left out in the options.
    #[error("this stack has no {part}: it was left out in its options")]
    NoSuchPart {
        /// `Kafka`, `S3` or `API`.
        part: &'static str,
    },
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaClusterError),
    /// S3.
    #[error(transparent)]
    S3(#[from] S3StartError),
    /// The API.
    #[error(transparent)]
    Api(#[from] ApiStartError),
    /// A proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyStartError),
    /// The control endpoint.
    #[error(transparent)]
    Control(#[from] ControlStartError),
    /// The file of exports.
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
}

/// A running stack. Dropping it stops every part; the objects stay.
///
/// It has threads of its own and no async function has to be awaited, so that it serves synchronous
/// code and tests on any runtime. Its methods may block for milliseconds.
#[derive(Debug)]
pub struct LocalStack {
    data_dir: PathBuf,
    parts: Option<Arc<Parts>>,
    control: Option<ControlServer>,
    runtime: Option<Runtime>,
    /// Held, not read: the lock ends with the file handle, also by kill -9.
    _lock: File,
}

/// What the control endpoint needs to reach.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) kafka: Option<KafkaCluster>,
    pub(crate) s3: Option<S3Server>,
    pub(crate) api: Option<ApiServer>,
    pub(crate) proxies: Vec<TcpProxy>,
}

impl LocalStack {
    /// Starts the parts; when it returns, all of them answer.
    pub fn start(options: Options) -> Result<Self, StackError> {
        let Options { data_dir, kafka, s3, api, proxies, control_port } = options;
        let lock = lock_data_dir(&data_dir)?;
        // One may be left from a crash, and whoever waits for the file must not find that one.
        env_file::remove(&data_dir.join(ENV_FILE))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("local-stack")
            .enable_all()
            .build()
            .map_err(StackError::Runtime)?;
        let handle = runtime.handle().clone();
        // From here on an early return drops `stack`, which stops what has started.
        let mut stack = Self {
            data_dir: data_dir.clone(),
            parts: None,
            control: None,
            runtime: Some(runtime),
            _lock: lock,
        };
        let parts = Parts {
            kafka: kafka.map(KafkaCluster::start).transpose()?,
            s3: s3.map(|s3| S3Server::open(s3, data_dir, handle.clone())).transpose()?,
            api: api.map(|api| ApiServer::open(api, &handle)).transpose()?,
            proxies: proxies
                .into_iter()
                .map(|proxy| TcpProxy::open(proxy, &handle))
                .collect::<Result<_, _>>()?,
        };
        let parts = Arc::new(parts);
        stack.control = control_port
            .map(|port| ControlServer::open(port, Arc::downgrade(&parts), &handle))
            .transpose()?;
        stack.parts = Some(parts);
        Ok(stack)
    }

    /// The variables that point the services at this stack.
    pub fn env(&self) -> Result<Vec<(String, String)>, StackError> {
        let mut variables = Vec::new();
        let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
        if let Some(kafka) = self.kafka() {
            set("KAFKA_BOOTSTRAP_SERVERS", &kafka.bootstrap_servers()?);
            if let Some(topic) = kafka.options().topics.first() {
                set("KAFKA_TOPIC", &topic.name);
            }
        }
        if let Some(s3) = self.s3() {
            set("AWS_ENDPOINT_URL_S3", s3.endpoint());
            set("AWS_REGION", REGION);
            set("AWS_ACCESS_KEY_ID", &s3.options().access_key);
            set("AWS_SECRET_ACCESS_KEY", &s3.options().secret_key);
            set("S3_BUCKET", &s3.options().bucket);
        }
        if let Some(api) = self.api() {
            set("API_URL", api.url());
        }
        if let Some(url) = self.control_url() {
            set("LOCAL_STACK_CONTROL_URL", url);
        }
        Ok(variables)
    }

    /// Where the file of shell exports lies.
    pub fn env_file(&self) -> PathBuf {
        self.data_dir.join(ENV_FILE)
    }

    /// Writes [`env`](Self::env) and `more` as shell exports. The file appears complete, and goes
    /// when the stack stops, so that nobody is pointed at one that has gone.
    pub fn write_env_file(&self, more: &[(String, String)]) -> Result<(), StackError> {
        let variables = [self.env()?, more.to_vec()].concat();
        Ok(env_file::write(&self.env_file(), &variables)?)
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Kafka, unless left out.
    pub fn kafka(&self) -> Option<&KafkaCluster> {
        self.parts.as_ref()?.kafka.as_ref()
    }

    /// S3, unless left out.
    pub fn s3(&self) -> Option<&S3Server> {
        self.parts.as_ref()?.s3.as_ref()
    }

    /// The API, unless left out.
    pub fn api(&self) -> Option<&ApiServer> {
        self.parts.as_ref()?.api.as_ref()
    }

    /// The proxies, in the order of their options.
    pub fn proxies(&self) -> &[TcpProxy] {
        self.parts.as_ref().map_or(&[], |parts| &parts.proxies)
    }

    /// The control endpoint, such as `http://127.0.0.1:41027`, unless left out.
    pub fn control_url(&self) -> Option<&str> {
        self.control.as_ref().map(ControlServer::url)
    }

    /// An outage of S3: connections are cut, and refused until [`start_s3`](Self::start_s3).
    pub fn stop_s3(&self) -> Result<(), StackError> {
        self.s3().ok_or(StackError::NoSuchPart { part: "S3" })?.stop();
        Ok(())
    }

    /// Ends the outage, on the same port and with the same objects.
    pub fn start_s3(&self) -> Result<(), StackError> {
        Ok(self.s3().ok_or(StackError::NoSuchPart { part: "S3" })?.start()?)
    }

    /// Stops every part. Dropping does the same.
    pub fn stop(self) {}
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        if let Err(error) = env_file::remove(&self.env_file()) {
            tracing::warn!(error = &error as &dyn std::error::Error, "exports left behind");
        }
        self.control = None;
        self.parts = None;
        if let Some(runtime) = self.runtime.take() {
            // In the background: an async test that drops a stack isn't allowed to wait for threads.
            runtime.shutdown_background();
        }
    }
}

fn lock_data_dir(data_dir: &Path) -> Result<File, StackError> {
    let failed = |source| StackError::DataDir { data_dir: data_dir.to_owned(), source };
    fs::create_dir_all(data_dir).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data_dir.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StackError::DataDirInUse { data_dir: data_dir.to_owned() })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
