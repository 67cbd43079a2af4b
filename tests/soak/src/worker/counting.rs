//! The counters of the cache, for the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::Result;

/// The client's counters by name.
pub type Counts = BTreeMap<String, u64>;

/// A recorder that only supports counters.
#[derive(Clone, Default)]
pub(super) struct Counting(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

/// Installs the recorder in this process.
pub(super) fn install() -> Result<Counting> {
    let counting = Counting::default();
    metrics::set_global_recorder(counting.clone())
        .map_err(|_| "this process already has a recorder")?;
    Ok(counting)
}

/// The file to which a process writes its counters.
pub(crate) fn path(folder: &Path, process: usize) -> PathBuf {
    folder.join(format!("counts-{process}.json"))
}

impl Counting {
    pub(super) fn counts(&self) -> Counts {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counters.iter();
        counts
            .map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed)))
            .collect()
    }
}

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counters.entry(key.name().to_owned()).or_default();
        Counter::from_arc(Arc::clone(count))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
