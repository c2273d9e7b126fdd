//! `audit`: is every offset of the topic stored exactly once?
//!
//! Looking (`gather`) and judging ([`check()`](check::check)) are apart: the judge is a pure
//! function over what was seen.

pub mod check;
mod deep;
pub mod finding;
mod footer;
mod gaps;
mod gather;
mod partition;
mod remote;
pub mod report;

use chunk_ledger::Layout;

use crate::kafka::{ClusterError, KafkaConfig};
use crate::store::{Store, StoreConfig, StoreError};

pub use check::{Contents, Dropped, Evidence, KafkaFacts, Object, ObjectKind, check};
pub use finding::{Check, Finding};
pub(crate) use gather::describe;
pub use report::{PartitionReport, Report, Totals};

/// What to audit, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// The bucket.
    pub store: StoreConfig,
    /// The topic and where its chunks lie.
    pub layout: Layout,
    /// The brokers; `None` to ask the store alone.
    pub kafka: Option<KafkaConfig>,
    /// The consumer group of the sink.
    pub group: String,
    /// Read every object, too.
    pub deep: bool,
    /// A lag is a finding.
    pub expect_drained: bool,
}

/// Why an audit could not be made. Nothing is known then.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The brokers did not answer.
    #[error(transparent)]
    Kafka(#[from] ClusterError),
}

/// Looks at everything and judges it. Reads only; the sink may run meanwhile.
pub async fn run(config: &AuditConfig) -> Result<Report, AuditError> {
    let layout = &config.layout;
    let store = Store::connect(&config.store).await?;
    // The order matters, see `Evidence`: a running sink stores before it commits.
    let kafka = match &config.kafka {
        Some(kafka) => Some(gather::Kafka::connect(kafka, &config.group, layout.topic()).await?),
        None => None,
    };
    let objects = gather::objects(&store, layout).await?;
    let kafka = match kafka {
        Some(kafka) => {
            let facts = kafka.facts(&objects).await?;
            Some((kafka, facts))
        }
        None => None,
    };
    let contents = match config.deep {
        true => Some(gather::contents(&store, layout.topic(), &objects, kafka.as_ref()).await?),
        false => None,
    };
    Ok(check(Evidence {
        layout,
        objects: &objects,
        kafka: kafka.as_ref().map(|(_, facts)| facts),
        contents,
        group: &config.group,
        expect_drained: config.expect_drained,
    }))
}
