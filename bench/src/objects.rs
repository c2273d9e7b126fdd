//! Objects as a reader sees them: when each is first on a list, and since when its rows have waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use chunk_ledger::{Described, Layout, Offset, Partition, Timestamp, describe};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::world::World;

/// From one LIST of a partition's objects to the next.
const INTERVAL: Duration = Duration::from_millis(10);

/// The objects of one topic.
#[derive(Debug)]
pub struct Objects {
    place: Place,
    runtime: Runtime,
}

#[derive(Debug, Clone)]
struct Place {
    client: Client,
    bucket: String,
    layout: Layout,
}

/// Looks for new objects until it is told to stop.
#[derive(Debug)]
pub struct Watch<'a> {
    runtime: &'a Runtime,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<Seen>>>,
}

/// The objects of one partition, and how many lists it took to see them.
type Seen = (Vec<Listed>, u64);

/// An object, once it is on a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When the first list that has it had come, in seconds since the epoch.
    pub listed_at: f64,
}

impl Objects {
    /// With the AWS SDK's settings of the environment. Makes no request.
    pub fn connect(world: &World) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let endpoint = std::env::var("AWS_ENDPOINT_URL_S3").or(std::env::var("AWS_ENDPOINT_URL"));
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if endpoint.as_ref().is_ok_and(|endpoint| endpoint.starts_with("http://")) {
            // The SDK's own client wants CA certificates, and a machine may have none.
            loader = loader.http_client(aws_smithy_http_client::Builder::new().build_http());
        }
        let shared = runtime.block_on(loader.load());
        let settings =
            aws_sdk_s3::config::Builder::from(&shared).force_path_style(endpoint.is_ok()).build();
        let place = Place {
            client: Client::from_conf(settings),
            bucket: world.setting("S3_BUCKET")?.to_owned(),
            layout: Layout::new(world.setting("S3_PREFIX")?, world.topic_name()),
        };
        Ok(Self { place, runtime })
    }

    /// Begins to look for objects of so many partitions.
    pub fn watch(&self, partitions: i32) -> Watch<'_> {
        let stop = Arc::new(AtomicBool::new(false));
        let follow = |partition| {
            let follow = follow(self.place.clone(), Partition(partition), Arc::clone(&stop));
            self.runtime.spawn(follow)
        };
        let tasks = (0..partitions).map(follow).collect();
        Watch { runtime: &self.runtime, stop, tasks }
    }

    /// Kafka's stamp of an object's first message, in seconds since the epoch.
    pub fn first_timestamp(&self, key: &str) -> Result<f64> {
        let Place { client, bucket, layout } = &self.place;
        let head = self.runtime.block_on(client.head_object().bucket(bucket).key(key).send());
        let head = head.with_context(|| format!("HEAD {bucket}/{key}"))?;
        let get = |name: &str| head.metadata()?.get(name).map(String::as_str);
        let described = describe(layout.topic(), get);
        let first = match described.with_context(|| format!("the metadata of {bucket}/{key}"))? {
            Described::Whole(chunk) => chunk.first,
            Described::InFooter(opening) => opening.first,
        };
        Ok(first.timestamp.0 as f64 / 1000.0)
    }
}

impl Watch<'_> {
    /// Ends it: every object that came, and the number of lists that were asked for.
    pub fn finish(self) -> Result<(Vec<Listed>, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut listed, mut lists) = (Vec::new(), 0);
        for task in self.tasks {
            let (more, asked) = self.runtime.block_on(task)??;
            listed.extend(more);
            lists += asked;
        }
        Ok((listed, lists))
    }
}

/// Lists what comes after the last object that is known, so that a list stays short.
async fn follow(
    place: Place,
    partition: Partition,
    stop: Arc<AtomicBool>,
) -> Result<(Vec<Listed>, u64)> {
    let Place { client, bucket, layout } = place;
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut listed, mut lists): (Vec<Listed>, _) = (Vec::new(), 0);
    loop {
        // One more list after the stop: it is asked for when everything is there.
        let is_last = stop.load(Ordering::Relaxed);
        let today = Timestamp(i64::try_from(since_epoch()?.as_millis())?).day();
        let first = layout.key(partition, today, Offset(0));
        let prefix = first.trim_end_matches(|end: char| end != '+');
        let last = listed.last().map(|last| last.key.clone());
        let list = client.list_objects_v2().bucket(&bucket).prefix(prefix).set_start_after(last);
        let page = list.send().await.with_context(|| format!("LIST {bucket}/{prefix}"))?;
        let listed_at = since_epoch()?.as_secs_f64();
        let keys = page.contents.into_iter().flatten().filter_map(|object| object.key);
        listed.extend(keys.map(|key| Listed { key, listed_at }));
        lists += 1;
        if is_last {
            return Ok((listed, lists));
        }
        interval.tick().await;
    }
}

fn since_epoch() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}
