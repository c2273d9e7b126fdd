//! Knows every message that went into the topic, and compares it with the rows that came out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use serde_json::json;

use crate::rows::Row;

/// Where a folder keeps the messages that its bucket was made of.
const MESSAGES_FILE: &str = "messages.ndjson";
/// Longest wait for a message that should be there.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A message as it lies in Kafka.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The payload; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// In ms.
    pub timestamp: i64,
    /// Name and value of each header.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Sent {
    /// The value of a header, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// Where a message lies.
pub type Coordinates = (i32, i64);

/// Everything in a topic that is committed, read without a group.
pub fn read_topic(bootstrap_servers: &str, topic: &str) -> Result<BTreeMap<Coordinates, Sent>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("group.id", "oracle")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|p| p.id()).collect();
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut messages, mut at_end) = (BTreeMap::new(), BTreeSet::new());
    while at_end.len() < partitions.len() {
        match consumer.poll(TIMEOUT).context("the topic can't be read to its end")? {
            Ok(message) => {
                let headers = message.headers().map(|headers| {
                    headers
                        .iter()
                        .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                        .collect()
                });
                let sent = Sent {
                    payload: message.payload().map(<[u8]>::to_vec),
                    timestamp: message.timestamp().to_millis().unwrap_or(-1),
                    headers: headers.unwrap_or_default(),
                };
                messages.insert((message.partition(), message.offset()), sent);
            }
            Err(KafkaError::PartitionEOF(partition)) => {
                at_end.insert(partition);
            }
            Err(error) => bail!(error),
        }
    }
    Ok(messages)
}

/// Fails if a log was cut at its start, as the embedded cluster does beyond some MB: a test must
/// stay below.
pub fn check_from_the_start(messages: &BTreeMap<Coordinates, Sent>) -> Result<()> {
    let mut firsts = BTreeMap::new();
    for (partition, offset) in messages.keys() {
        firsts.entry(partition).or_insert(*offset);
    }
    for (partition, first) in firsts {
        if first > 0 {
            bail!("partition {partition} begins at {first}: the embedded cluster dropped messages");
        }
    }
    Ok(())
}

/// Writes `messages.ndjson` into `folder`: one JSON object a line and message, in the order of
/// coordinates, with `partition`, `offset`, `timestamp` (ms), `headers` (pairs of texts) and either
/// `payload`, a text or null for a tombstone, or `payload_base64` where the bytes are no UTF-8.
pub fn write_messages(messages: &BTreeMap<Coordinates, Sent>, folder: &Path) -> Result<()> {
    let path = folder.join(MESSAGES_FILE);
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    let mut lines = BufWriter::new(file);
    for ((partition, offset), sent) in messages {
        let headers: Vec<_> = sent
            .headers
            .iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(value)))
            .collect();
        let mut line = json!({
            "partition": partition,
            "offset": offset,
            "timestamp": sent.timestamp,
            "headers": headers,
        });
        match sent.payload.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => line["payload"] = json!(null),
            Some((_, Ok(text))) => line["payload"] = json!(text),
            Some((bytes, Err(_))) => line["payload_base64"] = json!(BASE64.encode(bytes)),
        }
        writeln!(lines, "{line}")?;
    }
    Ok(lines.flush()?)
}

/// What became of the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that should be rows.
    pub expected: usize,
    /// Rows found.
    pub rows: usize,
    /// Messages without a row.
    pub lost: BTreeSet<Coordinates>,
    /// Coordinates with more than one row.
    pub duplicated: BTreeSet<Coordinates>,
    /// Rows whose values differ from their message, or that have none.
    pub wrong: BTreeSet<Coordinates>,
}

impl Verdict {
    /// Each message became exactly one row, with its values.
    pub fn is_exactly_once(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.wrong.is_empty()
    }
}

/// Compares every row, value by value, with the message at its coordinates. `expected` says which
/// messages should be rows. Values are compared as serde_json reads them into a tree, not by the
/// services' decoder.
pub fn judge(
    messages: &BTreeMap<Coordinates, Sent>,
    expected: impl Fn(&Sent) -> bool,
    rows: &[Row],
) -> Result<Verdict> {
    let mut missing: BTreeSet<_> = messages
        .iter()
        .filter(|(_, sent)| expected(sent))
        .map(|(coordinates, _)| *coordinates)
        .collect();
    let mut verdict = Verdict { expected: missing.len(), rows: rows.len(), ..Verdict::default() };
    let mut seen = BTreeSet::new();
    for row in rows {
        let coordinates = (row.partition, row.offset);
        if !seen.insert(coordinates) {
            verdict.duplicated.insert(coordinates);
        }
        let sent = messages.get(&coordinates).filter(|sent| expected(sent));
        if !sent.map(|sent| agrees(row, sent)).transpose()?.unwrap_or(false) {
            verdict.wrong.insert(coordinates);
        }
        missing.remove(&coordinates);
    }
    verdict.lost = missing;
    Ok(verdict)
}

fn agrees(row: &Row, sent: &Sent) -> Result<bool> {
    let payload = std::str::from_utf8(sent.payload.as_deref().unwrap_or_default())?;
    let json: serde_json::Value = serde_json::from_str(payload)?;
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    // Through a tree the digits of a large integer would be lost.
    let after = payload.split_once("\"zip\":").map_or("", |(_, after)| after.trim_start());
    let zip: String =
        after.trim_start_matches('"').chars().take_while(char::is_ascii_digit).collect();
    let [name, gender, address, city, nation, row_zip, email] = &row.text;
    Ok(text("name").as_ref() == Some(name)
        && text("gender").as_ref() == Some(gender)
        && text("address").as_ref() == Some(address)
        && text("city").as_ref() == Some(city)
        && text("nation").as_ref() == Some(nation)
        && text("email").as_ref() == Some(email)
        && *row_zip == zip
        && json["latitude"].as_f64() == Some(row.coordinates[0])
        && json["longitude"].as_f64() == Some(row.coordinates[1])
        && row.timestamp == sent.timestamp)
}
