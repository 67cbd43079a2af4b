//! The check that a file has to pass before it serves: every network is walked to, and every
//! distinct record decoded to the types that look-ups decode it to. A file that passes gives
//! answers, not errors.
//!
//! The `verify` of `maxminddb` will not do: it refuses every file of ip-location-db, because their
//! description is empty, and it does not decode records to the types that look-ups ask for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::progress::stop_if_asked;
use crate::shape::Layout;
use crate::{Error, Kind, Progress, Reader};

/// The longest check that is let run. That of the largest free database takes a second, but a
/// file can be made to take for ever.
const LONGEST: Duration = Duration::from_secs(120);

/// How often a long check notes how far it is.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);

/// Steps between two looks at the clock.
const STEPS: u32 = 4096;

/// Zero bytes between the search tree and the data.
const SEPARATOR: usize = 16;

/// What a check has found out of a database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Checked {
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
    pub(crate) database_type: String,
    pub(crate) nodes: usize,
    pub(crate) records: usize,
}

/// Checks the bytes of a file; `path` is only what errors call it.
pub(crate) fn check(
    bytes: &[u8],
    path: &Path,
    progress: &mut dyn Progress,
) -> Result<Checked, Error> {
    let reader = Reader::from_source(bytes, path)?;
    let tree = Tree::of(&reader, bytes).map_err(|reason| Error::invalid(path, reason))?;
    let mut pace = Pace::new(path, progress);
    let mut records = 0;
    tree.walk(path, |address| {
        pace.step(tree.node_count, records)?;
        if let Some(address) = address {
            records += 1;
            let decoded = reader.decode_all(address);
            decoded.map_err(|error| Error::invalid(path, reason_of(error)))?;
        }
        Ok(())
    })?;
    if records == 0 {
        return Err(Error::invalid(path, "there is no network in it"));
    }
    Ok(Checked {
        kind: reader.kind(),
        layout: reader.layout,
        database_type: reader.metadata().database_type.clone(),
        nodes: tree.node_count,
        records,
    })
}

/// Without the path, which the check's own error has.
fn reason_of(error: Error) -> String {
    match error {
        Error::Corrupt { reason, .. } | Error::Invalid { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// Looks at the clock, and whether to stop, every few thousand steps.
struct Pace<'a> {
    path: &'a Path,
    progress: &'a mut dyn Progress,
    began: Instant,
    noted: Instant,
    steps: u32,
}

impl<'a> Pace<'a> {
    fn new(path: &'a Path, progress: &'a mut dyn Progress) -> Self {
        let began = Instant::now();
        Self {
            path,
            progress,
            began,
            noted: began,
            steps: 0,
        }
    }

    fn step(&mut self, nodes: usize, records: usize) -> Result<(), Error> {
        self.steps += 1;
        if self.steps < STEPS {
            return Ok(());
        }
        self.steps = 0;
        stop_if_asked(self.progress)?;
        if self.began.elapsed() > LONGEST {
            let reason = format!("the check takes longer than {LONGEST:?}");
            return Err(Error::invalid(self.path, reason));
        }
        if self.noted.elapsed() > NOTE_INTERVAL {
            self.noted = Instant::now();
            let path = self.path.display();
            self.progress.note(&format!(
                "checking \"{path}\" of {nodes} nodes: {records} records so far"
            ));
        }
        Ok(())
    }
}

/// The search tree: nodes of two numbers each. A number below the count of nodes is a node, the
/// count itself is nothing, and what is above is where a record lies.
struct Tree<'a> {
    bytes: &'a [u8],
    record_size: usize,
    node_count: usize,
    data_length: usize,
    address_bits: usize,
}

/// A node on the way down, and which of its sides comes next.
struct Step {
    node: usize,
    side: u8,
}

impl<'a> Tree<'a> {
    fn of(reader: &Reader<&[u8]>, bytes: &'a [u8]) -> Result<Self, String> {
        let metadata = reader.database.metadata();
        let (node_count, record_size) = (
            metadata.node_count as usize,
            usize::from(metadata.record_size),
        );
        // The library has made sure that all of this lies in the file.
        let tree_length = node_count * record_size / 4;
        let rest = &bytes[tree_length..];
        if rest.len() < SEPARATOR || rest[..SEPARATOR].iter().any(|&byte| byte != 0) {
            return Err("the search tree does not end where it should".to_owned());
        }
        Ok(Self {
            bytes: &bytes[..tree_length],
            record_size,
            node_count,
            data_length: rest.len() - SEPARATOR,
            address_bits: if metadata.ip_version == 4 { 32 } else { 128 },
        })
    }

    fn child(&self, node: usize, side: u8) -> usize {
        let size = self.record_size / 4;
        let node = &self.bytes[node * size..][..size];
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |all, &byte| all << 8 | usize::from(byte))
        };
        match (self.record_size, side) {
            (24, 0) => number(&node[..3]),
            (24, _) => number(&node[3..]),
            (28, 0) => usize::from(node[3] >> 4) << 24 | number(&node[..3]),
            (28, _) => usize::from(node[3] & 0x0f) << 24 | number(&node[4..]),
            (_, 0) => number(&node[..4]),
            (_, _) => number(&node[4..]),
        }
    }

    /// Walks the whole tree, each node once however many ways lead to it. Calls `step` for each
    /// side of each node, with an address where that leads to a record not met before.
    fn walk(
        &self,
        path: &Path,
        mut step: impl FnMut(Option<IpAddr>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let invalid = |reason: &str| Error::invalid(path, reason);
        let mut done = Bits::new(self.node_count).map_err(invalid)?;
        let mut met = Bits::new(self.data_length).map_err(invalid)?;
        let mut way = vec![Step { node: 0, side: 0 }];
        let mut address = 0_u128;
        while let Some(at) = way.last_mut() {
            let &mut Step { node, side } = at;
            if side == 2 {
                done.set(node);
                way.pop();
                continue;
            }
            at.side += 1;
            let bit = 1 << (self.address_bits - way.len());
            address = (address & !bit) | (u128::from(side) * bit);
            let child = self.child(node, side);
            let mut record = None;
            if child < self.node_count {
                if !done.has(child) {
                    // A tree that leads back to itself comes here too: no node of a circle is
                    // ever done.
                    if way.len() == self.address_bits {
                        return Err(invalid("the search tree is deeper than addresses are long"));
                    }
                    way.push(Step {
                        node: child,
                        side: 0,
                    });
                }
            } else if child > self.node_count {
                let offset = (child - self.node_count)
                    .checked_sub(SEPARATOR)
                    .filter(|&offset| offset < self.data_length)
                    .ok_or_else(|| invalid("the search tree points outside of the data"))?;
                if !met.has(offset) {
                    met.set(offset);
                    record = Some(self.address(address));
                }
            }
            step(record)?;
        }
        Ok(())
    }

    fn address(&self, address: u128) -> IpAddr {
        if self.address_bits == 32 {
            Ipv4Addr::from(address as u32).into()
        } else {
            Ipv6Addr::from(address).into()
        }
    }
}

struct Bits(Vec<u64>);

impl Bits {
    fn new(length: usize) -> Result<Self, &'static str> {
        let words = length.div_ceil(64);
        let mut bits = Vec::new();
        bits.try_reserve_exact(words)
            .map_err(|_| "there is not enough memory for the check")?;
        bits.resize(words, 0);
        Ok(Self(bits))
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] & 1 << (index % 64) != 0
    }

    fn set(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }
}
