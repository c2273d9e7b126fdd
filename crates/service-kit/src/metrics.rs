//! A service's own Prometheus registry, with constructors that register what they make.
//!
//! Names are given in full (`ingestor_users_total`), so that a search for a metric finds its source.
//! Labelled counters are zero-initialised: a series that never happened reads 0, not nothing.

use std::sync::Arc;

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, Opts, Registry, TextEncoder,
};

pub use prometheus::Error as MetricsError;

/// What the `{service}_build_info` gauge tells about the binary.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo<'a> {
    /// Metric prefix of the service: `ingestor`, `s3_sink`.
    pub service: &'a str,
    /// The binary's version, `env!("CARGO_PKG_VERSION")`.
    pub version: &'a str,
    /// The source revision, if the build knows it: `option_env!("BUILD_REVISION")`.
    pub revision: Option<&'a str>,
}

/// The metrics of one process. Clones share one registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Metric prefix of the service.
    service: Arc<str>,
}

impl Metrics {
    /// A registry with the process's own metrics (CPU, memory, files; Linux only) and
    /// `{service}_build_info` = 1.
    pub fn new(build: BuildInfo<'_>) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let metrics = Self { registry, service: build.service.into() };
        let info = metrics.int_gauge_with_labels(
            &format!("{}_build_info", build.service),
            "1, with the version of the running binary",
            &[("version", build.version), ("revision", build.revision.unwrap_or(""))],
        )?;
        info.set(1);
        Ok(metrics)
    }

    /// A counter of events: its name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        self.registered(IntCounter::new(name, help)?)
    }

    /// A counter with one label, zero-initialised for each of `values`.
    pub fn counter_vec(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> Result<IntCounterVec, MetricsError> {
        let counters = self.registered(IntCounterVec::new(Opts::new(name, help), &[label])?)?;
        for value in values {
            counters.get_metric_with_label_values(&[value])?;
        }
        Ok(counters)
    }

    /// A gauge that holds a whole number.
    pub fn int_gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        self.registered(IntGauge::new(name, help)?)
    }

    /// A gauge that holds a whole number, with constant labels.
    pub fn int_gauge_with_labels(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<IntGauge, MetricsError> {
        let opts = labels
            .iter()
            .fold(Opts::new(name, help), |opts, (label, value)| opts.const_label(*label, *value));
        self.registered(IntGauge::with_opts(opts)?)
    }

    /// A gauge that holds a fraction, such as a time in seconds.
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge, MetricsError> {
        self.registered(Gauge::new(name, help)?)
    }

    /// A gauge with labels whose values are not known beforehand, such as a partition.
    pub fn gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, MetricsError> {
        self.registered(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A histogram with these upper bounds, in the metric's base unit.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, MetricsError> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.registered(Histogram::with_opts(opts)?)
    }

    /// A histogram with one label, zero-initialised for each of `values`.
    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        label: &str,
        values: &[&str],
    ) -> Result<HistogramVec, MetricsError> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histograms = self.registered(HistogramVec::new(opts, &[label])?)?;
        for value in values {
            histograms.get_metric_with_label_values(&[value])?;
        }
        Ok(histograms)
    }

    /// The prefix of the service's own metrics: `ingestor`, `s3_sink`.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The registry, for collectors that have no constructor here.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Every metric in the Prometheus text format.
    pub fn encode(&self) -> Result<String, MetricsError> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// The content type of [`encode`](Self::encode)'s text.
    pub fn content_type() -> String {
        TextEncoder::new().format_type().to_string()
    }

    fn registered<C>(&self, collector: C) -> Result<C, MetricsError>
    where
        C: prometheus::core::Collector + Clone + 'static,
    {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(BuildInfo { service: "demo", version: "1.2.3", revision: Some("abc") })
            .unwrap()
    }

    #[test]
    fn build_info_and_zeroes_are_there_from_the_start() {
        let metrics = metrics();
        metrics.counter_vec("demo_runs_total", "runs", "outcome", &["ok", "failed"]).unwrap();
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"demo_build_info{revision="abc",version="1.2.3"} 1"#), "{text}");
        assert!(text.contains(r#"demo_runs_total{outcome="failed"} 0"#), "{text}");
        assert!(text.contains(r#"demo_runs_total{outcome="ok"} 0"#), "{text}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_tells_about_itself() {
        assert!(metrics().encode().unwrap().contains("process_resident_memory_bytes"));
    }

    #[test]
    fn a_name_can_be_registered_once_only() {
        let metrics = metrics();
        metrics.counter("demo_total", "first").unwrap();
        assert!(metrics.counter("demo_total", "second").is_err());
    }
}
