//! The admin API: topics are created and their configuration is read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{
    ClusterError, Complaints, KafkaConfig, answered, client_config, is_missing, refused,
    refused_config,
};
use crate::topics::TopicSpec;

/// A client of the admin API.
pub struct Admin {
    client: AdminClient<Complaints>,
    timeout: Duration,
}

/// What became of a request to create a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was created.
    Yes,
    /// Somebody else was faster.
    Exists,
    /// There are too few brokers; perhaps more are about to start.
    TooFewBrokers,
}

impl Admin {
    /// Makes no request yet.
    pub fn connect(config: &KafkaConfig) -> Result<Self, ClusterError> {
        let client = client_config(config)
            .create_with_context::<_, AdminClient<Complaints>>(Complaints::default())
            .map_err(refused_config)?;
        Ok(Self { client, timeout: config.timeout })
    }

    /// Asks for a topic.
    pub async fn create(&self, spec: &TopicSpec) -> Result<Created, ClusterError> {
        let what = || format!("can't create topic {:?}", spec.name);
        let replication = TopicReplication::Fixed(spec.replication);
        let topic = NewTopic::new(&spec.name, spec.partitions, replication);
        let topic = spec.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let answer = self.client.create_topics([&topic], &self.options()).await;
        let results = answer.map_err(|error| failed("CreateTopics", what(), &error))?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(Created::Yes),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Created::Exists),
            Some(Err((_, RDKafkaErrorCode::InvalidReplicationFactor))) => {
                Ok(Created::TooFewBrokers)
            }
            Some(Err((_, code))) => Err(answered(what(), code)),
            None => Err(refused(what(), &"the brokers' answer names no topic")),
        }
    }

    /// The configuration of a topic, defaults included; `None` if there is no such topic.
    ///
    /// Every broker knows it, so `broker` is asked. Any other admin request waits for the
    /// controller, which brokers without an admin API do not have.
    pub async fn configuration(
        &self,
        topic: &str,
        broker: i32,
    ) -> Result<Option<BTreeMap<String, String>>, ClusterError> {
        let what = || format!("can't read the configuration of topic {topic:?}");
        let wanted = [ResourceSpecifier::Topic(topic)];
        let options = self.options().broker_id(broker);
        let answer = self.client.describe_configs(&wanted, &options).await;
        let results = answer.map_err(|error| failed("DescribeConfigs", what(), &error))?;
        let resource = match results.into_iter().next() {
            Some(Ok(resource)) => resource,
            Some(Err(code)) if is_missing(Some(code)) => return Ok(None),
            Some(Err(code)) => return Err(answered(what(), code)),
            None => return Err(refused(what(), &"the brokers' answer names no topic")),
        };
        let entries = resource.entries.into_iter();
        Ok(Some(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()))
    }

    fn options(&self) -> AdminOptions {
        let timeout = Some(self.timeout);
        AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

fn failed(request: &'static str, what: String, error: &KafkaError) -> ClusterError {
    match error {
        KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature) => {
            ClusterError::NoAdminApi(request)
        }
        error => match error.rdkafka_error_code() {
            Some(code) => answered(what, code),
            None => refused(what, error),
        },
    }
}
