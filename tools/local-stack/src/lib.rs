//! Everything that the pipeline talks to, in one process: Kafka, S3 and the API.
//!
//! For the demo it is the program `local-stack`; for tests it is this library:
//!
//! ```no_run
//! use local_stack::s3::{Operation, S3Action, S3Fault};
//! use local_stack::{LocalStack, Options};
//!
//! let stack = LocalStack::start(Options::new("target/stack"))?;
//! let environment = stack.env(); // KAFKA_BOOTSTRAP_SERVERS, AWS_ENDPOINT_URL_S3, API_URL, …
//!
//! // The next PUT is applied, but its answer is lost.
//! if let Some(s3) = stack.s3() {
//!     s3.faults().push(S3Fault::new(S3Action::ApplyThenDrop).on(Operation::PutObject));
//! }
//! # Ok::<(), local_stack::StackError>(())
//! ```
//!
//! Every server listens on 127.0.0.1 alone, unless told otherwise for the API. Objects lie as plain files below the data directory and
//! outlive the process; Kafka's messages, topics and committed offsets do not (see [`kafka`]).

pub mod api;
mod control;
mod env_file;
pub mod faults;
pub mod kafka;
mod listen;
mod proxy;
pub mod s3;
mod stack;

pub use self::api::{ApiOptions, ApiServer, RateLimit};
pub use self::control::{ControlStartError, Fault};
pub use self::env_file::EnvFileError;
pub use self::kafka::{KafkaOptions, Topic};
pub use self::proxy::{Network, ProxyOptions, ProxyStartError, TcpProxy};
pub use self::s3::S3Options;
pub use self::stack::{LocalStack, Options, StackError};
