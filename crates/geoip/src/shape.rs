//! What kind of database a file is, judged by its name for itself and by its first records.

use maxminddb::{MaxMindDbError, WithinOptions};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::Kind;

/// How a record is laid out.
#[derive(Clone, Copy, Debug, serde::Deserialize, Eq, PartialEq, serde::Serialize)]
pub(crate) enum Layout {
    /// MaxMind's.
    Nested,
    /// ip-location-db's.
    Flat,
}

/// Networks looked at before giving up: a tree made to be walked for ever must not be. The
/// addresses before the first record are one range, so they make no more than 128 networks.
const NETWORKS: usize = 512;

/// Records looked at before giving up: some say nothing of what others are.
const RECORDS: usize = 32;

/// The members of a record that tell databases apart; whatever their type.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Shape {
    autonomous_system_number: Option<Member>,
    city: Option<Member>,
    continent: Option<Member>,
    country: Option<Member>,
    country_code: Option<Member>,
    latitude: Option<Member>,
    location: Option<Member>,
    subdivisions: Option<Member>,
}

impl Shape {
    /// Of the first record that tells.
    pub(crate) fn of<S: AsRef<[u8]>>(
        database: &maxminddb::Reader<S>,
    ) -> Result<Self, MaxMindDbError> {
        // With everything included each step of the walk yields a network, so that counting them
        // bounds it. Left to itself it skips empty and aliased ones without end: a hundred nodes
        // can make 2^96 of them.
        let options = WithinOptions::default()
            .include_networks_without_data()
            .include_aliased_networks();
        let mut records = 0;
        for network in database.networks(options)?.take(NETWORKS) {
            let network = network?;
            if !network.has_data() {
                continue;
            }
            let shape: Self = network.decode()?.unwrap_or_default();
            records += 1;
            if shape.tells() || records == RECORDS {
                return Ok(shape);
            }
        }
        Ok(Self::default())
    }

    fn tells(&self) -> bool {
        self.is_flat()
            || self.country.is_some()
            || self.continent.is_some()
            || self.autonomous_system_number.is_some()
    }

    fn is_flat(&self) -> bool {
        matches!(self.country_code, Some(Member::Text))
    }

    pub(crate) fn layout(&self) -> Layout {
        if self.is_flat() {
            Layout::Flat
        } else {
            Layout::Nested
        }
    }

    pub(crate) fn kind(&self, database_type: &str) -> Kind {
        let database_type = database_type.to_ascii_lowercase();
        let says = |word| database_type.contains(word);
        // Enterprise is MaxMind's City with more in it; DB-IP's names for its databases end in
        // '(compat=City)' or '(compat=Enterprise)'.
        if says("city") || says("enterprise") {
            Kind::City
        } else if says("country") {
            Kind::Country
        } else if says("asn") {
            Kind::Asn
        } else if says("anonymous") {
            Kind::Other
        } else if self.has_place() {
            Kind::City
        } else if self.country.is_some() || self.is_flat() {
            Kind::Country
        } else if self.autonomous_system_number.is_some() {
            Kind::Asn
        } else {
            Kind::Other
        }
    }

    fn has_place(&self) -> bool {
        self.city.is_some()
            || self.latitude.is_some()
            || self.location.is_some()
            || self.subdivisions.is_some()
    }
}

/// That there is a member, and whether it is text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Member {
    Text,
    Other,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E>(self, _: &str) -> Result<Member, E> {
        Ok(Member::Text)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Member, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}
