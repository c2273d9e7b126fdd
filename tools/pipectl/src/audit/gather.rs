//! Looks at the store and at Kafka, with bounded concurrency and memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use chunk_ledger::invariants::{Break, chain_breaks};
use chunk_ledger::{Chunk, Described, Layout, Offset, OffsetRange, Partition, describe as read};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::task::spawn_blocking;

use super::AuditError;
use super::check::{Contents, Dropped, KafkaFacts, Object, ObjectKind};
use super::deep;
use super::finding::{Check, Finding};
use super::footer;
use super::gaps::Gaps;
use super::remote::RemoteObject;
use crate::kafka::{Cluster, ClusterError, KafkaConfig, PartitionOffsets};
use crate::progress;
use crate::store::{Listed, Store, StoreError};

/// Metadata requests at a time: at 30 ms each, 100,000 chunks take a minute and a half.
const HEADS_MAX: usize = 32;
/// Further listings that may be needed to see the chain of a running sink whole.
const LISTINGS_MAX: usize = 3;
/// Objects read at a time. Of those larger than this only what is looked at is fetched, so that all
/// of them together hold some 128 MiB at most.
const OBJECTS_MAX: usize = 32;
const WHOLE_BYTES_MAX: u64 = 4 << 20;

/// Every object below the topic's prefix.
///
/// A listing of many pages is no snapshot: of two chunks stored meanwhile it may show the later one
/// alone, where they lie on different days. What looks like a gap is therefore looked at again; the
/// chunk in front was stored before the one behind, so the next listing shows it.
pub(super) async fn objects(store: &Store, layout: &Layout) -> Result<Vec<Object>, StoreError> {
    let mut objects = describe(store, layout, list(store, layout).await?).await?;
    for _ in 0..LISTINGS_MAX {
        if !has_gaps(&objects) {
            break;
        }
        let known: HashSet<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        let mut listed = list(store, layout).await?;
        listed.retain(|listed| !known.contains(listed.key.as_str()));
        if listed.is_empty() {
            break;
        }
        objects.extend(describe(store, layout, listed).await?);
    }
    Ok(objects)
}

async fn list(store: &Store, layout: &Layout) -> Result<Vec<Listed>, StoreError> {
    let progress = progress::counter("objects listed");
    store.list(&layout.topic_prefix(), |objects| progress.advance(objects)).await
}

/// Asks for the metadata of objects; the answer is in the order of `listed`.
pub(crate) async fn describe(
    store: &Store,
    layout: &Layout,
    listed: Vec<Listed>,
) -> Result<Vec<Object>, StoreError> {
    let progress = progress::bar("metadata", listed.len() as u64);
    stream::iter(listed)
        .map(async |listed| {
            let kind = kind(store, layout, &listed).await?;
            progress.advance(1);
            Ok(Object { key: listed.key, bytes: listed.bytes, kind })
        })
        .buffered(HEADS_MAX)
        .try_collect()
        .await
}

async fn kind(store: &Store, layout: &Layout, listed: &Listed) -> Result<ObjectKind, StoreError> {
    let Some(name) = layout.parse(&listed.key) else { return Ok(ObjectKind::Foreign) };
    let Some(metadata) = store.head(&listed.key).await? else {
        return Ok(ObjectKind::Vanished { name });
    };
    let metadata = match read(layout.topic(), |name| metadata.get(name).map(String::as_str)) {
        Ok(Described::Whole(chunk)) => Ok(chunk),
        Ok(Described::InFooter(opening)) => {
            match footer::chunk(store, layout.topic(), listed, &opening).await? {
                Some(metadata) => metadata,
                None => return Ok(ObjectKind::Vanished { name }),
            }
        }
        Err(error) => Err(error),
    };
    Ok(ObjectKind::Chunk { name, metadata })
}

fn has_gaps(objects: &[Object]) -> bool {
    let mut chains: BTreeMap<Partition, Vec<OffsetRange>> = BTreeMap::new();
    for chunk in objects.iter().filter_map(Object::chunk) {
        chains.entry(chunk.partition).or_default().push(chunk.range);
    }
    chains.into_values().any(|mut ranges| {
        ranges.sort_unstable();
        chain_breaks(&ranges).iter().any(|found| matches!(found, Break::Gap { .. }))
    })
}

/// Reads the objects of all chunks.
pub(super) async fn contents(
    store: &Store,
    topic: &str,
    objects: &[Object],
    kafka: Option<&(Kafka, KafkaFacts)>,
) -> Result<Contents, AuditError> {
    let progress = progress::bar("objects read", objects.len() as u64);
    let facts = kafka.map(|(_, facts)| facts);
    let chunks = objects.iter().filter_map(|object| Some((object, *object.chunk()?)));
    let mut read = stream::iter(chunks)
        .map(async |(object, chunk)| {
            let contents = content(store, topic, object, chunk, facts).await?;
            progress.advance(1);
            Ok::<_, AuditError>((object, chunk, contents))
        })
        .buffered(OBJECTS_MAX);
    let (mut contents, mut gaps) = (Contents::default(), Gaps::default());
    while let Some((object, chunk, deep::Contents { findings, missing })) = read.try_next().await? {
        contents.findings.extend(findings);
        if let Some(facts) = facts {
            gaps.add(&object.key, &chunk, &missing, facts);
        }
    }
    contents.gaps_truncated = gaps.truncated;
    if let Some((kafka, _)) = kafka {
        contents.dropped = kafka.dropped(gaps).await?;
    }
    Ok(contents)
}

async fn content(
    store: &Store,
    topic: &str,
    object: &Object,
    chunk: Chunk,
    kafka: Option<&KafkaFacts>,
) -> Result<deep::Contents, StoreError> {
    let Object { key, bytes, .. } = object;
    let letters: BTreeSet<Offset> = kafka
        .iter()
        .flat_map(|kafka| kafka.dead_letters.letters(chunk.partition, chunk.range))
        .collect();
    let (topic, name) = (topic.to_owned(), key.to_owned());
    let verified = if *bytes <= WHOLE_BYTES_MAX {
        let Some(body) = store.get(key).await? else {
            let message = format!("{key} was listed and is gone: somebody deletes chunks");
            return Ok(Finding::about(Check::Metadata, Some(chunk.partition), key, message).into());
        };
        spawn_blocking(move || deep::verify(&topic, &name, body, &chunk, &letters)).await
    } else {
        let remote = RemoteObject::new(store.clone(), key.clone(), *bytes);
        let reader = remote.clone();
        let verified =
            spawn_blocking(move || deep::verify(&topic, &name, reader, &chunk, &letters)).await;
        match remote.take_failure() {
            Some(failure) => return Err(failure),
            None => verified,
        }
    };
    // Bytes that no reader foresaw are a finding, not the audit's end.
    Ok(verified.unwrap_or_else(|error| deep::unreadable(key, &chunk, &error).into()))
}

/// Kafka, asked in steps: commits before the objects are seen, everything else after.
pub(super) struct Kafka {
    cluster: Arc<Cluster>,
    topic: String,
    committed: BTreeMap<Partition, Option<Offset>>,
}

impl Kafka {
    /// Connects, and reads what `group` has committed.
    pub(super) async fn connect(
        config: &KafkaConfig,
        group: &str,
        topic: &str,
    ) -> Result<Self, ClusterError> {
        let cluster = Arc::new(Cluster::connect(config, Some(group))?);
        let (asked, name) = (Arc::clone(&cluster), topic.to_owned());
        let committed = spawn_blocking(move || {
            let partitions =
                asked.partitions(&name)?.ok_or_else(|| ClusterError::NoTopic(name.clone()))?;
            asked.committed(&name, &partitions)
        });
        Ok(Self { committed: committed.await??, cluster, topic: topic.to_owned() })
    }

    /// Reads the dead letters, where the logs lie, and whether messages wait behind `objects`.
    pub(super) async fn facts(&self, objects: &[Object]) -> Result<KafkaFacts, ClusterError> {
        let (cluster, topic) = (Arc::clone(&self.cluster), self.topic.clone());
        let committed = self.committed.clone();
        let mut stored: BTreeMap<Partition, Offset> = BTreeMap::new();
        for chunk in objects.iter().filter_map(Object::chunk) {
            let end = stored.entry(chunk.partition).or_insert(chunk.range.end);
            *end = chunk.range.end.max(*end);
        }
        spawn_blocking(move || {
            let progress = progress::counter("dead letters read");
            let dead_letters = cluster.dead_letters(&topic, || progress.advance(1))?;
            let mut partitions = BTreeMap::new();
            for (partition, committed) in committed {
                let log = cluster.log_range(&topic, partition)?;
                partitions.insert(partition, PartitionOffsets { committed, log });
            }
            let behind = |(partition, PartitionOffsets { log, .. }): (&_, &PartitionOffsets)| {
                let start = stored.get(partition).copied().unwrap_or(log.start).max(log.start);
                let behind = OffsetRange { start, end: log.end };
                (!behind.is_empty()).then_some((*partition, behind))
            };
            let behind: BTreeMap<_, _> = partitions.iter().filter_map(behind).collect();
            let waiting = cluster.with_messages(&topic, behind.clone())?;
            let nothing_waits = behind.into_keys().filter(|one| !waiting.contains(one)).collect();
            Ok(KafkaFacts { partitions, nothing_waits, dead_letters })
        })
        .await?
    }

    /// Finds the gaps where Kafka has messages.
    async fn dropped(&self, gaps: Gaps) -> Result<Vec<Dropped>, ClusterError> {
        let (cluster, topic) = (Arc::clone(&self.cluster), self.topic.clone());
        spawn_blocking(move || {
            let progress = progress::counter("messages read");
            gaps.ask(&cluster, &topic, || progress.advance(1))
        })
        .await?
    }
}
