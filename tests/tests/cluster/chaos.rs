//! Everything at once: a seeded schedule of faults of the sinks, the store, the brokers and the
//! network, while messages flow.

use anyhow::Result;
use e2e_tests::cluster::{BROKERS, Cluster};
use e2e_tests::flow::Flow;
use e2e_tests::process::Process;
use e2e_tests::scenario::Scenario;
use e2e_tests::{from_environment, seed};
use local_stack::Network;
use local_stack::s3::{Operation, S3Action, S3Fault};

use crate::{
    HASTY, IN_PARTS, PARTITIONS, PARTITIONS_IN_PARTS, all, leave, pass, wait_until_stored,
};

/// Steps of the schedule, unless `CHAOS_STEPS` says otherwise.
const STEPS: usize = 40;

/// What makes objects.
const WRITES: [Operation; 3] =
    [Operation::PutObject, Operation::UploadPart, Operation::CompleteMultipartUpload];

/// The sinks, half of them with a network that may break, and how many there have been.
struct Sinks<'a> {
    scenario: &'a Scenario,
    settings: &'a [(&'static str, &'static str)],
    running: Vec<Process>,
    started: usize,
}

impl Sinks<'_> {
    fn start(&mut self) -> Result<()> {
        let servers = self.scenario.proxied_servers();
        let mut settings = self.settings.to_vec();
        if self.started % 2 == 1 {
            settings.push(("KAFKA_BOOTSTRAP_SERVERS", servers.as_str()));
        }
        let sink = self.scenario.sink(&format!("sink-{}", self.started), &settings)?;
        self.running.push(sink);
        self.started += 1;
        Ok(())
    }
}

#[test]
fn whatever_happens_each_message_is_stored_once() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "chaos", PARTITIONS)?;
    whatever_happens(&scenario, PARTITIONS, &HASTY, scenario.flow(PARTITIONS, 1000)?)
}

#[test]
fn whatever_happens_each_message_is_stored_once_in_parts_too() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "chaos-in-parts", PARTITIONS_IN_PARTS)?;
    let flow = scenario.bulky_flow(PARTITIONS_IN_PARTS, 800)?;
    whatever_happens(&scenario, PARTITIONS_IN_PARTS, &IN_PARTS, flow)
}

fn whatever_happens(
    scenario: &Scenario,
    partitions: i32,
    settings: &[(&'static str, &'static str)],
    flow: Flow,
) -> Result<()> {
    let steps = from_environment("CHAOS_STEPS").unwrap_or(STEPS);
    let mut random = fastrand::Rng::with_seed(seed());
    let mut sinks = Sinks { scenario, settings, running: Vec::new(), started: 0 };
    for _ in 0..3 {
        sinks.start()?;
    }
    for _ in 0..steps {
        pass(&mut random, 100..1000);
        inject_fault(&mut sinks, &mut random)?;
    }
    // What is still broken is mended; what was to come is not waited for.
    scenario.s3()?.faults().clear();
    scenario.set_network(Network::Up);
    let sent = flow.stop()?;
    wait_until_stored(partitions, &sinks.running)?;
    leave(&mut sinks.running)?;
    assert_eq!(scenario.finish(all)?.rows as u64, sent);
    Ok(())
}

/// One fault of a random kind.
fn inject_fault(sinks: &mut Sinks<'_>, random: &mut fastrand::Rng) -> Result<()> {
    let scenario = sinks.scenario;
    let victim = random.usize(..sinks.running.len());
    match random.u32(..10) {
        0..=2 => {
            sinks.running.remove(victim).kill()?;
            sinks.start()
        }
        3 => {
            // Longer than its session, or not.
            sinks.running[victim].pause()?;
            pass(random, 100..6000);
            sinks.running[victim].resume()
        }
        4 => {
            sinks.start()?;
            leave([&mut sinks.running.remove(victim)])
        }
        5 => {
            scenario.set_network(
                random.choice([Network::Stalled, Network::Down]).unwrap_or(Network::Down),
            );
            pass(random, 100..6000);
            scenario.set_network(Network::Up);
            Ok(())
        }
        6 => {
            let broker = format!("broker-{}", random.u16(1..=BROKERS));
            scenario.cluster()?.kill(&broker)?;
            pass(random, 100..2000);
            scenario.cluster()?.start(&broker)
        }
        7 => {
            scenario.cluster()?.kill("store")?;
            pass(random, 100..2000);
            scenario.cluster()?.start("store")
        }
        8 => {
            // Writes that come late, after whatever happens meanwhile.
            let faults = scenario.s3()?.faults();
            for operation in WRITES {
                let late = S3Fault::new(S3Action::Hold).on(operation).key_contains("date=");
                faults.push(late.times(random.u64(1..4)));
            }
            pass(random, 100..4000);
            faults.clear();
            Ok(())
        }
        _ => {
            let action = random.choice([
                S3Action::SlowDown,
                S3Action::Conflict,
                S3Action::DropBefore,
                S3Action::DropInBody { bytes: 500 },
                S3Action::ApplyThenDrop,
                S3Action::ApplyThenInternalError,
            ]);
            let fault = S3Fault::new(action.unwrap_or(S3Action::InternalError));
            scenario.s3()?.faults().push(fault.key_contains("date=").times(random.u64(1..6)));
            Ok(())
        }
    }
}
