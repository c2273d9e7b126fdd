//! What the release binaries cost on real brokers and a real store: CPU time, memory, messages a
//! second. CPU time is that of the whole process, start and end included, so that other work on the
//! machine changes little of it; messages a second are what this machine gave at that moment.

pub mod all;
pub mod backlog;
pub mod chart;
pub mod freshness;
pub mod growth;
pub mod ingest;
pub mod objects;
pub mod output;
pub mod people;
pub mod rows;
pub mod sink;
pub mod start;
pub mod topic;
pub mod usage;
pub mod world;
