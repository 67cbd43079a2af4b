//! Tables of the extension that are read and written without SQL: the caller has no privileges on
//! them, and no trigger or policy that their owner may add must run.

use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, c_char};

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

/// The values of a row, one for each column. The columns are NOT NULL, but the owner of the table may
/// have changed that, and a commit must not fail because of it.
pub(super) type Values = [Option<pg_sys::Datum>];

/// The types of the columns of a table.
pub(super) type Columns = [pg_sys::Oid];

impl Table {
    /// Opens a table. `None` if the extension has none with columns of these types: the library is
    /// newer than the objects of the extension, or the extension was dropped.
    pub(super) fn open(name: &CStr, columns: &Columns) -> Option<Self> {
        let id = find(name)?;
        // SAFETY: opens the relation if it still exists.
        Self::of(unsafe { pg_sys::try_relation_open(id, LOCK) }, columns)
    }

    /// As [`open`](Self::open), but `None` also if its lock is not free.
    pub(super) fn open_without_waiting(name: &CStr, columns: &Columns) -> Option<Self> {
        let id = find(name)?;
        // SAFETY: locks the relation, and then opens it if it still exists.
        let relation = unsafe {
            if !pg_sys::ConditionalLockRelationOid(id, LOCK) {
                return None;
            }
            pg_sys::try_relation_open(id, NO_LOCK)
        };
        Self::of(relation, columns)
    }

    /// The relation, which is null or open, if it is a table with columns of these types. Nothing
    /// can change that while it is locked.
    fn of(relation: pg_sys::Relation, columns: &Columns) -> Option<Self> {
        if relation.is_null() {
            return None;
        }
        let table = Self(relation);
        // SAFETY: the relation is open.
        let fits = unsafe {
            let description = (*table.0).rd_att;
            let class = &*(*table.0).rd_rel;
            class.relkind == pg_sys::RELKIND_RELATION as c_char
                && class.relam == pg_sys::HEAP_TABLE_AM_OID
                && (*description).natts as usize == columns.len()
                && (1..)
                    .zip(columns)
                    .all(|(number, column)| pg_sys::SPI_gettypeid(description, number) == *column)
        };
        fits.then_some(table)
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

    /// The rows that are committed at this moment.
    pub(super) fn rows<T>(&self, read: impl Fn(&Values) -> T) -> Vec<Row<T>> {
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
    pub(super) fn row<T>(&self, place: Place, read: impl Fn(&Values) -> T) -> Option<Row<T>> {
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

    /// # Safety
    ///
    /// The tuple is one of this table.
    unsafe fn values(&self, tuple: &pg_sys::HeapTupleData) -> Vec<Option<pg_sys::Datum>> {
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
            let pairs = values.into_iter().zip(nulls);
            pairs
                .map(|(value, is_null)| (!is_null).then_some(value))
                .collect()
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

/// The table of this name that belongs to the extension.
///
/// This also runs in databases without the extension, where the owner of the database may have
/// created any relation of this name: a view has no rows of its own, and to read it like a table
/// ends the server. So a relation that is not the extension's is not even opened. Only a member of
/// the extension is: it takes a superuser to create an extension that is not trusted, and its owner
/// to make another relation a member of it.
fn find(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: looks up names.
    let (id, kind) = unsafe {
        let schema = pg_sys::get_namespace_oid(c"qsessions".as_ptr(), true);
        let id = pg_sys::get_relname_relid(name.as_ptr(), schema);
        (id, pg_sys::get_rel_relkind(id))
    };
    (kind == pg_sys::RELKIND_RELATION as c_char && is_member(id)).then_some(id)
}

/// Whether a relation belongs to the extension. The answer costs two searches in catalogs that are
/// not cached. So each process remembers the tables that do: there are two of them, and a table
/// that the owner of the extension has taken out of it is a table still.
fn is_member(id: pg_sys::Oid) -> bool {
    thread_local! {
        static MEMBERS: Cell<[pg_sys::Oid; 2]> = const { Cell::new([pg_sys::InvalidOid; 2]) };
    }
    let members = MEMBERS.get();
    if members.contains(&id) {
        return true;
    }
    // SAFETY: searches catalogs.
    let is_member = unsafe {
        let extension = pg_sys::get_extension_oid(c"qsessions".as_ptr(), true);
        extension != pg_sys::InvalidOid
            && pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, id) == extension
    };
    if is_member {
        MEMBERS.set([id, members[0]]);
    }
    is_member
}
