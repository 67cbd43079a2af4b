//! Chance, so that processes do not act in step.

use uuid::Uuid;

/// A random number from 0 to 1.
pub(crate) fn fraction() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}
