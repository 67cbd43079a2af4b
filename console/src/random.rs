//! Random secrets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 256 random bits.
///
/// # Panics
///
/// If the operating system has no random numbers: nothing is secret then.
pub(crate) fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}

pub(crate) fn as_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
