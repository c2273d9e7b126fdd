//! Messages that keep coming while a test makes things fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use crate::scenario::NewMessage;

/// How often a few messages are made.
const INTERVAL: Duration = Duration::from_millis(10);
/// Longest wait for the brokers to have all of them, once no fault is left.
const FLUSH_SECONDS_MAX: u64 = 90;

/// Makes the message of this number for this partition: [`NewMessage::valid`], for example.
pub type Make = fn(partition: i32, number: u64) -> Result<NewMessage>;

/// A thread that produces valid messages, numbered from 0, whatever happens to the brokers: the
/// producer is idempotent and never gives one up.
#[derive(Debug)]
pub struct Flow {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Flow {
    /// Begins with so many of `make`'s messages a second, spread over `partitions`.
    pub fn start(
        bootstrap_servers: &str,
        topic: &str,
        partitions: i32,
        per_second: u32,
        make: Make,
    ) -> Result<Self> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "5")
            .set("compression.codec", "lz4")
            .create()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (asked_to_stop, topic) = (Arc::clone(&stop), topic.to_owned());
        let thread = std::thread::spawn(move || {
            produce(&producer, &topic, (partitions, per_second, make), &asked_to_stop)
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it, and returns how many messages the brokers have acknowledged: all that were made.
    pub fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the flow has ended before")?;
        thread.join().map_err(|_| anyhow!("the flow panicked"))?
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // A test that fails does not wait for it.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn produce(
    producer: &BaseProducer,
    topic: &str,
    (partitions, per_second, make): (i32, u32, Make),
    stop: &AtomicBool,
) -> Result<u64> {
    let (begun, mut made) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        while made < due {
            let message = make(i32::try_from(made % u64::try_from(partitions)?)?, made)?;
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(message.partition);
            record.payload = message.payload.as_deref();
            match producer.send(record) {
                Ok(()) => made += 1,
                // Made later: the brokers are away for long.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => return Err(error.into()),
            }
        }
        producer.poll(INTERVAL);
    }
    producer.flush(Duration::from_secs(FLUSH_SECONDS_MAX))?;
    ensure!(producer.in_flight_count() == 0, "the brokers have not acknowledged every message");
    Ok(made)
}
