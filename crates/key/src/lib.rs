//! The format of session keys.
//!
//! A **native** key is 48 characters of unpadded base64url: the 16 bytes of the session's public
//! id, then 20 secret random bytes. Any other text of 8 to 512 characters is a **foreign** key,
//! made by another framework; its id is derived from its SHA-256.
//!
//! The crate knows no database: the caller provides the clock and the random bytes.

#![forbid(unsafe_code)]

use base64_simd::{AsOut as _, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256, compress256};
use uuid::{Builder, Uuid, Variant};

/// The smallest number of characters in a key.
pub const MIN_CHARS: usize = 8;
/// The largest number of characters in a key.
pub const MAX_CHARS: usize = 512;
/// The length of a native key, in characters (all of them ASCII).
pub const NATIVE_LENGTH: usize = 48;
/// The number of secret bytes in a native key: 160 bits.
pub const SECRET_LENGTH: usize = 20;
/// The number of random bytes that [`new_id`] takes.
pub const ID_RANDOM_LENGTH: usize = 8;

const ID_LENGTH: usize = 16;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// Why a text cannot be a key. It does not contain the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKey {
    /// It has fewer than [`MIN_CHARS`].
    TooShort,
    /// It has more than [`MAX_CHARS`].
    TooLong,
    /// It has a NUL, which text of PostgreSQL cannot hold.
    HasNul,
}

impl std::fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self {
            Self::TooShort => "fewer",
            Self::TooLong => "more",
            Self::HasNul => return f.write_str("a key must not contain a NUL"),
        };
        write!(
            f,
            "a key has {MIN_CHARS} to {MAX_CHARS} characters, this one has {what}"
        )
    }
}

impl std::error::Error for InvalidKey {}

/// A UUIDv7 for the given instant, in nanoseconds since the Unix epoch.
///
/// The twelve bits after the milliseconds hold the fraction of the millisecond (RFC 9562, section
/// 6.2, method 3), so that ids of one process sort by time, to 244 ns.
#[must_use]
pub fn new_id(unix_nanos: u64, random: [u8; ID_RANDOM_LENGTH]) -> Uuid {
    let millis = unix_nanos / NANOS_PER_MILLI;
    let fraction = ((unix_nanos % NANOS_PER_MILLI) << 12) / NANOS_PER_MILLI;
    let [hi, lo] = (fraction as u16).to_be_bytes();
    let mut tail = [0; 10];
    tail[0] = hi;
    tail[1] = lo;
    tail[2..].copy_from_slice(&random);
    Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// The native key of a session: its id, then the secret, in base64url.
#[must_use]
pub fn encode(id: Uuid, secret: [u8; SECRET_LENGTH]) -> String {
    let mut bytes = [0; ID_LENGTH + SECRET_LENGTH];
    bytes[..ID_LENGTH].copy_from_slice(id.as_bytes());
    bytes[ID_LENGTH..].copy_from_slice(&secret);
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// The public id of the session that a key opens.
///
/// # Errors
///
/// [`InvalidKey`] if the text is shorter or longer than a key can be, or has a NUL.
pub fn session_id(key: &str) -> Result<Uuid, InvalidKey> {
    match embedded_id(key) {
        Some(id) => Ok(id),
        None => check(key).map(|()| derived_id(&digest(key))),
    }
}

/// The [`session_id`] and the [`digest`] of a key.
///
/// # Errors
///
/// [`InvalidKey`] if the text is shorter or longer than a key can be, or has a NUL.
pub fn identify(key: &str) -> Result<(Uuid, [u8; 32]), InvalidKey> {
    if let Some(id) = embedded_id(key) {
        return Ok((id, digest(key)));
    }
    check(key)?;
    let digest = digest(key);
    Ok((derived_id(&digest), digest))
}

fn derived_id(digest: &[u8; 32]) -> Uuid {
    let mut bytes = [0; ID_LENGTH];
    bytes.copy_from_slice(&digest[..ID_LENGTH]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The SHA-256 of a key: all that a server needs to keep of it.
#[must_use]
pub fn digest(key: &str) -> [u8; 32] {
    match key.as_bytes() {
        bytes if bytes.len() <= LONGEST_IN_ONE_BLOCK => digest_of_one_block(bytes),
        bytes => Sha256::digest(bytes).into(),
    }
}

/// A block of SHA-256 that is the last one ends with 0x80 and the number of bits.
const LONGEST_IN_ONE_BLOCK: usize = 64 - 1 - 8;

/// The SHA-256 of a native key, and of most others, without the buffer that longer texts need.
fn digest_of_one_block(bytes: &[u8]) -> [u8; 32] {
    // FIPS 180-4, section 5.3.3
    let mut state = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    let mut block = [0; 64];
    block[..bytes.len()].copy_from_slice(bytes);
    block[bytes.len()] = 0x80;
    block[56..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    compress256(&mut state, &[block.into()]);
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// Checks whether a text can be a key.
///
/// # Errors
///
/// [`InvalidKey`] if the text is shorter or longer than a key can be, or has a NUL.
pub fn check(key: &str) -> Result<(), InvalidKey> {
    // An attacker may send a megabyte, whose end does not matter.
    match key.chars().take(MAX_CHARS + 1).count() {
        0..MIN_CHARS => Err(InvalidKey::TooShort),
        MIN_CHARS..=MAX_CHARS if key.contains('\0') => Err(InvalidKey::HasNul),
        MIN_CHARS..=MAX_CHARS => Ok(()),
        _ => Err(InvalidKey::TooLong),
    }
}

/// The id inside a native key. `None` if the text is not of that form.
///
/// Version 8 is accepted too: a session that began with a foreign key keeps its derived id when the
/// key is rotated to a native one.
fn embedded_id(key: &str) -> Option<Uuid> {
    if key.len() != NATIVE_LENGTH {
        return None;
    }
    let mut bytes = [0; ID_LENGTH + SECRET_LENGTH];
    URL_SAFE_NO_PAD
        .decode(key.as_bytes(), bytes.as_mut_slice().as_out())
        .ok()?;
    let id = Uuid::from_slice(&bytes[..ID_LENGTH]).ok()?;
    let ours = id.get_variant() == Variant::RFC4122 && matches!(id.get_version_num(), 7 | 8);
    ours.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NANOS: u64 = 1_795_000_000_123_456_789;

    #[test]
    fn native_key_carries_its_id() {
        let id = new_id(NANOS, [0xff; 8]);
        let key = encode(id, [7; 20]);
        assert_eq!(key.len(), NATIVE_LENGTH);
        assert_eq!(session_id(&key), Ok(id));
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), Variant::RFC4122);
    }

    #[test]
    fn id_holds_milliseconds_and_their_fraction() {
        let id = new_id(NANOS, [0; 8]).as_u128();
        assert_eq!((id >> 80) as u64, NANOS / NANOS_PER_MILLI);
        // 456,789 of 1,000,000 ns in 4,096ths
        assert_eq!((id >> 64) as u16 & 0xfff, 1871);
    }

    #[test]
    fn later_ids_sort_later() {
        let ids: Vec<_> = (0..5000)
            .map(|step| new_id(NANOS + step * 1000, [0xa5; 8]).as_u128())
            .collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn foreign_key_has_a_derived_id() {
        // SHA-256("django-session-key") begins with these bytes; version and variant are set over
        // them.
        let key = "django-session-key";
        let id = session_id(key).unwrap();
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id.get_variant(), Variant::RFC4122);
        let digest = digest(key);
        assert_eq!(id.as_bytes()[..6], digest[..6]);
        assert_eq!(id.as_bytes()[9..], digest[9..16]);
    }

    #[test]
    fn rotation_of_a_foreign_session_keeps_the_derived_id() {
        let id = session_id("a key of another framework").unwrap();
        assert_eq!(session_id(&encode(id, [1; 20])), Ok(id));
    }

    #[test]
    fn forty_eight_characters_of_another_kind_are_foreign() {
        for key in ["A".repeat(48), "!".repeat(48), "é".repeat(24)] {
            let id = session_id(&key).unwrap();
            assert_eq!(id.get_version_num(), 8, "{key}");
            assert_eq!(id.as_bytes()[..6], digest(&key)[..6], "{key}");
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(session_id(""), Err(InvalidKey::TooShort));
        assert_eq!(session_id("1234567"), Err(InvalidKey::TooShort));
        assert!(session_id("12345678").is_ok());
        assert!(session_id(&"é".repeat(512)).is_ok());
        assert_eq!(session_id(&"é".repeat(513)), Err(InvalidKey::TooLong));
        assert_eq!(session_id(&"x".repeat(1 << 20)), Err(InvalidKey::TooLong));
    }

    #[test]
    fn a_text_with_a_nul_is_no_key() {
        for key in ["with\0nul".to_owned(), format!("{}\0", "A".repeat(47))] {
            assert_eq!(session_id(&key), Err(InvalidKey::HasNul));
            assert_eq!(identify(&key), Err(InvalidKey::HasNul));
        }
    }

    #[test]
    fn the_error_never_shows_the_text() {
        let error = session_id("s3cret!").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn digest_is_sha256() {
        // FIPS 180-2, appendix B.1
        let hex: String = digest("abc")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn digests_of_one_block_are_those_of_any_text() {
        for length in 0..=LONGEST_IN_ONE_BLOCK + 9 {
            let key = "k".repeat(length);
            assert_eq!(digest(&key)[..], Sha256::digest(&key)[..], "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_an_id_or_an_error(key in "\\PC*") {
            let chars = key.chars().count();
            prop_assert_eq!(session_id(&key).is_ok(), (MIN_CHARS..=MAX_CHARS).contains(&chars));
            prop_assert_eq!(identify(&key), session_id(&key).map(|id| (id, digest(&key))));
        }

        #[test]
        fn every_encoded_key_round_trips(nanos: u64, random: [u8; 8], secret: [u8; 20]) {
            let id = new_id(nanos, random);
            let key = encode(id, secret);
            prop_assert_eq!(session_id(&key), Ok(id));
            prop_assert_eq!(identify(&key), Ok((id, digest(&key))));
        }
    }
}

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
