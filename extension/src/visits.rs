//! Visits that an application has gathered. `sql/visits.sql` records them.

use pgrx::prelude::*;
use pgrx::{Array, Uuid};
use std::collections::HashSet;

/// Whether no id is null and none is there twice. Clients usually send ids in order.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_are_distinct",
    immutable,
    parallel_safe
)]
fn are_distinct(ids: Array<'_, Uuid>) -> bool {
    let Some(ids) = ids.iter().collect::<Option<Vec<Uuid>>>() else {
        return false;
    };
    let bytes = || ids.iter().map(Uuid::as_bytes);
    bytes().is_sorted_by(|one, next| one < next) || {
        let mut seen = HashSet::with_capacity(ids.len());
        bytes().all(|id| seen.insert(id))
    }
}
