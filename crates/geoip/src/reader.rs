use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::place::{Place, guarded};
use crate::shape::{Layout, Shape};

/// What a database is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Kind {
    /// Cities, with coordinates and more.
    City,
    /// Countries.
    Country,
    /// Autonomous systems: networks and who runs them.
    Asn,
    /// Something else, such as MaxMind's Anonymous IP, which is not asked.
    Other,
}

impl Kind {
    /// Whether it knows places.
    pub fn has_places(self) -> bool {
        matches!(self, Self::City | Self::Country)
    }
}

/// What a file says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata {
    /// Its maker's name for it: `GeoLite2-City`, `city ipv4`.
    pub database_type: String,
    /// When it was built, in seconds since 1970.
    pub build_epoch: u64,
    /// 4, or 6 for a file that may hold both.
    pub ip_version: u16,
    /// The locales that it claims to have names in; files of one language often claim none.
    pub languages: Vec<String>,
    /// Nodes of the search tree.
    pub node_count: u32,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// One open database. `S` holds the bytes of the file: read into memory, or something else that
/// stays as it is while the reader lives.
#[derive(Debug)]
pub struct Reader<S: AsRef<[u8]> = Vec<u8>> {
    pub(crate) database: maxminddb::Reader<S>,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
    metadata: Metadata,
}

impl<S: AsRef<[u8]>> Reader<S> {
    /// Takes the bytes of a file; `path` is only what errors call it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are no usable database.
    pub fn from_source(source: S, path: &Path) -> Result<Self, Error> {
        let mut reader = Self::of_kind(source, path, Kind::Other, Layout::Nested)?;
        let shape = guarded(|| Shape::of(&reader.database))
            .map_err(|reason| Error::invalid(path, reason))?;
        reader.kind = shape.kind(&reader.metadata.database_type);
        reader.layout = shape.layout();
        Ok(reader)
    }

    /// The same for a file of which it is known what it is: no record is looked at.
    pub(crate) fn of_kind(
        source: S,
        path: &Path,
        kind: Kind,
        layout: Layout,
    ) -> Result<Self, Error> {
        let invalid = |reason: String| Error::invalid(path, reason);
        let bytes = source.as_ref().len() as u64;
        let database = guarded(|| maxminddb::Reader::from_source(source)).map_err(invalid)?;
        check(database.metadata()).map_err(|reason| invalid(reason.to_owned()))?;
        let claimed = database.metadata();
        let metadata = Metadata {
            database_type: claimed.database_type.clone(),
            build_epoch: claimed.build_epoch,
            ip_version: claimed.ip_version,
            languages: claimed.languages.clone(),
            node_count: claimed.node_count,
            bytes,
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            layout,
            metadata,
            database,
        })
    }

    /// What the file says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What the database is about.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the database knows of `ip`; none if it does not have the address, which is so for
    /// private ones, and for any IPv6 address in a database of IPv4.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn look_up(&self, ip: IpAddr) -> Result<Option<Place<'_, S>>, Error> {
        // An IPv4 address in IPv6 clothes is looked up as what it is.
        let ip = ip.to_canonical();
        if ip.is_ipv6() && self.metadata.ip_version == 4 {
            return Ok(None);
        }
        let found = guarded(|| self.database.lookup(ip)).map_err(|reason| Error::Corrupt {
            path: self.path.clone(),
            reason,
        })?;
        Ok(found.has_data().then(|| Place::new(self, found)))
    }

    /// Decodes all that any question about `ip` could decode.
    pub(crate) fn decode_all(&self, ip: IpAddr) -> Result<(), Error> {
        // As it is: the canonical form of an address may lead elsewhere.
        let found = guarded(|| self.database.lookup(ip)).map_err(|reason| Error::Corrupt {
            path: self.path.clone(),
            reason,
        })?;
        Place::new(self, found).decode_all()
    }
}

/// What a broken file may say of itself, and a caller would stumble over.
fn check(metadata: &maxminddb::Metadata) -> Result<(), &'static str> {
    const YEAR_10000: u64 = 253_402_300_800;
    if metadata.build_epoch >= YEAR_10000 {
        return Err("the build time is beyond the year 9999");
    }
    // PostgreSQL's texts cannot hold it.
    let mut texts = metadata.languages.iter().chain([&metadata.database_type]);
    if texts.any(|text| text.contains('\0')) {
        return Err("a text has a NUL in it");
    }
    Ok(())
}
