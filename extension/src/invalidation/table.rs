//! Tables of the extension that are read and written without SQL: the caller has no privileges on
//! them, and no trigger or policy that their owner may add must run.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Where a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    block: u32,
    offset: u16,
}

/// A table of the schema `qsessions`. The transaction keeps its lock until its end.
pub(super) struct Table(pg_sys::Relation);

/// A row, and where it is.
pub(super) struct Row<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

impl Place {
    fn of(tid: pg_sys::ItemPointerData) -> Self {
        let (high, low) = (tid.ip_blkid.bi_hi, tid.ip_blkid.bi_lo);
        Self {
            block: u32::from(high) << 16 | u32::from(low),
            offset: tid.ip_posid,
        }
    }

    fn tid(self) -> pg_sys::ItemPointerData {
        pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: (self.block >> 16) as u16,
                bi_lo: self.block as u16,
            },
            ip_posid: self.offset,
        }
    }
}

const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
const NO_LOCK: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

impl Table {
    /// Opens a table. `None` if there is none with columns of these types: the library is newer
    /// than the objects of the extension, or the extension was dropped.
    pub(super) fn open(name: &CStr, columns: &[pg_sys::Oid]) -> Option<Self> {
        let id = find(name)?;
        // SAFETY: opens the table if it still exists.
        Self::with_columns(unsafe { pg_sys::try_table_open(id, LOCK) }, columns)
    }

    /// As [`open`](Self::open), but `None` also if its lock is not free.
    pub(super) fn open_without_waiting(name: &CStr, columns: &[pg_sys::Oid]) -> Option<Self> {
        let id = find(name)?;
        // SAFETY: locks the table, and then opens it if it still exists.
        let table = unsafe {
            if !pg_sys::ConditionalLockRelationOid(id, LOCK) {
                return None;
            }
            pg_sys::try_table_open(id, NO_LOCK)
        };
        Self::with_columns(table, columns)
    }

    /// The table, which is null or open, if it has columns of these types.
    fn with_columns(table: pg_sys::Relation, columns: &[pg_sys::Oid]) -> Option<Self> {
        if table.is_null() {
            return None;
        }
        let table = Self(table);
        // SAFETY: the table is open.
        let has_columns = unsafe {
            let description = (*table.0).rd_att;
            (*description).natts as usize == columns.len()
                && (1..)
                    .zip(columns)
                    .all(|(number, column)| pg_sys::SPI_gettypeid(description, number) == *column)
        };
        has_columns.then_some(table)
    }

    /// The file of the table. It is another one if the rows have got other places.
    pub(super) fn file(&self) -> u32 {
        // SAFETY: the table is open.
        unsafe { (*(*self.0).rd_rel).relfilenode.to_u32() }
    }

    /// Inserts a row of values that are not null.
    ///
    /// # Safety
    ///
    /// The values are of the types of the columns.
    pub(super) unsafe fn insert(&self, values: &mut [pg_sys::Datum]) -> Place {
        let mut nulls = vec![false; values.len()];
        // SAFETY: the table is open, and there is a value for each column. No subscriber of a
        // publication needs the row.
        unsafe {
            let tuple =
                pg_sys::heap_form_tuple((*self.0).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::heap_insert(
                self.0,
                tuple,
                pg_sys::GetCurrentCommandId(true),
                pg_sys::HEAP_INSERT_NO_LOGICAL as i32,
                std::ptr::null_mut(),
            );
            let place = Place::of((*tuple).t_self);
            pg_sys::heap_freetuple(tuple);
            place
        }
    }

    /// Deletes a row.
    pub(super) fn delete(&self, place: Place) {
        let mut tid = place.tid();
        // SAFETY: an open table and one of its rows. If another transaction is deleting the row by
        // hand at this moment, it is not waited for: an extra notification does no harm.
        unsafe {
            let mut failure = std::mem::zeroed();
            pg_sys::heap_delete(
                self.0,
                &raw mut tid,
                pg_sys::GetCurrentCommandId(true),
                std::ptr::null_mut(),
                false,
                &raw mut failure,
                false,
            );
        }
    }

    /// The rows that are committed at this moment. No column of them may be null.
    pub(super) fn rows<T>(&self, read: impl Fn(&[pg_sys::Datum]) -> T) -> Vec<Row<T>> {
        let mut rows = Vec::new();
        // SAFETY: the snapshot shows what is committed at this moment. It takes no part in the
        // checks of serializable transactions, which must not fail each other here. The tuples are
        // those of the table.
        unsafe {
            self.scan(&raw mut pg_sys::SnapshotSelfData, |tuple| {
                rows.push(Row {
                    place: Place::of(tuple.t_self),
                    value: read(&self.values(tuple)),
                });
            });
        }
        rows
    }

    /// The places of all rows that are committed, or may yet be, and the transactions that have
    /// inserted them.
    pub(super) fn places(&self) -> Vec<(Place, pg_sys::TransactionId)> {
        let mut places = Vec::new();
        // SAFETY: this snapshot also shows what transactions in progress have inserted. A tuple has
        // a header.
        unsafe {
            let mut snapshot: pg_sys::SnapshotData = std::mem::zeroed();
            snapshot.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_DIRTY;
            self.scan(&raw mut snapshot, |tuple| {
                let inserted_by = (*tuple.t_data).t_choice.t_heap.t_xmin;
                places.push((Place::of(tuple.t_self), inserted_by));
            });
        }
        places
    }

    /// # Safety
    ///
    /// The snapshot is one that needs no registration.
    unsafe fn scan(
        &self,
        snapshot: pg_sys::Snapshot,
        mut visit: impl FnMut(&pg_sys::HeapTupleData),
    ) {
        // SAFETY: the table is open. A tuple is valid until the next one is read.
        unsafe {
            let none = std::ptr::null_mut();
            let scan =
                pg_sys::systable_beginscan(self.0, pg_sys::InvalidOid, false, snapshot, 0, none);
            while let Some(tuple) = pg_sys::systable_getnext(scan).as_ref() {
                visit(tuple);
            }
            pg_sys::systable_endscan(scan);
        }
    }

    /// The row at this place, if there is one that is committed at this moment.
    pub(super) fn row<T>(
        &self,
        place: Place,
        read: impl Fn(&[pg_sys::Datum]) -> T,
    ) -> Option<Row<T>> {
        // SAFETY: the table is open, and has this block: VACUUM cannot cut it off meanwhile, as the
        // table is locked. A tuple that was found is valid while its buffer is pinned.
        unsafe {
            let main = pg_sys::ForkNumber::MAIN_FORKNUM;
            if place.block >= pg_sys::RelationGetNumberOfBlocksInFork(self.0, main) {
                return None;
            }
            let mut tuple = pg_sys::HeapTupleData {
                t_self: place.tid(),
                ..std::mem::zeroed()
            };
            let mut buffer = 0;
            if !heap_fetch(self.0, &raw mut tuple, &raw mut buffer) {
                return None;
            }
            let value = read(&self.values(&tuple));
            pg_sys::ReleaseBuffer(buffer);
            Some(Row { place, value })
        }
    }

    /// The values of a row.
    ///
    /// # Safety
    ///
    /// The tuple is one of this table.
    unsafe fn values(&self, tuple: &pg_sys::HeapTupleData) -> Vec<pg_sys::Datum> {
        // SAFETY: the table is open, and both arrays have an element for each column.
        unsafe {
            let description = (*self.0).rd_att;
            let columns = (*description).natts as usize;
            let mut values = vec![pg_sys::Datum::null(); columns];
            let mut nulls = vec![true; columns];
            pg_sys::heap_deform_tuple(
                (&raw const *tuple).cast_mut(),
                description,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            assert!(!nulls.contains(&true), "all columns are NOT NULL");
            values
        }
    }
}

/// Finds a tuple that is committed at this moment, and pins its buffer.
///
/// # Safety
///
/// As for PostgreSQL's function of this name.
unsafe fn heap_fetch(
    table: pg_sys::Relation,
    tuple: pg_sys::HeapTuple,
    buffer: *mut pg_sys::Buffer,
) -> bool {
    // SAFETY: see the contract.
    unsafe {
        let snapshot = &raw mut pg_sys::SnapshotSelfData;
        #[cfg(feature = "pg14")]
        return pg_sys::heap_fetch(table, snapshot, tuple, buffer);
        #[cfg(not(feature = "pg14"))]
        return pg_sys::heap_fetch(table, snapshot, tuple, buffer, false);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: it is open.
        unsafe { pg_sys::table_close(self.0, NO_LOCK) };
    }
}

fn find(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: looks up names.
    let id = unsafe {
        let schema = pg_sys::get_namespace_oid(c"qsessions".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    (id != pg_sys::InvalidOid).then_some(id)
}
